#include <algorithm>
#include <array>
#include <base/error.hpp>
#include <text/unicode.hpp>
#include <text/word_cache.hpp>
#include <text/wordpiece.hpp>

namespace brim::text {
namespace {

constexpr std::string_view kWordStart = "\xE2\x96\x81";  // U+2581

// What BERT calls Chinese: the ideographs and their compatibility blocks.
bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool stands_alone(char32_t c, Category category) {
  return category == Category::kPunctuation || (c < 0x7F && category == Category::kSymbol) || is_chinese(c);
}

// The normalised words one after another, and where each ends.
struct Words {
  std::string text;
  std::vector<size_t> ends;

  void end_word() {
    if (text.size() > (ends.empty() ? 0 : ends.back())) ends.push_back(text.size());
  }
};

Words normalise(std::string_view text) {
  Words out;
  out.text.reserve(text.size());
  while (!text.empty()) {
    const Decoded next = decode_utf8(text);
    text.remove_prefix(next.size);
    if (is_space(next.code_point)) {
      out.end_word();
      continue;
    }
    if (next.code_point == 0 || next.code_point == kReplacement) continue;
    const Plain plain = without_accents(next.code_point);
    for (uint32_t i = 0; i < plain.count; ++i) {
      const char32_t c = plain.code_points[i];
      const Category category = category_of(c);
      if (category == Category::kControl || category == Category::kNonspacingMark) continue;
      const bool alone = stands_alone(c, category);
      if (alone) out.end_word();
      append_utf8(out.text, to_lower(c));
      if (alone) out.end_word();
    }
  }
  out.end_word();
  return out;
}

}  // namespace

WordPiece::WordPiece(const Vocabulary& vocabulary) : unknown_(vocabulary.special.unk) {
  if (unknown_ == kNoToken) {
    fail(BRIM_DATA_CORRUPT,
         "{}: a '{}' vocabulary needs an unknown token, and tokenizer.ggml.unknown_token_id names none",
         vocabulary.source, "bert");
  }
  first_.reserve(static_cast<size_t>(vocabulary.size()));
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const TokenType type = vocabulary.type(id);
    if (type == TokenType::kControl || type == TokenType::kUnknown) continue;
    std::string_view text = vocabulary.text(id);
    const bool begins_word = text.starts_with(kWordStart);
    if (begins_word) text.remove_prefix(kWordStart.size());
    if (text.empty()) continue;
    (begins_word ? first_ : next_).emplace(text, id);
    longest_ = std::max(longest_, text.size());
  }
}

void WordPiece::encode(std::string_view text, std::vector<int32_t>& out) const {
  const Words words = normalise(text);
  WordCache cache;
  size_t begin = 0;
  for (const size_t end : words.ends) {
    cache.append(std::string_view(words.text).substr(begin, end - begin), out,
                 [&](std::string_view word, std::vector<int32_t>& ids) { encode_word(word, ids); });
    begin = end;
  }
}

void WordPiece::encode_word(std::string_view word, std::vector<int32_t>& out) const {
  const size_t before = out.size();
  for (size_t begin = 0; begin < word.size();) {
    const auto& pieces = begin == 0 ? first_ : next_;
    size_t size = std::min(longest_, word.size() - begin);
    auto found = pieces.end();
    for (; size > 0; --size) {
      found = pieces.find(word.substr(begin, size));
      if (found != pieces.end()) break;
    }
    if (size == 0) {
      out.resize(before);
      out.push_back(unknown_);
      return;
    }
    out.push_back(found->second);
    begin += size;
  }
}

}  // namespace brim::text
