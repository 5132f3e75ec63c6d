// What a call failed with: CHECK_FAILS(BRIM_NOT_FOUND, "no such file", open(path)) checks the code and that the message
// contains the text.
#pragma once

#include <doctest/doctest.h>

#include <base/error.hpp>
#include <string>

namespace brim::test {

struct Failure {
  brim_status code = BRIM_OK;
  std::string message;
};

template <class F>
Failure failure_of(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.code, error.what()};
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace brim::test

#define CHECK_FAILS(expected_code, text, ...)                                                      \
  do {                                                                                             \
    const auto brim_failure = brim::test::failure_of([&] { static_cast<void>(__VA_ARGS__); });     \
    CHECK_MESSAGE(brim_failure.code == (expected_code), "said: '" << brim_failure.message << "'"); \
    CHECK_MESSAGE(brim::test::contains(brim_failure.message, text),                                \
                  "said: '" << brim_failure.message << "', expected: " << text);                   \
  } while (false)
