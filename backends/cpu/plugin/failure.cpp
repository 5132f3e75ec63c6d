#include "plugin/failure.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "device/system.hpp"

namespace brim_cpu {

void fail(brim_status code, const char* format, ...) {
  Failure failure{};
  failure.code = code;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(failure.message, sizeof failure.message, format, arguments);
  va_end(arguments);
  throw failure;
}

void fail_memory(uint64_t requested) {
  const SystemMemory memory = system_memory();
  Failure failure{};
  failure.code = BRIM_OUT_OF_MEMORY;
  failure.detail[1] = requested;
  failure.detail[2] = memory.available;
  std::snprintf(failure.message, sizeof failure.message,
                "the CPU backend asked its host for %llu bytes and got none (%llu bytes of system memory are "
                "available): free memory, or choose a smaller context or model",
                static_cast<unsigned long long>(requested), static_cast<unsigned long long>(memory.available));
  throw failure;
}

void report(brim_error* error, brim_status code, const uint64_t detail[4], const char* message) noexcept {
  if (error == nullptr) return;
  brim_error own{};
  own.code = code;
  own.domain = BRIM_DOMAIN_BACKEND;
  std::memcpy(own.detail, detail, sizeof own.detail);
  std::snprintf(own.message, sizeof own.message, "%s", message);
  own.struct_size = error->struct_size;
  const size_t size = std::min<size_t>(error->struct_size, sizeof own);
  if (size > offsetof(brim_error, message)) reinterpret_cast<char*>(&own)[size - 1] = 0;
  std::memcpy(error, &own, size);
}

}  // namespace brim_cpu
