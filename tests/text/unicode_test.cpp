#include <doctest/doctest.h>

#include <string>
#include <text/unicode.hpp>
#include <vector>

using namespace brim::text;

TEST_CASE("categories at the edges of their runs") {
  CHECK(category_of(U'A') == Category::kUpper);
  CHECK(category_of(U'z') == Category::kLower);
  CHECK(category_of(U'5') == Category::kNumber);
  CHECK(category_of(U'½') == Category::kNumber);
  CHECK(category_of(U'$') == Category::kSymbol);
  CHECK(category_of(U'_') == Category::kPunctuation);
  CHECK(category_of(U'\u0301') == Category::kNonspacingMark);
  CHECK(category_of(U'\u01C5') == Category::kTitle);
  CHECK(category_of(U'\u02B0') == Category::kModifier);
  CHECK(category_of(U'日') == Category::kOtherLetter);
  CHECK(category_of(U'\u200D') == Category::kControl);
  CHECK(category_of(0xFFFF) == Category::kUnassigned);
  CHECK(category_of(0x10400) == Category::kUpper);
  CHECK(category_of(0x1F999) == Category::kSymbol);
  CHECK(category_of(0x10FFFF) == Category::kUnassigned);
  CHECK(category_of(0x110000) == Category::kUnassigned);
}

TEST_CASE("lower case, in runs of one step and of two") {
  CHECK(to_lower(U'Q') == U'q');
  CHECK(to_lower(U'q') == U'q');
  CHECK(to_lower(U'Ā') == U'ā');
  CHECK(to_lower(U'ā') == U'ā');
  CHECK(to_lower(U'Ж') == U'ж');
  CHECK(to_lower(U'Ⴀ') == U'ⴀ');
  CHECK(to_lower(0x10427) == 0x1044F);
  CHECK(to_lower(U'日') == U'日');
}

TEST_CASE("accents go, letters stay") {
  const auto plain = [](char32_t c) {
    const Plain form = without_accents(c);
    return std::u32string(form.code_points.begin(), form.code_points.begin() + form.count);
  };
  CHECK(plain(U'é') == U"e");
  CHECK(plain(U'ử') == U"u");
  CHECK(plain(U'ø') == U"ø");
  CHECK(plain(U'한') == U"\u1112\u1161\u11AB");
  CHECK(plain(U'가') == U"\u1100\u1161");
  CHECK(plain(U'豈') == U"豈");  // a compatibility ideograph and the unified one it stands for
}

TEST_CASE("decoding takes whole characters and the longest prefixes of broken ones") {
  const auto steps = [](std::string_view text) {
    std::vector<uint32_t> out;
    while (!text.empty()) {
      const Decoded next = decode_utf8(text);
      out.push_back(next.valid ? next.code_point : 0xFFFD);
      text.remove_prefix(next.size);
    }
    return out;
  };
  CHECK(steps("a\xC3\xA9\xF0\x9F\xA6\x99") == std::vector<uint32_t>{'a', 0xE9, 0x1F999});
  CHECK(steps("\xF0\x9F\xA6z") == std::vector<uint32_t>{0xFFFD, 'z'});
  CHECK(steps("\xC0\xAF") == std::vector<uint32_t>{0xFFFD, 0xFFFD});              // overlong
  CHECK(steps("\xED\xA0\x80") == std::vector<uint32_t>{0xFFFD, 0xFFFD, 0xFFFD});  // a surrogate
  CHECK(steps("\xF4\x90\x80\x80") == std::vector<uint32_t>(4, 0xFFFD));           // past U+10FFFF
  CHECK(decode_utf8("\xE2\x96").cut_short);
  CHECK_FALSE(decode_utf8("\xE2\x41").cut_short);
}
