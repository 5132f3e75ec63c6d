// What the tokenizers ask of Unicode: UTF-8 in and out, the category of a code point, lower case, and the form without
// accents. The tables are those of one Unicode version (unicode_tables.cpp) and need no library. Normal forms other
// than the accent-free one, case folding and locale rules are not here.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace brim::text {

// The general categories, as coarse as the pre-tokenizers need them. The order is the tables'.
enum class Category : uint8_t {
  kUnassigned,
  kControl,  // Cc, Cf, Co, Cs
  kUpper,
  kLower,
  kTitle,
  kModifier,
  kOtherLetter,
  kNonspacingMark,
  kMark,  // Mc, Me
  kNumber,
  kPunctuation,
  kSymbol,
  kSeparator
};

Category category_of(char32_t c);

constexpr bool is_letter(Category c) { return c >= Category::kUpper && c <= Category::kOtherLetter; }
constexpr bool is_mark(Category c) { return c == Category::kNonspacingMark || c == Category::kMark; }

// The White_Space property, which is what \s means in every pre-tokenizer.
constexpr bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

// Simple lower case: one code point to one code point.
char32_t to_lower(char32_t c);

// The canonical decomposition of c without its nonspacing marks, 1 to 3 code points: é is e, 한 is three letters.
struct Plain {
  std::array<char32_t, 3> code_points;
  uint32_t count;
};
Plain without_accents(char32_t c);

inline constexpr char32_t kReplacement = 0xFFFD;
inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

// One step through UTF-8.
struct Decoded {
  char32_t code_point;  // kReplacement where the bytes are no character
  // Bytes taken: of the character; or, where there is none, of the longest prefix of one that stands here, at least 1
  // (what Unicode calls a maximal subpart: one U+FFFD stands for it).
  uint32_t size;
  bool valid;
  // Not valid, but the text ended inside what could have become a character.
  bool cut_short;
};
// text must not be empty. Surrogates, overlong forms and values past U+10FFFF are not valid.
Decoded decode_utf8(std::string_view text);

void append_utf8(std::string& out, char32_t c);

}  // namespace brim::text
