// What every part of the backend needs: errors, foreign structs read and written within their bounds, host memory.
#pragma once

#include <brim/backend.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>

#include "../sins.hpp"

namespace saint {

// Writes an error into what the caller has room for, and returns its code.
inline brim_status vfail(brim_error* error, brim_status code, const uint64_t (&detail)[4], const char* format,
                         va_list arguments) {
  if (error == nullptr) return code;
  brim_error own{};
  own.code = sins::error_without_code ? BRIM_OK : code;
  own.domain = BRIM_DOMAIN_BACKEND;
  std::copy(detail, detail + 4, own.detail);
  const size_t size =
      sins::error_written_behind_its_size ? sizeof own : std::min<size_t>(error->struct_size, sizeof own);
  const size_t lead = offsetof(brim_error, message);
  if (size > lead && !sins::error_without_words) std::vsnprintf(own.message, size - lead, format, arguments);
  constexpr size_t kFirst = sizeof own.struct_size;
  if (size > kFirst) std::memcpy(&error->code, &own.code, size - kFirst);
  return code;
}

[[gnu::format(printf, 3, 4)]] inline brim_status fail(brim_error* error, brim_status code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfail(error, code, {}, format, arguments);
  va_end(arguments);
  return code;
}

[[gnu::format(printf, 4, 5)]] inline brim_status fail_memory(brim_error* error, uint64_t requested, uint64_t available,
                                                             const char* format, ...) {
  const brim_status code = sins::out_of_memory_is_internal ? BRIM_INTERNAL : BRIM_OUT_OF_MEMORY;
  va_list arguments;
  va_start(arguments, format);
  if (sins::out_of_memory_without_detail) requested = available = 0;
  vfail(error, code, {0, requested, available, 0}, format, arguments);
  va_end(arguments);
  return code;
}

// A sender's struct as this build knows it: what the sender has not is zero, what this build has not is left out.
template <class T>
T read(const T* theirs) {
  T own{};
  std::memcpy(static_cast<void*>(&own), theirs, std::min<size_t>(theirs->struct_size, sizeof own));
  return own;
}

// An array's element, `stride` bytes from its neighbours.
template <class T>
T element(const void* array, uint32_t stride, uint64_t i) {
  T own{};
  std::memcpy(static_cast<void*>(&own), static_cast<const std::byte*>(array) + i * stride,
              std::min<size_t>(stride, sizeof own));
  return own;
}
// The same where the element begins with its size, which the stride may exceed.
template <class T>
T sized_element(const void* array, uint32_t stride, uint64_t i) {
  const auto* theirs = reinterpret_cast<const T*>(static_cast<const std::byte*>(array) + i * stride);
  T own{};
  std::memcpy(static_cast<void*>(&own), theirs, std::min<size_t>({theirs->struct_size, stride, sizeof own}));
  return own;
}

// Fills a receiver's struct; its struct_size is the receiver's own.
template <class T>
void answer(T* theirs, T own) {
  const size_t size =
      sins::answer_written_behind_its_size ? sizeof own : std::min<size_t>(theirs->struct_size, sizeof own);
  own.struct_size = sins::answer_changes_its_size ? static_cast<uint32_t>(sizeof own) : theirs->struct_size;
  std::memcpy(static_cast<void*>(theirs), &own, size);
}

// The host's services, copied: an older host's table is shorter.
struct Services {
  brim_host_api api;
  brim_host* host;

  void* take(uint64_t bytes, uint64_t alignment = 64) const { return api.alloc(host, bytes, alignment); }
  void give_back(void* p, uint64_t bytes, uint64_t alignment = 64) const { api.free(host, p, bytes, alignment); }
};

template <class T>
T* make(const Services& services, T value) {
  void* memory = services.take(sizeof(T));
  if (memory == nullptr && !sins::out_of_memory_not_looked_for) return nullptr;
  return new (memory) T(value);
}
template <class T>
void unmake(const Services& services, T* object) {
  object->~T();
  services.give_back(object, sizeof(T));
}

inline std::string_view view(brim_str text) { return {text.ptr, text.len}; }

}  // namespace saint
