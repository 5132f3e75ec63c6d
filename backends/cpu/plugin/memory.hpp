// Host memory of one plugin instance: everything comes from brim_host_api.alloc.
//
// Memory hands out bytes and keeps a tally, so that a program can say exactly what it holds. HostAllocator lets
// standard containers live on it; make and unmake do the same for single objects. Containers grow while something is
// created, never while a program runs.
#pragma once

#include <algorithm>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "brim/plugin.h"
#include "plugin/failure.hpp"

namespace brim_cpu {

class Memory {
 public:
  Memory(const brim_host_api* api, brim_host* host) : api_(api), host_(host) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Throws OUT_OF_MEMORY. The bytes are not zeroed.
  void* take(uint64_t bytes, uint64_t alignment) {
    void* p = api_->alloc(host_, bytes, alignment);
    if (p == nullptr) fail_memory(bytes);
    live_ += bytes;
    peak_ = std::max(peak_, live_);
    return p;
  }
  void give(void* p, uint64_t bytes, uint64_t alignment) noexcept {
    if (p == nullptr) return;
    api_->free(host_, p, bytes, alignment);
    live_ -= bytes;
  }

  // Bytes held through this object now, and the most that it ever held. Not for objects shared by threads.
  uint64_t live() const { return live_; }
  uint64_t peak() const { return peak_; }

  const brim_host_api* api() const { return api_; }
  brim_host* host() const { return host_; }

 private:
  const brim_host_api* api_;
  brim_host* host_;
  uint64_t live_ = 0, peak_ = 0;
};

template <class T>
struct HostAllocator {
  using value_type = T;
  Memory* memory;

  explicit HostAllocator(Memory& from) : memory(&from) {}
  template <class U>
  HostAllocator(const HostAllocator<U>& other) : memory(other.memory) {}

  static constexpr uint64_t kAlignment = std::max<uint64_t>(alignof(T), 16);
  T* allocate(size_t n) {
    if (n > SIZE_MAX / sizeof(T)) fail_memory(SIZE_MAX);
    return static_cast<T*>(memory->take(n * sizeof(T), kAlignment));
  }
  void deallocate(T* p, size_t n) noexcept { memory->give(p, n * sizeof(T), kAlignment); }
  template <class U>
  bool operator==(const HostAllocator<U>& other) const {
    return memory == other.memory;
  }
};

template <class T>
using Array = std::vector<T, HostAllocator<T>>;

// One object on host memory. `api` and `host` are passed each time because the object may own its Memory.
template <class T, class... Arguments>
T* make(const brim_host_api* api, brim_host* host, Arguments&&... arguments) {
  void* p = api->alloc(host, sizeof(T), alignof(T));
  if (p == nullptr) fail_memory(sizeof(T));
  try {
    return ::new (p) T(std::forward<Arguments>(arguments)...);
  } catch (...) {
    api->free(host, p, sizeof(T), alignof(T));
    throw;
  }
}

template <class T>
void unmake(const brim_host_api* api, brim_host* host, T* object) noexcept {
  if (object == nullptr) return;
  object->~T();
  api->free(host, object, sizeof(T), alignof(T));
}

}  // namespace brim_cpu
