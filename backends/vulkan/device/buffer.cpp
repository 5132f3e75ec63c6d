#include "device/buffer.hpp"

#if !defined(_WIN32)
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#include "device/queue.hpp"
#include "kernels/kernels.hpp"

namespace brim_vulkan {
namespace {

constexpr VkBufferUsageFlags kUsage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                      VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;

void release(brim_buffer* buffer) noexcept {
  Device* device = buffer->device;
  if (buffer->handle != VK_NULL_HANDLE) device->vk.DestroyBuffer(device->handle, buffer->handle, nullptr);
  if (buffer->memory != VK_NULL_HANDLE) device->vk.FreeMemory(device->handle, buffer->memory, nullptr);
  unmake(device->host(), buffer);
}

void bind(brim_buffer* buffer) {
  Device* device = buffer->device;
  check_on(device, device->vk.BindBufferMemory(device->handle, buffer->handle, buffer->memory, 0), "binding memory");
  VkBufferDeviceAddressInfo address = typed<VkBufferDeviceAddressInfo>(VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO);
  address.buffer = buffer->handle;
  buffer->address = device->vk.GetBufferDeviceAddress(device->handle, &address);
}

VkMemoryRequirements create(brim_buffer* buffer, const void* next) {
  Device* device = buffer->device;
  VkBufferCreateInfo info = typed<VkBufferCreateInfo>(VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO);
  info.pNext = next;
  info.size = buffer->bytes;
  info.usage = kUsage;
  check_on(device, device->vk.CreateBuffer(device->handle, &info, nullptr, &buffer->handle), "creating a buffer");
  VkMemoryRequirements needs{};
  device->vk.GetBufferMemoryRequirements(device->handle, buffer->handle, &needs);
  return needs;
}

[[noreturn]] void fail_memory(Device* device, uint32_t heap, uint64_t bytes, VkResult result) {
  Failure failure;
  failure.code = BRIM_OUT_OF_MEMORY;
  failure.native_code = result;
  failure.detail[0] = heap;
  failure.detail[1] = bytes;
  failure.detail[2] = heap_budget(device, heap);
  std::snprintf(
      failure.message, sizeof failure.message,
      "%s has no room for %llu bytes in its heap %u (%llu are said to be available): free memory, or choose a "
      "smaller context or model",
      device->name, static_cast<unsigned long long>(bytes), heap, static_cast<unsigned long long>(failure.detail[2]));
  throw failure;
}

}  // namespace

brim_buffer* allocate_buffer(Device* device, uint32_t heap, uint64_t bytes) {
  need_alive(device);
  if (heap >= device->heaps.n) {
    fail(BRIM_INVALID_ARGUMENT, "%s has %u heaps; heap %u was asked for", device->name, device->heaps.n, heap);
  }
  const Heap& from = device->heaps.heap[heap];
  if (bytes > device->max_alloc) fail_memory(device, heap, bytes, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  brim_buffer* buffer =
      make<brim_buffer>(device->host(), brim_buffer{device, {}, {}, std::max<uint64_t>(bytes, 1), 0, nullptr, false});
  try {
    const VkMemoryRequirements needs = create(buffer, nullptr);
    buffer->bytes = bytes;
    VkMemoryAllocateFlagsInfo flags = typed<VkMemoryAllocateFlagsInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO);
    flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
    VkMemoryAllocateInfo info = typed<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
    info.pNext = &flags;
    info.allocationSize = needs.size;
    VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    for (uint32_t i = 0; i < from.n_types && buffer->memory == VK_NULL_HANDLE; ++i) {
      if ((needs.memoryTypeBits >> from.types[i] & 1) == 0) continue;
      info.memoryTypeIndex = from.types[i];
      result = device->vk.AllocateMemory(device->handle, &info, nullptr, &buffer->memory);
      if (result != VK_SUCCESS) buffer->memory = VK_NULL_HANDLE;
      if (result == VK_ERROR_DEVICE_LOST) break;
    }
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY) {
      fail_memory(device, heap, bytes, result);
    }
    check_on(device, result, "allocating memory");
    bind(buffer);
    if ((from.flags & BRIM_HEAP_HOST_VISIBLE) != 0) {
      void* mapped = nullptr;
      check_on(device, device->vk.MapMemory(device->handle, buffer->memory, 0, VK_WHOLE_SIZE, 0, &mapped),
               "mapping a buffer");
      buffer->mapped = static_cast<std::byte*>(mapped);
    }
    return buffer;
  } catch (...) {
    release(buffer);
    throw;
  }
}

brim_buffer* import_buffer(Device* device, void* memory, uint64_t bytes, bool read_only) {
  need_alive(device);
  const uint64_t alignment = device->import_alignment;
  if (alignment == 0) fail(BRIM_UNSUPPORTED, "%s cannot read the host's memory in place", device->name);
  // What pads the last page is mapped with it. Larger units than pages have to be whole.
  constexpr uint64_t kPage = 4096;
  const uint64_t padded = (bytes + alignment - 1) / alignment * alignment;
  if (memory == nullptr || bytes == 0 || reinterpret_cast<uintptr_t>(memory) % alignment != 0 ||
      (alignment > kPage && padded != bytes)) {
    fail(BRIM_UNSUPPORTED, "%s reads host memory in place in whole units of %llu bytes; %llu bytes at %p were given",
         device->name, static_cast<unsigned long long>(alignment), static_cast<unsigned long long>(bytes), memory);
  }
  if (padded > device->max_alloc) {
    fail(BRIM_UNSUPPORTED, "%s takes at most %llu bytes in one buffer; %llu were to be read in place", device->name,
         static_cast<unsigned long long>(device->max_alloc), static_cast<unsigned long long>(bytes));
  }
  constexpr auto kHandle = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
  brim_buffer* buffer = make<brim_buffer>(
      device->host(), brim_buffer{device, {}, {}, padded, 0, static_cast<std::byte*>(memory), read_only});
  try {
    VkExternalMemoryBufferCreateInfo external =
        typed<VkExternalMemoryBufferCreateInfo>(VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO);
    external.handleTypes = kHandle;
    const VkMemoryRequirements needs = create(buffer, &external);
    buffer->bytes = bytes;
    VkMemoryHostPointerPropertiesEXT properties =
        typed<VkMemoryHostPointerPropertiesEXT>(VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT);
    VkResult result = device->vk.GetMemoryHostPointerPropertiesEXT(device->handle, kHandle, memory, &properties);
    const uint32_t types = needs.memoryTypeBits & properties.memoryTypeBits;
    VkMemoryAllocateFlagsInfo flags = typed<VkMemoryAllocateFlagsInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO);
    flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
    VkImportMemoryHostPointerInfoEXT import =
        typed<VkImportMemoryHostPointerInfoEXT>(VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT);
    import.pNext = &flags;
    import.handleType = kHandle;
    import.pHostPointer = memory;
    VkMemoryAllocateInfo info = typed<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
    info.pNext = &import;
    info.allocationSize = padded;
    for (uint32_t t = 0; result == VK_SUCCESS && t < device->memory.memoryTypeCount; ++t) {
      if ((types >> t & 1) == 0) continue;
      info.memoryTypeIndex = t;
      result = device->vk.AllocateMemory(device->handle, &info, nullptr, &buffer->memory);
      if (result == VK_SUCCESS) break;
      buffer->memory = VK_NULL_HANDLE;
    }
    if (result == VK_ERROR_DEVICE_LOST) check_on(device, result, "importing host memory");
    if (buffer->memory == VK_NULL_HANDLE || needs.size > padded) {
      fail(BRIM_UNSUPPORTED, "%s refuses to read these %llu bytes of host memory in place (%s)", device->name,
           static_cast<unsigned long long>(bytes), result == VK_SUCCESS ? "no memory type fits" : result_name(result));
    }
    bind(buffer);
    return buffer;
  } catch (...) {
    release(buffer);
    throw;
  }
}

void free_buffer(brim_buffer* buffer) noexcept {
  if (buffer == nullptr) return;
  let_finish(buffer->device);
  release(buffer);
}

#if defined(_WIN32)
bool import_works(Device*) { return false; }
#else
bool import_works(Device* device) {
  Dl_info library{};
  if (dladdr(reinterpret_cast<const void*>(&import_works), &library) == 0 || library.dli_fname == nullptr) return false;
  const int file = ::open(library.dli_fname, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  constexpr uint64_t kBytes = 64 << 10;
  struct stat about {};
  const bool long_enough = fstat(file, &about) == 0 && static_cast<uint64_t>(about.st_size) >= kBytes;
  void* mapping = long_enough ? mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
  ::close(file);
  if (mapping == MAP_FAILED) return false;
  brim_buffer *from = nullptr, *to = nullptr, *arguments = nullptr;
  bool right = false;
  try {
    from = import_buffer(device, mapping, kBytes, true);
    const uint32_t heap = device->heaps.n - 1;  // the one that the host reads best
    to = allocate_buffer(device, heap, kBytes);
    arguments = allocate_buffer(device, heap, sizeof(CopyArguments) + sizeof(Run));
    CopyArguments copy{};
    copy.x = from->address;
    copy.result = to->address;
    for (Size& dim : copy.dim) dim = {BRIM_SYM_NONE, 1};
    copy.dim[3].factor = kBytes / 4;
    copy.x_stride[3] = copy.result_stride[3] = 1;
    std::memcpy(arguments->mapped, &copy, sizeof copy);
    std::memset(arguments->mapped + sizeof copy, 0, sizeof(Run));
    std::memset(to->mapped, 0, kBytes);
    const Launch launch{Kernel::kCopy,
                        {BRIM_DTYPE_I32, BRIM_DTYPE_I32},
                        {64, 1, 1},
                        arguments->address,
                        arguments->address + sizeof copy};
    run_once(device, launch);
    right = std::memcmp(to->mapped, mapping, kBytes) == 0;
  } catch (const Failure&) {
    // Whatever stands against it: weights are copied.
  }
  free_buffer(arguments);
  free_buffer(to);
  free_buffer(from);
  munmap(mapping, kBytes);
  return right;
}
#endif

}  // namespace brim_vulkan

brim_gpu::BufferFacts brim_gpu::facts_of(const brim_buffer* buffer) {
  return {buffer->address, buffer->bytes, buffer->mapped, buffer->read_only};
}
