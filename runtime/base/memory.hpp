// Host memory. host_alloc/host_free for single blocks, Heap for what belongs together and is given back together: it
// counts its bytes and frees every block in its destructor. Both stand on mimalloc, compiled into the library from
// source without overriding anything, so the host's malloc is never touched; where BRIM_MIMALLOC is OFF (sanitizers,
// foreign builds), on the system's allocator. Large blocks are pages of the system's own.
//
// A mi_heap_t may be allocated from by its creating thread only, but a model's heap is used by whichever thread loads
// or serves it. So a Heap is no mi_heap_t: every block comes from the calling thread's default heap (mi_malloc_aligned,
// free from any thread) and is kept in a list under a lock. Blocks here are large and rare (weights, arenas, pools);
// what a decode step needs is allocated before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <type_traits>

namespace brim {

// Enough for any vector load and for a cache line of its own.
inline constexpr size_t kHostAlignment = 64;

// Throws OUT_OF_MEMORY naming the bytes; INVALID_ARGUMENT for an alignment that is no power of two up to 2 MiB.
// 0 bytes give a block of 1. The memory is not zeroed. [any]
void* host_alloc(size_t bytes, size_t alignment = kHostAlignment);
// Null is fine. [any]
void host_free(void* block) noexcept;

struct HostDelete {
  void operator()(void* block) const noexcept { host_free(block); }
};
// A single block that frees itself. T must need no destructor.
template <class T>
using HostArray = std::unique_ptr<T[], HostDelete>;
// `count` elements, not initialised. Throws OUT_OF_MEMORY, also where count * sizeof(T) overflows.
template <class T>
HostArray<T> host_array(size_t count, size_t alignment = kHostAlignment) {
  static_assert(std::is_trivially_destructible_v<T> && std::is_trivially_default_constructible_v<T>);
  const size_t bytes = count > SIZE_MAX / sizeof(T) ? SIZE_MAX : count * sizeof(T);
  return HostArray<T>(static_cast<T*>(host_alloc(bytes, alignment)));
}

class Heap {
 public:
  Heap() = default;
  ~Heap() { release(); }
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // As host_alloc. [any]
  void* allocate(size_t bytes, size_t alignment = kHostAlignment);
  // `block` is null or was allocated here and not freed. [any]
  void free(void* block) noexcept;
  // Frees every block. [control]
  void release() noexcept;

  // Bytes asked for by blocks that live. [any]
  uint64_t bytes_in_use() const;
  uint64_t blocks() const;

 private:
  struct Block;
  mutable std::mutex mutex_;
  Block* first_ = nullptr;
  uint64_t bytes_ = 0;
  uint64_t blocks_ = 0;
};

}  // namespace brim
