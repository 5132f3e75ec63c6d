#include "device/heaps.hpp"

namespace brim_vulkan {
namespace {

constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
constexpr VkMemoryPropertyFlags kVisible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
// Kinds of memory that need more than an ordinary allocation, or are slow on purpose.
constexpr VkMemoryPropertyFlags kStrange = VK_MEMORY_PROPERTY_PROTECTED_BIT | VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT |
                                           VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD;

// Adds every type that has `with` and lacks `without` and whose heap has at least so many bytes.
void add_types(Heap& heap, const VkPhysicalDeviceMemoryProperties& memory, VkMemoryPropertyFlags with,
               VkMemoryPropertyFlags without, uint64_t least) {
  for (uint32_t t = 0; t < memory.memoryTypeCount && heap.n_types < Heap::kMost; ++t) {
    const VkMemoryType& type = memory.memoryTypes[t];
    if ((type.propertyFlags & with) != with || (type.propertyFlags & (without | kStrange)) != 0) continue;
    if (memory.memoryHeaps[type.heapIndex].size < least) continue;
    bool known = false, known_heap = false;
    for (uint32_t i = 0; i < heap.n_types; ++i) known = known || heap.types[i] == t;
    if (known) continue;
    heap.types[heap.n_types++] = t;
    for (uint32_t i = 0; i < heap.n_vk_heaps; ++i) known_heap = known_heap || heap.vk_heaps[i] == type.heapIndex;
    if (!known_heap) heap.vk_heaps[heap.n_vk_heaps++] = type.heapIndex;
  }
}

// What all types of the heap have.
void set_flags(Heap& heap, const VkPhysicalDeviceMemoryProperties& memory, uint32_t also) {
  VkMemoryPropertyFlags common = ~0u;
  for (uint32_t i = 0; i < heap.n_types; ++i) common &= memory.memoryTypes[heap.types[i]].propertyFlags;
  heap.flags = also;
  if ((common & kVisible) == kVisible) heap.flags |= BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_COHERENT;
  if ((common & kCached) != 0) heap.flags |= BRIM_HEAP_HOST_CACHED;
}

}  // namespace

Heaps arrange_heaps(const VkPhysicalDeviceMemoryProperties& memory, VkPhysicalDeviceType type) {
  Heaps heaps{};
  Heap first{}, second{};
  uint64_t largest_local = 0;
  for (uint32_t h = 0; h < memory.memoryHeapCount; ++h) {
    if ((memory.memoryHeaps[h].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0) {
      largest_local = std::max<uint64_t>(largest_local, memory.memoryHeaps[h].size);
    }
  }
  if (type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU || type == VK_PHYSICAL_DEVICE_TYPE_CPU) {
    first.system = second.system = true;
    // Local types first, then (GTT of an APU) what is merely visible; cached ones only where nothing else is there,
    // since the device reads them slower, unless a type is all at once.
    add_types(first, memory, kLocal | kVisible | kCached, 0, 0);
    add_types(first, memory, kLocal | kVisible, kCached, 0);
    if (first.n_types != 0) add_types(first, memory, kVisible, kLocal | kCached, 0);
    if (first.n_types == 0) add_types(first, memory, kVisible, 0, 0);
    set_flags(first, memory, BRIM_HEAP_DEVICE_LOCAL);
    if ((first.flags & BRIM_HEAP_HOST_CACHED) == 0) add_types(second, memory, kVisible | kCached, 0, 0);
  } else {
    second.system = true;
    add_types(first, memory, kLocal | kVisible, 0, largest_local);
    if (first.n_types == 0) add_types(first, memory, kLocal, 0, largest_local / 2);
    set_flags(first, memory, BRIM_HEAP_DEVICE_LOCAL);
    add_types(second, memory, kVisible | kCached, kLocal, 0);
    if (second.n_types == 0) add_types(second, memory, kVisible, kLocal, 0);
    if (second.n_types == 0) add_types(second, memory, kVisible, 0, 0);
    if (second.n_types == 0) return heaps;
  }
  if (first.n_types == 0) return heaps;
  heaps.heap[heaps.n++] = first;
  if (second.n_types != 0) {
    set_flags(second, memory, 0);
    heaps.heap[heaps.n++] = second;
  }
  return heaps;
}

uint64_t heap_size(const VkPhysicalDeviceMemoryProperties& memory, const Heap& heap) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < heap.n_vk_heaps; ++i) bytes += memory.memoryHeaps[heap.vk_heaps[i]].size;
  return bytes;
}

uint64_t heap_available(const VkPhysicalDeviceMemoryProperties& memory,
                        const VkPhysicalDeviceMemoryBudgetPropertiesEXT* budget, const Heap& heap) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < heap.n_vk_heaps; ++i) {
    const uint32_t h = heap.vk_heaps[i];
    const uint64_t size = memory.memoryHeaps[h].size;
    if (budget == nullptr) {
      bytes += size;
      continue;
    }
    const uint64_t most = std::min<uint64_t>(budget->heapBudget[h], size), used = budget->heapUsage[h];
    bytes += most > used ? most - used : 0;
  }
  return bytes;
}

}  // namespace brim_vulkan
