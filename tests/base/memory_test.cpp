#include <doctest/doctest.h>

#include <base/memory.hpp>
#include <cstring>
#include <thread>
#include <vector>

#include "../support/failure.hpp"

using brim::Heap;

namespace {

bool aligned(const void* block, size_t alignment) { return reinterpret_cast<uintptr_t>(block) % alignment == 0; }

}  // namespace

TEST_CASE("blocks have the alignment and the room asked for") {
  Heap heap;
  for (size_t alignment = 1; alignment <= size_t{1} << 21; alignment *= 2) {
    for (const size_t bytes : {0, 1, 63, 64, 128, 256, 512, 1024, 4096, 100000}) {
      CAPTURE(alignment);
      CAPTURE(bytes);
      void* own = brim::host_alloc(bytes, alignment);
      CHECK(aligned(own, alignment));
      std::memset(own, 0xA5, bytes);
      brim::host_free(own);
      void* block = heap.allocate(bytes, alignment);
      CHECK(aligned(block, alignment));
      std::memset(block, 0x5A, bytes);
    }
  }
}

TEST_CASE("a heap counts what lives in it and gives everything back at once") {
  Heap heap;
  void* a = heap.allocate(100);
  void* b = heap.allocate(1000, 4096);
  void* c = heap.allocate(10);
  CHECK(heap.bytes_in_use() == 1110);
  CHECK(heap.blocks() == 3);
  heap.free(b);
  CHECK(heap.bytes_in_use() == 110);
  heap.free(nullptr);
  heap.free(c);
  heap.free(a);
  CHECK(heap.bytes_in_use() == 0);
  CHECK(heap.blocks() == 0);
  for (int i = 0; i < 10; ++i) heap.allocate(1 << 20);
  heap.release();
  CHECK(heap.bytes_in_use() == 0);
  CHECK(heap.blocks() == 0);
  // Still usable; what is left is the destructor's.
  heap.allocate(5);
  CHECK(heap.bytes_in_use() == 5);
}

TEST_CASE("threads share a heap: blocks are freed by others than their allocator, and outlive it") {
  Heap heap;
  constexpr int kThreads = 4, kBlocks = 500;
  std::vector<std::vector<unsigned char*>> blocks(kThreads);
  const auto size = [](int i) { return static_cast<size_t>(1 + i * 37); };
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kBlocks; ++i) {
          auto* block = static_cast<unsigned char*>(heap.allocate(size(i)));
          std::memset(block, t + 1, size(i));
          blocks[t].push_back(block);
        }
      });
    }
  }
  bool intact = true;
  {
    std::vector<std::jthread> threads;
    std::vector<char> bad(kThreads);
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        const int owner = (t + 1) % kThreads;
        for (int i = 0; i < kBlocks; ++i) {
          unsigned char* block = blocks[owner][i];
          if (block[0] != owner + 1 || block[size(i) - 1] != owner + 1) bad[t] = 1;
          heap.free(block);
        }
      });
    }
    threads.clear();
    for (const char b : bad) intact = intact && !b;
  }
  CHECK(intact);
  CHECK(heap.bytes_in_use() == 0);
}

TEST_CASE("sizes and alignments nobody can serve are errors") {
  Heap heap;
  CHECK_FAILS(BRIM_OUT_OF_MEMORY, "cannot allocate", brim::host_alloc(SIZE_MAX));
  CHECK_FAILS(BRIM_OUT_OF_MEMORY, "cannot allocate", heap.allocate(SIZE_MAX - 8));
  CHECK_FAILS(BRIM_OUT_OF_MEMORY, "cannot allocate", brim::host_array<double>(SIZE_MAX / 4));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "alignment of 48", brim::host_alloc(1, 48));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "alignment of 0", heap.allocate(1, 0));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "power of two", heap.allocate(1, size_t{1} << 40));
  CHECK(heap.bytes_in_use() == 0);
  CHECK(heap.blocks() == 0);
}
