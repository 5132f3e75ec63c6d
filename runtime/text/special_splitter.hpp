// Finds the tokens that text names outright: user-defined ones always, control and unknown ones where the caller lets
// text do so. The longest token goes first, wherever it stands; each one's occurrences are taken from the left; a
// shorter token is looked for in what is left between them.
#pragma once

#include <cstdint>
#include <string_view>
#include <text/vocabulary.hpp>
#include <vector>

namespace brim::text {

// A part of the text: a token's name, or (kNoToken) text to encode. Parts are never empty.
struct Fragment {
  std::string_view text;
  int32_t token;
};

class SpecialSplitter {
 public:
  // Keeps views into the vocabulary's text.
  explicit SpecialSplitter(const Vocabulary& vocabulary);

  // Views into text, in order. Any thread.
  std::vector<Fragment> split(std::string_view text, bool parse_special) const;

 private:
  struct Name {
    std::string_view text;
    int32_t token;
    bool control;  // or unknown: needs parse_special
    bool strips_right;
  };

  std::vector<const Name*> names_within(std::string_view text, bool parse_special) const;

  std::vector<Name> names_;  // sorted by text
};

}  // namespace brim::text
