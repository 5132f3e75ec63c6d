#include <algorithm>
#include <base/error.hpp>
#include <base/memory.hpp>
#include <base/os/machine.hpp>
#include <bit>
#include <new>

#if defined(BRIM_MIMALLOC)
#include <mimalloc.h>
#endif

namespace brim {
namespace {

constexpr size_t kMaxAlignment = size_t{1} << 21;  // a huge page

#if defined(BRIM_MIMALLOC)

// mimalloc writes warnings to stderr unless somebody else takes them; the runtime reports what fails by itself.
bool silence() {
  mi_register_output([](const char*, void*) {}, nullptr);
  mi_register_error([](int, void*) {}, nullptr);
  return true;
}

// From here on blocks are pages of their own: a model's memory goes back to the system when the model goes, whichever
// thread frees it, and not when the allocator comes round to it.
constexpr size_t kOwnPages = size_t{1} << 20;

// Lies before such a block.
struct Pages {
  void* begin;
  size_t bytes;
};

void* raw_alloc(size_t bytes, size_t alignment) {
  static const bool silent = silence();
  // Not mi_malloc_aligned: in 2.0.9 it gives blocks of 256, 512 and 1024 bytes that are aligned to 128 only.
  if (bytes < kOwnPages) return silent ? mi_malloc_aligned_at(bytes, alignment, 0) : nullptr;
  const size_t whole = bytes + alignment + sizeof(Pages);
  const Pages pages = {os::take_pages(whole), whole};
  if (!pages.begin) return nullptr;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(pages.begin) + sizeof(Pages);
  auto* block = reinterpret_cast<Pages*>((begin + alignment - 1) / alignment * alignment);
  block[-1] = pages;
  return block;
}
void raw_free(void* block) noexcept {
  if (mi_is_in_heap_region(block)) return mi_free(block);
  const Pages pages = static_cast<Pages*>(block)[-1];
  os::give_pages(pages.begin, pages.bytes);
}

#else

// Aligned operator delete wants the alignment again, so every block remembers its true begin just before itself.
void* raw_alloc(size_t bytes, size_t alignment) {
  if (bytes > SIZE_MAX - alignment - sizeof(void*)) return nullptr;
  void* whole = ::operator new(bytes + alignment + sizeof(void*), std::nothrow);
  if (!whole) return nullptr;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(whole) + sizeof(void*) + alignment - 1) / alignment * alignment;
  auto* block = reinterpret_cast<void**>(begin);
  block[-1] = whole;
  return block;
}
void raw_free(void* block) noexcept { ::operator delete(static_cast<void**>(block)[-1]); }

#endif

[[noreturn]] void out_of_memory(size_t bytes) {
  throw Error(BRIM_OUT_OF_MEMORY,
              fmt::format("cannot allocate {} bytes of host memory; close other programs or ask for less", bytes),
              {0, bytes, 0, 0});
}

}  // namespace

void* host_alloc(size_t bytes, size_t alignment) {
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
    fail(BRIM_INVALID_ARGUMENT, "cannot allocate with an alignment of {}; give a power of two up to {}", alignment,
         kMaxAlignment);
  }
  if (bytes > SIZE_MAX / 2) out_of_memory(bytes);
  void* block = raw_alloc(std::max<size_t>(bytes, 1), std::max(alignment, alignof(void*)));
  if (!block) out_of_memory(bytes);
  return block;
}

void host_free(void* block) noexcept {
  if (block) raw_free(block);
}

// Lies before each block; `begin` is where the allocation starts, which a large alignment moves away from the header.
struct Heap::Block {
  Block* previous;
  Block* next;
  void* begin;
  size_t bytes;
};

void* Heap::allocate(size_t bytes, size_t alignment) {
  const size_t room = std::max(alignment, std::bit_ceil(sizeof(Block)));
  if (bytes > SIZE_MAX / 2 - std::min(room, kMaxAlignment)) out_of_memory(bytes);
  auto* begin = static_cast<std::byte*>(host_alloc(bytes + room, alignment));
  std::byte* block = begin + room;
  auto* header = new (block - sizeof(Block)) Block{nullptr, nullptr, begin, bytes};
  const std::lock_guard lock(mutex_);
  header->next = first_;
  if (first_) first_->previous = header;
  first_ = header;
  bytes_ += bytes;
  ++blocks_;
  return block;
}

void Heap::free(void* block) noexcept {
  if (!block) return;
  auto* header = reinterpret_cast<Block*>(static_cast<std::byte*>(block) - sizeof(Block));
  {
    const std::lock_guard lock(mutex_);
    (header->previous ? header->previous->next : first_) = header->next;
    if (header->next) header->next->previous = header->previous;
    bytes_ -= header->bytes;
    --blocks_;
  }
  host_free(header->begin);
}

void Heap::release() noexcept {
  Block* block;
  {
    const std::lock_guard lock(mutex_);
    block = first_;
    first_ = nullptr;
    bytes_ = blocks_ = 0;
  }
  while (block) {
    Block* next = block->next;
    host_free(block->begin);
    block = next;
  }
}

uint64_t Heap::bytes_in_use() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

uint64_t Heap::blocks() const {
  const std::lock_guard lock(mutex_);
  return blocks_;
}

}  // namespace brim
