// Memory for the plain structs of a program, given back all at once with the program.
#pragma once

#include <algorithm>
#include <type_traits>

#include "plugin/memory.hpp"

namespace brim_cpu {

class Arena {
 public:
  explicit Arena(Memory& memory) : memory_(memory), blocks_(HostAllocator<Block>(memory)) {}
  ~Arena() {
    for (const Block& block : blocks_) memory_.give(block.data, block.bytes, kAlignment);
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // n zeroed elements. Throws OUT_OF_MEMORY.
  template <class T>
  T* array(uint64_t n) {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T> && alignof(T) <= kAlignment);
    if (n > UINT64_MAX / 2 / sizeof(T)) fail_memory(UINT64_MAX);
    const uint64_t bytes = (n * sizeof(T) + 15) / 16 * 16;
    if (blocks_.empty() || bytes > blocks_.back().bytes - used_) grow(bytes);
    std::byte* at = blocks_.back().data + used_;
    used_ += bytes;
    T* first = reinterpret_cast<T*>(at);
    std::uninitialized_value_construct_n(first, n);
    return first;
  }
  template <class T>
  T* copy(const T& value) {
    T* at = array<T>(1);
    *at = value;
    return at;
  }

 private:
  static constexpr uint64_t kBlockBytes = 16 << 10, kAlignment = 64;
  struct Block {
    std::byte* data;
    uint64_t bytes;
  };

  void grow(uint64_t bytes) {
    const uint64_t size = std::max(bytes, kBlockBytes);
    blocks_.push_back({nullptr, 0});
    blocks_.back() = {static_cast<std::byte*>(memory_.take(size, kAlignment)), size};
    used_ = 0;
  }

  Memory& memory_;
  Array<Block> blocks_;
  uint64_t used_ = 0;  // of the last block
};

}  // namespace brim_cpu
