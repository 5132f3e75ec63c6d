// Reads the messages of errors as a person would who has nothing else to go by.
#pragma once

#include <brim/status.h>

#include <base/utf8.hpp>
#include <cctype>
#include <cstring>
#include <string>
#include <string_view>

namespace brim::test {

// What is wrong with the words of an error; empty: nothing. `thing`: what they have to name; empty: nothing in
// particular.
inline std::string fault_of(const brim_error& error, std::string_view thing) {
  const size_t length = strnlen(error.message, sizeof(error.message));
  const std::string_view words(error.message, length);
  if (words.empty()) return "no words";
  if (length == sizeof(error.message)) return "no end";
  if (!is_utf8(words)) return "no UTF-8";
  for (const char c : words) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return "a control character";
  }
  // A sentence: some words, no space or dangling punctuation around it.
  if (words.find(' ') == words.npos) return "a single word";
  if (words.front() == ' ' || std::strchr(" ,:;(-", words.back())) return "ends, or begins, in the middle";
  if (words.find("::") != words.npos) return "a name of C++";
  for (const char* left_over : {"bad_alloc", "what()", "basic_string", "vector", "_M_", "(null)", "{}", "%s", "nullptr",
                                "terminate", "exception", "  "}) {
    if (words.find(left_over) != words.npos) return std::string("says \"") + left_over + "\"";
  }
  for (size_t at = words.find("0x"); at != words.npos; at = words.find("0x", at + 2)) {
    size_t digits = 0;
    while (at + 2 + digits < words.size() && std::isxdigit(static_cast<unsigned char>(words[at + 2 + digits])))
      ++digits;
    if (digits > 8) return "a pointer";
  }
  if (words.find(thing) == words.npos) return "does not name " + std::string(thing);
  return {};
}

}  // namespace brim::test
