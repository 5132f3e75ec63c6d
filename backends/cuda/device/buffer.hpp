// Buffers: device allocations, or host memory that the device reads and writes where it lies: pinned, or the host
// program's own.
#pragma once

#include "device/device.hpp"

struct brim_buffer {
  brim_cuda::Device* device;
  uint64_t bytes;
  CUdeviceptr address;
  std::byte* mapped;  // of host memory
  bool imported;      // the host program's
  bool read_only;
};

namespace brim_cuda {

// INVALID_ARGUMENT where the device has no such heap.
void check_heap(const Device* device, uint32_t heap);

// OUT_OF_MEMORY with {heap, requested, available} where there is no room.
brim_buffer* allocate_buffer(Device* device, uint32_t heap, uint64_t bytes);
// UNSUPPORTED where host memory is not read in place (device/probe.hpp), or the address is not aligned.
brim_buffer* import_buffer(Device* device, void* memory, uint64_t bytes, bool read_only);
void free_buffer(brim_buffer* buffer) noexcept;

}  // namespace brim_cuda
