// What every fuzz target shares: how a broken promise is told, what may be thrown, and a reader that cuts a target's
// bytes into numbers and texts. A target is one file that defines LLVMFuzzerTestOneInput; libFuzzer calls it with bytes
// of its own making, replay.cpp with those of files. A promise that does not hold ends the program: that is how
// libFuzzer learns of it.
#pragma once

#include <algorithm>
#include <base/error.hpp>
#include <base/utf8.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace brim::fuzz {

[[noreturn]] inline void broken(std::string_view promise, std::string_view found = {}) {
  std::fprintf(stderr, "BROKEN: %.*s: %.*s\n", static_cast<int>(promise.size()), promise.data(),
               static_cast<int>(found.size()), found.data());
  std::abort();
}

inline void expect(bool holds, std::string_view promise, std::string_view found = {}) {
  if (!holds) broken(promise, found);
}

// Runs f, which may refuse its input with an Error whose words are text; nothing else may come out of it. True if it
// did not refuse.
template <class F>
bool accepts(const F& f) {
  try {
    f();
    return true;
  } catch (const Error& error) {
    expect(error.code != BRIM_OK && error.code != BRIM_INTERNAL, "an input is refused with a code for inputs",
           error.what());
    expect(error.what()[0] != '\0', "an error has words");
    return false;
  } catch (const std::exception& error) {
    broken("an input is refused with an Error", error.what());
  }
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// What stands before the next mark, which is taken too; the whole rest where there is none.
inline std::string_view next_part(std::string_view& rest, char mark) {
  const size_t at = rest.find(mark);
  const std::string_view part = rest.substr(0, at);
  rest.remove_prefix(at == rest.npos ? rest.size() : at + 1);
  return part;
}

inline void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  expect(static_cast<bool>(out.flush()), "the temporary folder can be written", path);
}

// Bytes read from the front; where they end, zeros.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(data, size) {}

  bool empty() const { return rest_.empty(); }

  template <class T>
  T number() {
    T value{};
    const size_t n = std::min(sizeof(T), rest_.size());
    if (n) std::memcpy(&value, rest_.data(), n);
    rest_ = rest_.subspan(n);
    return value;
  }
  uint8_t byte() { return number<uint8_t>(); }
  bool flag() { return byte() & 1; }
  // 0 .. n - 1; n up to 256.
  uint32_t below(uint32_t n) { return byte() % n; }
  template <class T, size_t N>
  const T& pick(const T (&choices)[N]) {
    return choices[below(N)];
  }
  // A length in one byte, then so many bytes, or fewer at the end.
  std::string_view text() {
    const size_t n = std::min<size_t>(byte(), rest_.size());
    const std::string_view out = text_of(rest_.data(), n);
    rest_ = rest_.subspan(n);
    return out;
  }

 private:
  std::span<const uint8_t> rest_;
};

}  // namespace brim::fuzz
