// The rules of the boundary in four functions, so that the rest of the code can forget them:
//   taken, element  what the host hands in may be shorter or longer than this build's structs: copied into a zeroed one
//   answer          what the host wants filled may be shorter too: nothing is written behind its struct_size
//   fail, guard     inside, a failure is thrown; guard() is the last frame before the C ABI and makes it a status
#pragma once

#include <brim/backend.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

namespace plain {

// A struct that begins with its size.
template <class T>
T taken(const T* theirs) {
  T own{};
  if (theirs != nullptr) std::memcpy(&own, theirs, std::min<size_t>(theirs->struct_size, sizeof own));
  return own;
}

// Element i of a (pointer, count, stride) array; the stride is the size of the host's element.
template <class T>
T element(const void* array, uint64_t i, uint32_t stride) {
  T own{};
  std::memcpy(&own, static_cast<const std::byte*>(array) + i * stride, std::min<size_t>(stride, sizeof own));
  return own;
}

template <class T>
void answer(T* out, const T& filled) {
  const uint32_t theirs = out->struct_size;
  std::memcpy(out, &filled, std::min<size_t>(theirs, sizeof filled));
  out->struct_size = theirs;
}

struct Failure {
  brim_status code;
  uint64_t detail[4];
  char message[512];
};

// Throws Failure; the format is printf's. Say which thing, what was expected, what was found, what to do.
[[noreturn, gnu::format(printf, 2, 3)]] void fail(brim_status code, const char* format, ...);
// OUT_OF_MEMORY with {heap, requested, available}.
[[noreturn]] void fail_memory(uint64_t requested, uint64_t available);

// Writes a failure into the caller's struct, which may be NULL or of any size.
brim_status report(brim_error* error, const Failure& failure) noexcept;

template <class Body>
brim_status guard(brim_error* error, Body&& body) noexcept {
  try {
    body();
    return BRIM_OK;
  } catch (const Failure& failure) {
    return report(error, failure);
  } catch (const std::exception& unexpected) {
    Failure failure{BRIM_INTERNAL, {}, {}};
    std::strncpy(failure.message, unexpected.what(), sizeof failure.message - 1);
    return report(error, failure);
  } catch (...) {
    return report(error, Failure{BRIM_INTERNAL, {}, "an unknown exception inside the plain backend"});
  }
}

}  // namespace plain
