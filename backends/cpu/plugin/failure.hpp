// How a failure travels inside the plugin: an exception that holds the brim_error to be, turned into a status at the
// edge by guard(). No exception leaves an entry of the plugin.
#pragma once

#include <exception>

#include "brim/status.h"

namespace brim_cpu {

struct Failure {
  brim_status code;
  uint64_t detail[4];
  char message[512];
};

// Throws a Failure. The message names the thing, what was expected, what was found and what to try.
[[noreturn]] void fail(brim_status code, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Throws OUT_OF_MEMORY with detail {heap 0, requested, available}.
[[noreturn]] void fail_memory(uint64_t requested);

// Writes a failure into what the caller gave; a null or short brim_error gets what it has room for.
void report(brim_error* error, brim_status code, const uint64_t detail[4], const char* message) noexcept;

// Runs one entry of the plugin's tables.
template <class F>
brim_status guard(brim_error* error, F&& entry) noexcept {
  static constexpr uint64_t kNoDetail[4] = {};
  try {
    entry();
    return BRIM_OK;
  } catch (const Failure& failure) {
    report(error, failure.code, failure.detail, failure.message);
    return failure.code;
  } catch (const std::exception& other) {
    report(error, BRIM_INTERNAL, kNoDetail, other.what());
    return BRIM_INTERNAL;
  } catch (...) {
    report(error, BRIM_INTERNAL, kNoDetail, "an exception of unknown type reached the CPU backend's edge");
    return BRIM_INTERNAL;
  }
}

}  // namespace brim_cpu
