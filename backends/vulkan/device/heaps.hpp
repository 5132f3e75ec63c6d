// From Vulkan's memory types to the heaps that a host sees: what is one physical memory is one pool, whatever the
// number of Vulkan heaps it is shown as. Pure, so that memory layouts that are not here can be tested.
//
//   integrated and software devices   everything is system memory, one pool. Heap 0: what the device reads best and the
//                                     host writes in place; its size is the sum of the distinct Vulkan heaps behind it
//                                     (an APU's carve-out and GTT). Heap 1: the same for the host's reads, where no
//                                     type of heap 0 is cached.
//   discrete devices                  Heap 0: the card's own memory, a pool of its own, visible to the host where the
//                                     window covers all of it (resizable BAR). Heap 1: system memory.
#pragma once

#include "driver/functions.hpp"

namespace brim_vulkan {

struct Heap {
  static constexpr uint32_t kMost = 8;
  uint32_t flags;         // BRIM_HEAP_*
  bool system;            // else: the device's own pool
  uint32_t types[kMost];  // memory types, tried in this order
  uint32_t n_types;
  uint32_t vk_heaps[kMost];  // behind them, each once
  uint32_t n_vk_heaps;
};

struct Heaps {
  Heap heap[2];
  uint32_t n;  // 0: the device has no memory that this backend can use
};

Heaps arrange_heaps(const VkPhysicalDeviceMemoryProperties& memory, VkPhysicalDeviceType type);

uint64_t heap_size(const VkPhysicalDeviceMemoryProperties& memory, const Heap& heap);
// What can be allocated now: budget less usage of each heap, never more than its size; without a budget the size.
uint64_t heap_available(const VkPhysicalDeviceMemoryProperties& memory,
                        const VkPhysicalDeviceMemoryBudgetPropertiesEXT* budget, const Heap& heap);

}  // namespace brim_vulkan
