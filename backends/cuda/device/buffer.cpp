#include "device/buffer.hpp"

#include "device/queue.hpp"

namespace brim_cuda {

void check_heap(const Device* device, uint32_t heap) {
  if (heap > 1) fail(BRIM_INVALID_ARGUMENT, "%s has 2 heaps; heap %u was asked for", device->name, heap);
}

brim_buffer* allocate_buffer(Device* device, uint32_t heap, uint64_t bytes) {
  check_heap(device, heap);
  need_alive(device);
  const Current current(device);
  brim_buffer* buffer = make<brim_buffer>(device->host(), brim_buffer{device, bytes, 0, nullptr, false, false});
  const uint64_t asked = std::max<uint64_t>(bytes, 1);
  try {
    CUresult result = CUDA_ERROR_OUT_OF_MEMORY;
    if (heap == 0) {
      if (asked <= device->facts.total) result = device->cu().MemAlloc(&buffer->address, asked);
    } else {
      void* mapped = nullptr;
      const uint64_t most = device->facts.system_total == 0 ? UINT64_MAX : device->facts.system_total;
      if (asked <= most) {
        result = device->cu().MemHostAlloc(&mapped, asked, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
      }
      if (result == CUDA_SUCCESS) {
        buffer->mapped = static_cast<std::byte*>(mapped);
        result = device->cu().MemHostGetDevicePointer(&buffer->address, mapped, 0);
      }
    }
    if (result == CUDA_ERROR_OUT_OF_MEMORY) {
      Failure failure;
      failure.code = BRIM_OUT_OF_MEMORY;
      failure.native_code = static_cast<int32_t>(result);
      failure.detail[0] = heap;
      failure.detail[1] = bytes;
      failure.detail[2] = heap_budget(device, heap);
      std::snprintf(failure.message, sizeof failure.message,
                    "%s has no room for %llu bytes in its heap %u (%llu are said to be available): free memory, or "
                    "choose a smaller context or model",
                    device->name, static_cast<unsigned long long>(bytes), heap,
                    static_cast<unsigned long long>(failure.detail[2]));
      throw failure;
    }
    check_on(device, result, "allocating memory");
    return buffer;
  } catch (...) {
    if (buffer->mapped != nullptr) device->cu().MemFreeHost(buffer->mapped);
    unmake(device->host(), buffer);
    throw;
  }
}

brim_buffer* import_buffer(Device* device, void* memory, uint64_t bytes, bool read_only) {
  need_alive(device);
  if (!device->reads_host) fail(BRIM_UNSUPPORTED, "%s does not read the host's memory in place", device->name);
  const auto address = reinterpret_cast<uint64_t>(memory);
  if (memory == nullptr || bytes == 0 || address % kAlignment != 0) {
    fail(BRIM_UNSUPPORTED, "%s reads host memory in place from a multiple of %llu on; %llu bytes at %p were given",
         device->name, static_cast<unsigned long long>(kAlignment), static_cast<unsigned long long>(bytes), memory);
  }
  return make<brim_buffer>(device->host(),
                           brim_buffer{device, bytes, address, static_cast<std::byte*>(memory), true, read_only});
}

void free_buffer(brim_buffer* buffer) noexcept {
  if (buffer == nullptr) return;
  Device* device = buffer->device;
  let_finish(device);
  if (!buffer->imported) {
    const Releasing current(device);
    if (buffer->mapped != nullptr) {
      device->cu().MemFreeHost(buffer->mapped);
    } else {
      device->cu().MemFree(buffer->address);
    }
  }
  unmake(device->host(), buffer);
}

}  // namespace brim_cuda

brim_gpu::BufferFacts brim_gpu::facts_of(const brim_buffer* buffer) {
  return {buffer->address, buffer->bytes, buffer->mapped, buffer->read_only};
}
