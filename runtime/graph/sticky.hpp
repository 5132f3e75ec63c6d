// The first error of a builder: kept until the architecture returns, then thrown. Also the copying of sized structs.
#pragma once

#include <brim/status.h>

#include <algorithm>
#include <base/error.hpp>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace brim::graph {

class Sticky {
 public:
  // Runs f unless an error sticks already. Never throws: called from plugins.
  template <class F>
  brim_status run(const F& f) noexcept {
    if (failed()) return error_.code;
    try {
      f();
      return BRIM_OK;
    } catch (...) {
      error_ = empty_error();
      return error_.code = report_current_exception(&error_);
    }
  }

  void report(brim_status code, brim_str message) noexcept {
    run([&] { throw Error(code == BRIM_OK ? BRIM_INTERNAL : code, std::string(brim::view(message))); });
  }

  bool failed() const { return error_.code != BRIM_OK; }

  // Throws what sticks, or what the plugin returned without having reported anything.
  void rethrow(brim_status returned, std::string_view doing) const {
    check(error_.code, error_, doing);
    check(returned, empty_error(), doing);
  }

 private:
  brim_error error_ = empty_error();
};

// The other side's struct in this minor's size: what it did not send reads as zero.
template <class T>
T sized_copy(const T& theirs, const char* name) {
  if (theirs.struct_size < sizeof(uint32_t))
    fail(BRIM_INVALID_ARGUMENT, "{}.struct_size is {}", name, theirs.struct_size);
  T mine{};
  std::memcpy(&mine, &theirs, std::min<size_t>(theirs.struct_size, sizeof(T)));
  mine.struct_size = sizeof(T);
  return mine;
}

}  // namespace brim::graph
