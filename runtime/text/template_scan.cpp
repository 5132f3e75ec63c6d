#include <algorithm>
#include <text/template_scan.hpp>

namespace brim::text {
namespace {

// Stands for an apostrophe within a literal.
constexpr char kInnerQuote = '\x01';

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// Copies the literal that begins at source[at] and returns the position behind it.
size_t copy_literal(std::string_view source, size_t at, std::string& out) {
  const char quote = source[at++];
  out.push_back('\'');
  for (; at < source.size() && source[at] != quote; ++at) {
    char c = source[at];
    if (c == '\\' && at + 1 < source.size()) {
      c = source[++at];
      if (c == 'n') c = '\n';
      if (c == 't') c = '\t';
    }
    out.push_back(c == '\'' ? kInnerQuote : c);
  }
  out.push_back('\'');
  return at + 1;
}

}  // namespace

std::string compact_template(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  size_t at = 0;
  while (at < source.size()) {
    const std::string_view rest = source.substr(at);
    if (rest.starts_with("{#")) {
      const size_t end = source.find("#}", at);
      if (end == std::string_view::npos) break;
      at = end + 2;
      continue;
    }
    if (!rest.starts_with("{{") && !rest.starts_with("{%")) {
      out.push_back(source[at++]);
      continue;
    }
    const std::string_view close = rest.starts_with("{{") ? "}}" : "%}";
    out += rest.substr(0, 2);
    at += 2;
    if (at < source.size() && (source[at] == '-' || source[at] == '+')) ++at;
    while (at < source.size() && !source.substr(at).starts_with(close)) {
      const char c = source[at];
      if (c == '\'' || c == '"') {
        at = copy_literal(source, at, out);
      } else if (c == '-' && source.substr(at + 1).starts_with(close)) {
        ++at;
      } else {
        if (std::string_view(" \t\r\n").find(c) == std::string_view::npos) out.push_back(c);
        ++at;
      }
    }
    out += close;
    at += close.size();
  }
  replace_all(out, "message.role", "message['role']");
  replace_all(out, "message.content", "message['content']");
  return out;
}

std::vector<std::string> literals_between(std::string_view compact, std::string_view before, std::string_view part,
                                          std::string_view after) {
  std::vector<std::string> out;
  for (size_t at = compact.find(part); at != std::string_view::npos; at = compact.find(part, at + 1)) {
    const size_t open = compact.rfind('\'', at);
    const size_t close = compact.find('\'', at);
    if (open == std::string_view::npos || close == std::string_view::npos) continue;
    if (!compact.substr(0, open).ends_with(before) || !compact.substr(close + 1).starts_with(after)) continue;
    std::string& literal = out.emplace_back(compact.substr(open + 1, close - open - 1));
    std::replace(literal.begin(), literal.end(), kInnerQuote, '\'');
  }
  return out;
}

}  // namespace brim::text
