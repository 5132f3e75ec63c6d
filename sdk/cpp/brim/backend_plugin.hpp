// Comforts for authors of backends in C++: failures that become a brim_error at the plugin's edge, host memory with
// standard containers on it, settings, answers and attributes of another build's size.
//
// Header-only; nothing of it crosses the ABI. backends/vulkan is written on it.
#pragma once

#include <brim/backend.h>

#include <algorithm>
#include <charconv>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <memory>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

namespace brim::backend {

inline std::string_view view(brim_str s) { return s.len == 0 ? std::string_view() : std::string_view(s.ptr, s.len); }

// ---- failures ----

// The brim_error to be, thrown inside the plugin and caught by guard().
struct Failure {
  brim_status code = BRIM_INTERNAL;
  int32_t native_code = 0;  // of the driver, 0 if none
  uint64_t detail[4] = {};
  char message[512] = {};
};

// Throws. The message names the thing, what was expected, what was found and what to try.
[[noreturn]] __attribute__((format(printf, 2, 3))) inline void fail(brim_status code, const char* format, ...) {
  Failure failure;
  failure.code = code;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(failure.message, sizeof failure.message, format, arguments);
  va_end(arguments);
  throw failure;
}

// Throws OUT_OF_MEMORY of the host's memory.
[[noreturn]] inline void fail_host_memory(uint64_t requested) {
  Failure failure;
  failure.code = BRIM_OUT_OF_MEMORY;
  failure.detail[1] = requested;
  std::snprintf(failure.message, sizeof failure.message, "the host gave no %llu bytes of memory",
                static_cast<unsigned long long>(requested));
  throw failure;
}

// Writes a failure into what the caller gave; a null or short brim_error gets what it has room for.
inline void report(brim_error* error, const Failure& failure) noexcept {
  if (error == nullptr) return;
  brim_error own{};
  own.struct_size = error->struct_size;
  own.code = failure.code;
  own.native_code = failure.native_code;
  own.domain = failure.native_code == 0 ? BRIM_DOMAIN_BACKEND : BRIM_DOMAIN_DRIVER;
  std::memcpy(own.detail, failure.detail, sizeof own.detail);
  std::memcpy(own.message, failure.message, sizeof own.message);
  // A shorter struct gets as much of the message as it holds, terminated.
  const size_t size = std::min<size_t>(error->struct_size, sizeof own);
  if (size > offsetof(brim_error, message)) reinterpret_cast<char*>(&own)[size - 1] = 0;
  std::memcpy(error, &own, size);
}

// Runs one entry of the plugin's tables: no exception leaves it.
template <class F>
brim_status guard(brim_error* error, F&& entry) noexcept {
  Failure failure;
  try {
    entry();
    return BRIM_OK;
  } catch (const Failure& thrown) {
    failure = thrown;
  } catch (const std::exception& other) {
    std::snprintf(failure.message, sizeof failure.message, "%s", other.what());
  } catch (...) {
    std::snprintf(failure.message, sizeof failure.message, "an exception of unknown type reached the plugin's edge");
  }
  report(error, failure);
  return failure.code;
}

// ---- host memory ----

// Where host memory comes from; copied freely, outlived by its host.
struct Memory {
  const brim_host_api* api;
  brim_host* host;

  // Throws OUT_OF_MEMORY. The bytes are not zeroed.
  void* take(uint64_t bytes, uint64_t alignment) const {
    void* p = api->alloc(host, bytes, alignment);
    if (p == nullptr) fail_host_memory(bytes);
    return p;
  }
  void give(void* p, uint64_t bytes, uint64_t alignment) const noexcept { api->free(host, p, bytes, alignment); }
};

template <class T>
struct HostAllocator {
  using value_type = T;
  Memory memory;

  explicit HostAllocator(Memory from) : memory(from) {}
  template <class U>
  HostAllocator(const HostAllocator<U>& other) : memory(other.memory) {}

  static constexpr uint64_t kAlignment = std::max<uint64_t>(alignof(T), 16);
  T* allocate(size_t n) {
    if (n > SIZE_MAX / sizeof(T)) fail_host_memory(SIZE_MAX);
    return static_cast<T*>(memory.take(n * sizeof(T), kAlignment));
  }
  void deallocate(T* p, size_t n) noexcept { memory.give(p, n * sizeof(T), kAlignment); }
  template <class U>
  bool operator==(const HostAllocator<U>& other) const {
    return memory.host == other.memory.host;
  }
};

template <class T>
struct Array : std::vector<T, HostAllocator<T>> {
  explicit Array(Memory memory) : std::vector<T, HostAllocator<T>>(HostAllocator<T>(memory)) {}
};

template <class T, class... Arguments>
T* make(Memory memory, Arguments&&... arguments) {
  void* p = memory.take(sizeof(T), alignof(T));
  try {
    return ::new (p) T(std::forward<Arguments>(arguments)...);
  } catch (...) {
    memory.give(p, sizeof(T), alignof(T));
    throw;
  }
}
template <class T>
void unmake(Memory memory, T* object) noexcept {
  if (object == nullptr) return;
  object->~T();
  memory.give(object, sizeof(T), alignof(T));
}

// ---- structs of another build's size ----

// Copies min(theirs, own) bytes of an answer, keeping the caller's struct_size.
template <class T>
void answer(T* out, T own) {
  own.struct_size = out->struct_size;
  std::memcpy(static_cast<void*>(out), &own, std::min<size_t>(own.struct_size, sizeof own));
}

// A struct from the other side as this build knows it: what the sender lacks reads as zero.
template <class T>
T received(const void* theirs) {
  T own{};
  if (theirs == nullptr) return own;
  uint32_t size = 0;
  std::memcpy(&size, theirs, sizeof size);
  std::memcpy(&own, theirs, std::min<size_t>(size, sizeof own));
  return own;
}

// Element i of a (pointer, count, stride) array, in the same manner.
template <class T>
T element(const void* array, uint32_t stride, uint64_t i) {
  T own{};
  std::memcpy(static_cast<void*>(&own), static_cast<const char*>(array) + i * stride,
              std::min<size_t>(stride, sizeof own));
  return own;
}

// ---- settings ----

namespace detail {

inline int shown(std::string_view text) { return static_cast<int>(std::min<size_t>(text.size(), 80)); }

// Levenshtein distance; keys longer than the table count as far away.
inline size_t distance(std::string_view a, std::string_view b) {
  constexpr size_t kMost = 63;
  if (a.size() > kMost || b.size() > kMost) return SIZE_MAX;
  size_t row[kMost + 1];
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace detail

// A whole number in [least, most]; anything else is INVALID_ARGUMENT.
inline uint64_t whole_number(const char* where, std::string_view key, std::string_view value, uint64_t least,
                             uint64_t most) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < least || number > most) {
    fail(BRIM_INVALID_ARGUMENT, "%s: setting '%.*s' is '%.*s'; expected a whole number from %llu to %llu", where,
         detail::shown(key), key.data(), detail::shown(value), value.data(), static_cast<unsigned long long>(least),
         static_cast<unsigned long long>(most));
  }
  return number;
}

// "true" or "false"; anything else is INVALID_ARGUMENT.
inline bool truth(const char* where, std::string_view key, std::string_view value) {
  if (value != "true" && value != "false") {
    fail(BRIM_INVALID_ARGUMENT, "%s: setting '%.*s' is '%.*s'; expected true or false", where, detail::shown(key),
         key.data(), detail::shown(value), value.data());
  }
  return value == "true";
}

// Calls use(key, value) for each setting. A key that is not in `known` is INVALID_ARGUMENT naming the nearest one.
template <class Use>
void each_setting(const char* where, const void* settings, uint32_t n, uint32_t stride,
                  std::initializer_list<std::string_view> known, Use&& use) {
  for (uint32_t i = 0; i < n; ++i) {
    const brim_setting* setting = BRIM_ELEM(brim_setting, settings, stride, i);
    const std::string_view key = view(setting->key);
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      const std::string_view nearest = *std::min_element(known.begin(), known.end(), [&](auto a, auto b) {
        return detail::distance(key, a) < detail::distance(key, b);
      });
      fail(BRIM_INVALID_ARGUMENT, "%s has no setting '%.*s'; the nearest one is '%.*s'", where, detail::shown(key),
           key.data(), detail::shown(nearest), nearest.data());
    }
    use(key, view(setting->value));
  }
}

}  // namespace brim::backend
