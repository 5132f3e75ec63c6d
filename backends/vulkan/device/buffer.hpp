// Buffers: each a VkBuffer with memory and a device address of its own, mapped for as long as it lives where the host
// sees it; or a view of the host's memory, which the device reads in place.
#pragma once

#include <cstddef>

#include "device/device.hpp"

struct brim_buffer {
  brim_vulkan::Device* device;
  VkBuffer handle;
  VkDeviceMemory memory;
  uint64_t bytes;
  VkDeviceAddress address;
  std::byte* mapped;  // null where the host does not see it
  bool read_only;
};

namespace brim_vulkan {

// OUT_OF_MEMORY with {heap, requested, available} where none of the heap's memory types has room.
brim_buffer* allocate_buffer(Device* device, uint32_t heap, uint64_t bytes);
// UNSUPPORTED where the device cannot read this memory in place.
brim_buffer* import_buffer(Device* device, void* memory, uint64_t bytes, bool read_only);
void free_buffer(brim_buffer* buffer) noexcept;

// Does a kernel read an imported, mapped file right? Tried once for each device that is opened, on this library's file.
bool import_works(Device* device);

}  // namespace brim_vulkan
