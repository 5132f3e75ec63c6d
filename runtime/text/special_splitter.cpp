#include <algorithm>
#include <text/special_splitter.hpp>

namespace brim::text {

SpecialSplitter::SpecialSplitter(const Vocabulary& vocabulary) {
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const TokenType type = vocabulary.type(id);
    const std::string_view text = vocabulary.text(id);
    const bool control = type == TokenType::kControl || type == TokenType::kUnknown;
    if (text.empty() || (!control && type != TokenType::kUserDefined)) continue;
    const bool keeps = text == "<s>" || text == "<unk>" || text == "<|endoftext|>";
    names_.push_back({text, id, control, vocabulary.control_strips_right && !keeps});
  }
  std::sort(names_.begin(), names_.end(), [](const Name& a, const Name& b) { return a.text < b.text; });
}

// The names that occur at all, longest first: one pass over the text, so that a vocabulary with a thousand special
// tokens does not cost a thousand searches.
std::vector<const SpecialSplitter::Name*> SpecialSplitter::names_within(std::string_view text,
                                                                        bool parse_special) const {
  std::vector<bool> seen(names_.size());
  std::vector<const Name*> out;
  for (size_t begin = 0; begin < text.size(); ++begin) {
    // The names that agree with the text so far; they are neighbours, the one that ends here the first of them.
    auto low = names_.begin();
    auto high = names_.end();
    for (size_t depth = 0; begin + depth < text.size(); ++depth) {
      const auto key = static_cast<uint8_t>(text[begin + depth]);
      const auto byte = [&](const Name& name) { return static_cast<uint8_t>(name.text[depth]); };
      low = std::lower_bound(low, high, key, [&](const Name& name, uint8_t k) { return byte(name) < k; });
      high = std::upper_bound(low, high, key, [&](uint8_t k, const Name& name) { return k < byte(name); });
      if (low == high) break;
      if (low->text.size() == depth + 1) {
        const auto index = static_cast<size_t>(low - names_.begin());
        if (!seen[index] && (parse_special || !low->control)) out.push_back(&*low);
        seen[index] = true;
        if (++low == high) break;
      }
    }
  }
  std::sort(out.begin(), out.end(), [](const Name* a, const Name* b) {
    return a->text.size() != b->text.size() ? a->text.size() > b->text.size() : a->token < b->token;
  });
  return out;
}

std::vector<Fragment> SpecialSplitter::split(std::string_view text, bool parse_special) const {
  std::vector<Fragment> fragments;
  if (text.empty()) return fragments;
  fragments.push_back({text, kNoToken});
  std::vector<Fragment> next;
  for (const Name* name : names_within(text, parse_special)) {
    next.clear();
    for (const Fragment& fragment : fragments) {
      if (fragment.token != kNoToken) {
        next.push_back(fragment);
        continue;
      }
      std::string_view rest = fragment.text;
      for (size_t at = rest.find(name->text); at != std::string_view::npos; at = rest.find(name->text)) {
        if (at > 0) next.push_back({rest.substr(0, at), kNoToken});
        next.push_back({name->text, name->token});
        rest.remove_prefix(at + name->text.size());
        if (name->strips_right) rest.remove_prefix(std::min(rest.find_first_not_of(" \t\n\v\f\r"), rest.size()));
      }
      if (!rest.empty()) next.push_back({rest, kNoToken});
    }
    fragments.swap(next);
  }
  return fragments;
}

}  // namespace brim::text
