// The one device, its one heap, and buffers in it. The heap is system memory: the host sees it, and a model file that
// is mapped into the process is imported in place, without a copy.
#pragma once

#include "plugin.hpp"

struct brim_device {
  brim_plugin* plugin;
};

struct brim_buffer {
  brim_device* device;
  std::byte* data;
  uint64_t bytes;
  bool owned;      // by this buffer; else imported, the caller's
  bool read_only;  // imported memory that must not be written
};

namespace plain {

inline constexpr uint64_t kAlignment = 64;  // of buffers and of offsets in them

struct SystemMemory {
  uint64_t total, available;  // bytes; 0 where the system does not tell
};
SystemMemory system_memory() noexcept;

void fill_device_info(brim_device_info* out);
void fill_heap_info(uint32_t heap, brim_heap_info* out);
uint64_t heap_budget(uint32_t heap);

brim_buffer* allocate_buffer(brim_device* device, uint32_t heap, uint64_t bytes);
brim_buffer* import_buffer(brim_device* device, void* memory, uint64_t bytes, bool read_only);
void free_buffer(brim_buffer* buffer) noexcept;

// The address of [offset, offset + bytes); throws where that is no part of the buffer. `what` names it in the message.
std::byte* range_of(const brim_buffer* buffer, uint64_t offset, uint64_t bytes, const char* what);
// The same for a place that will be written.
std::byte* writable_range_of(const brim_buffer* buffer, uint64_t offset, uint64_t bytes, const char* what);

}  // namespace plain
