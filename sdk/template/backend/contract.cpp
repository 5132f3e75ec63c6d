#include "contract.hpp"

#include <cstdarg>
#include <cstdio>

namespace plain {

void fail(brim_status code, const char* format, ...) {
  Failure failure{code, {}, {}};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(failure.message, sizeof failure.message, format, arguments);
  va_end(arguments);
  throw failure;
}

void fail_memory(uint64_t requested, uint64_t available) {
  Failure failure{BRIM_OUT_OF_MEMORY, {0, requested, available, 0}, {}};
  std::snprintf(failure.message, sizeof failure.message,
                "the plain backend asked its host for %llu bytes and got none (%llu bytes of system memory are "
                "available): free memory, or choose a smaller context or model",
                static_cast<unsigned long long>(requested), static_cast<unsigned long long>(available));
  throw failure;
}

brim_status report(brim_error* error, const Failure& failure) noexcept {
  if (error == nullptr) return failure.code;
  brim_error own{};
  own.code = failure.code;
  own.domain = BRIM_DOMAIN_BACKEND;
  std::memcpy(own.detail, failure.detail, sizeof own.detail);
  std::memcpy(own.message, failure.message, sizeof own.message);
  const uint32_t theirs = error->struct_size;
  answer(error, own);
  // A message that was cut off is still terminated.
  if (theirs > offsetof(brim_error, message) && theirs < sizeof own) reinterpret_cast<char*>(error)[theirs - 1] = '\0';
  return failure.code;
}

}  // namespace plain
