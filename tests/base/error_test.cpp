// How an exception becomes a caller's brim_error.
#include <doctest/doctest.h>

#include <base/error.hpp>
#include <base/utf8.hpp>
#include <cstring>
#include <memory>
#include <stdexcept>

using namespace brim;

namespace {

brim_error reported(const std::string& message, uint32_t size = sizeof(brim_error)) {
  brim_error out = empty_error();
  out.struct_size = size;
  try {
    throw Error(BRIM_IO, message, {1, 2, 3, 4}, 5, BRIM_DOMAIN_OS);
  } catch (...) {
    CHECK(report_current_exception(&out) == BRIM_IO);
  }
  return out;
}

}  // namespace

TEST_CASE("an error's words, code and numbers reach the caller") {
  const brim_error e = reported("cannot read 'a'");
  CHECK(std::string(e.message) == "cannot read 'a'");
  CHECK(e.code == BRIM_IO);
  CHECK(e.detail[3] == 4);
  CHECK(e.native_code == 5);
  CHECK(e.domain == BRIM_DOMAIN_OS);
}

TEST_CASE("words that are too long are cut between characters and say so") {
  // 511 bytes have room; every length of the text before puts another byte of the characters there.
  for (size_t before = 0; before < 4; ++before) {
    std::string text(before, 'a');
    while (text.size() < 600) text += "\xF0\x9F\x98\x80";
    const std::string words = reported(text).message;
    CHECK(is_utf8(words));
    CHECK(words.size() > 500);
    CHECK(words.ends_with("\x80..."));
    CHECK(text.starts_with(words.substr(0, words.size() - 3)));
  }
  CHECK(std::string(reported(std::string(511, 'x')).message) == std::string(511, 'x'));
}

TEST_CASE("what is no UTF-8 in an error's words comes out as question marks") {
  CHECK(std::string(reported("a\xFF\xE2\x82 b").message) == "a??? b");
}

TEST_CASE("a caller with a smaller struct gets what fits, and not a byte more") {
  for (uint32_t size = 0; size <= sizeof(brim_error); ++size) {
    // A block of exactly that size, for sanitizers to watch.
    const auto block = std::make_unique<char[]>(std::max<size_t>(size, 4));
    std::memcpy(block.get(), &size, 4);
    try {
      fail(BRIM_NOT_FOUND, "'{}' is not there", std::string(600, 'y'));
    } catch (...) {
      CHECK(report_current_exception(reinterpret_cast<brim_error*>(block.get())) == BRIM_NOT_FOUND);
    }
    if (size > offsetof(brim_error, message)) CHECK(block[size - 1] == '\0');
  }
}

TEST_CASE("memory that ran out and strangers' exceptions have words of their own") {
  brim_error out = empty_error();
  try {
    throw std::bad_alloc();
  } catch (...) {
    CHECK(report_current_exception(&out) == BRIM_OUT_OF_MEMORY);
  }
  CHECK(std::string(out.message).find("memory") != std::string::npos);
  try {
    throw 1;
  } catch (...) {
    CHECK(report_current_exception(&out) == BRIM_INTERNAL);
  }
  CHECK(out.message[0] != '\0');
}
