#include <doctest/doctest.h>

#include <base/utf8.hpp>
#include <string>

using brim::is_utf8;
using brim::printable;

TEST_CASE("well-formed UTF-8 is accepted at the ends of every range") {
  for (const char* text : {"", "plain", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "gr\xC3\xBC\xC3\x9F"}) {
    CAPTURE(text);
    CHECK(is_utf8(text));
  }
}

TEST_CASE("stray, overlong, surrogate, too large and cut sequences are refused") {
  for (const char* text :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80", "\xFF", "\xC3", "\xE2\x82", "\xF0\x9F\x98", "a\xE2z"}) {
    CHECK_FALSE(is_utf8(text));
  }
}

TEST_CASE("a message shows bytes without harm to the terminal and without running on") {
  CHECK(printable("blk.0\n\x1b[31m") == "blk.0\\x0a\\x1b[31m");
  CHECK(printable("gr\xC3\xBC\xFF") == "gr\xC3\xBC\\xff");
  CHECK(printable(std::string(100, 'x'), 10) == "xxxxxxxxxx...");
  CHECK(printable("1234567\xE2\x82\xAC", 9) == "1234567...");
}
