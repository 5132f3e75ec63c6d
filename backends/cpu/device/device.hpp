// The one device of this backend, the processor, and buffers in its one heap, the system's memory.
//
// A described device answers the same planning calls from a description and owns no memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "brim/backend.h"
#include "device/instance.hpp"

struct brim_device {
  brim_plugin* plugin;
  bool live;
  uint32_t threads;    // team members that programs are made for
  uint64_t memory;     // bytes of a described device
  uint64_t bandwidth;  // bytes/s, 0 unknown
  char name[128];
  char features[256];
};

struct brim_buffer {
  brim_device* device;
  std::byte* data;
  uint64_t bytes;
  bool owned;
  bool read_only;
};

namespace brim_cpu {

// Of the buffers that it allocates, bytes; offsets in them need less (fill_heap_info).
inline constexpr uint64_t kBufferAlignment = 64;

brim_device* open_device(brim_plugin* plugin);
brim_device* describe_device(brim_plugin* plugin, const void* settings, uint32_t n, uint32_t stride);
void close_device(brim_device* device) noexcept;
void fill_device_info(const brim_device* device, brim_device_info* out);
void fill_heap_info(const brim_device* device, uint32_t heap, brim_heap_info* out);
uint64_t heap_budget(const brim_device* device, uint32_t heap);

// FAILED_PRECONDITION where the device is only described.
void need_live(const brim_device* device, const char* what);

brim_buffer* allocate_buffer(brim_device* device, uint32_t heap, uint64_t bytes);
brim_buffer* import_buffer(brim_device* device, void* memory, uint64_t bytes, bool read_only);
void free_buffer(brim_buffer* buffer) noexcept;

// The address of a range of a buffer; INVALID_ARGUMENT, naming `what`, where it does not lie inside.
std::byte* range_of(const brim_buffer* buffer, uint64_t offset, uint64_t bytes, const char* what);

// Copies min(theirs, own) bytes of an answer, keeping the caller's struct_size.
template <class T>
void answer(T* out, T own) {
  const uint32_t size = out->struct_size;
  own.struct_size = size;
  std::memcpy(static_cast<void*>(out), &own, std::min<size_t>(size, sizeof own));
}

}  // namespace brim_cpu
