// The one exception type of the runtime. Rooms throw it; api/ turns it into a brim_status and a brim_error at the C
// ABI's edge, loader/ does the same at a plugin's edge and thread tops catch it. A message names the thing, what was
// expected, what was found and what to try.
#pragma once

#include <brim/status.h>
#include <fmt/format.h>

#include <array>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace brim {

class Error : public std::exception {
 public:
  Error(brim_status code, std::string message, std::array<uint64_t, 4> detail = {}, int32_t native_code = 0,
        uint32_t domain = BRIM_DOMAIN_HOST)
      : code(code), native_code(native_code), domain(domain), detail(detail), message_(std::move(message)) {}

  const char* what() const noexcept override { return message_.c_str(); }

  brim_status code;
  int32_t native_code;
  uint32_t domain;
  std::array<uint64_t, 4> detail;

 private:
  std::string message_;
};

// Throws Error(code, formatted message).
template <class... Args>
[[noreturn]] void fail(brim_status code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// Writes what is being handled right now into a caller's brim_error (which may be null) and returns its code. Call it
// inside a catch block. Never throws.
brim_status report_current_exception(brim_error* out) noexcept;

// What a plugin said of a failure: its message as far as it is text, the name of the status where it said nothing.
std::string words_of(brim_status status, const brim_error& error);

// The other direction: throws what a plugin reported, with `doing` in front of its message ("loading cpu: ...").
// Does nothing for BRIM_OK; a status that is not known is INTERNAL.
void check(brim_status status, const brim_error& error, std::string_view doing);

// A zeroed brim_error with its size set.
inline brim_error empty_error() {
  brim_error e{};
  e.struct_size = sizeof(e);
  return e;
}

inline std::string_view view(brim_str s) { return s.ptr ? std::string_view(s.ptr, s.len) : std::string_view(); }
inline brim_str str(std::string_view s) { return {s.data(), s.size()}; }

}  // namespace brim
