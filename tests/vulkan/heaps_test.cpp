// Memory layouts of devices that are not here, and the heaps that a host has to see for them.
#include "device/heaps.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace brim_vulkan;

namespace {

constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
constexpr VkMemoryPropertyFlags kHost = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
constexpr uint64_t kGiB = 1ull << 30;

struct Type {
  VkMemoryPropertyFlags flags;
  uint32_t heap;
};
struct VkHeap {
  uint64_t size;
  bool local;
};

VkPhysicalDeviceMemoryProperties memory(const std::vector<VkHeap>& heaps, const std::vector<Type>& types) {
  VkPhysicalDeviceMemoryProperties m{};
  for (const VkHeap& h : heaps) {
    m.memoryHeaps[m.memoryHeapCount++] = {h.size, VkMemoryHeapFlags(h.local ? VK_MEMORY_HEAP_DEVICE_LOCAL_BIT : 0)};
  }
  for (const Type& t : types) m.memoryTypes[m.memoryTypeCount++] = {t.flags, t.heap};
  return m;
}

bool visible(const Heap& heap) { return (heap.flags & BRIM_HEAP_HOST_VISIBLE) != 0; }

}  // namespace

TEST_CASE("a software device has one heap of system memory that everybody sees") {
  const auto m = memory({{2 * kGiB, true}}, {{kLocal | kHost | kCached, 0}});
  const Heaps heaps = arrange_heaps(m, VK_PHYSICAL_DEVICE_TYPE_CPU);
  REQUIRE(heaps.n == 1);
  CHECK(heaps.heap[0].system);
  CHECK(heaps.heap[0].flags ==
        (BRIM_HEAP_DEVICE_LOCAL | BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_COHERENT | BRIM_HEAP_HOST_CACHED));
  CHECK(heap_size(m, heaps.heap[0]) == 2 * kGiB);
}

TEST_CASE("an APU's carve-out and GTT are one pool; its memory is counted once") {
  // RADV on an APU: both heaps in system memory, each seen through several types.
  const auto m =
      memory({{4 * kGiB, false}, {8 * kGiB, true}},
             {{kLocal, 1}, {kLocal | kHost, 1}, {kHost, 0}, {kHost | kCached, 0}, {kLocal | kHost | kCached, 1}});
  const Heaps heaps = arrange_heaps(m, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU);
  REQUIRE(heaps.n >= 1);
  CHECK(heaps.heap[0].system);
  CHECK(visible(heaps.heap[0]));
  CHECK(heap_size(m, heaps.heap[0]) == 12 * kGiB);
  for (uint32_t i = 0; i < heaps.n; ++i) CHECK(heaps.heap[i].system);
}

TEST_CASE("96 GB in 32 GB heaps are one heap of 96 GB, tried one after the other") {
  const auto m = memory({{32 * kGiB, true}, {32 * kGiB, true}, {32 * kGiB, true}},
                        {{kLocal | kHost, 0}, {kLocal | kHost, 1}, {kLocal | kHost, 2}, {kHost | kCached, 2}});
  const Heaps heaps = arrange_heaps(m, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU);
  REQUIRE(heaps.n == 2);
  CHECK(heap_size(m, heaps.heap[0]) == 96 * kGiB);
  CHECK(heaps.heap[0].n_types == 3);
  CHECK((heaps.heap[1].flags & BRIM_HEAP_HOST_CACHED) != 0);
}

TEST_CASE("a card without resizable BAR keeps its memory to itself") {
  const auto m = memory({{12 * kGiB, true}, {16 * kGiB, false}, {256ull << 20, true}},
                        {{kLocal, 0}, {kHost, 1}, {kHost | kCached, 1}, {kLocal | kHost, 2}});
  const Heaps heaps = arrange_heaps(m, VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU);
  REQUIRE(heaps.n == 2);
  CHECK_FALSE(heaps.heap[0].system);
  CHECK_FALSE(visible(heaps.heap[0]));
  CHECK(heap_size(m, heaps.heap[0]) == 12 * kGiB);  // the small window is not memory of its own
  CHECK(heaps.heap[1].system);
  CHECK((heaps.heap[1].flags & BRIM_HEAP_HOST_CACHED) != 0);
  CHECK(heap_size(m, heaps.heap[1]) == 16 * kGiB);
}

TEST_CASE("with resizable BAR weights are written in place") {
  const auto m = memory({{12 * kGiB, true}, {16 * kGiB, false}},
                        {{kLocal, 0}, {kHost, 1}, {kLocal | kHost, 0}, {kHost | kCached, 1}});
  const Heaps heaps = arrange_heaps(m, VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU);
  REQUIRE(heaps.n == 2);
  CHECK(visible(heaps.heap[0]));
  CHECK_FALSE(heaps.heap[0].system);
}

TEST_CASE("memory that needs special care is not taken") {
  const auto m = memory({{kGiB, true}}, {{kLocal | kHost | VK_MEMORY_PROPERTY_PROTECTED_BIT, 0},
                                         {kLocal | VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT, 0}});
  CHECK(arrange_heaps(m, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU).n == 0);
}

TEST_CASE("a budget beyond the heap is clamped and one that is used up gives nothing, without wrapping round") {
  const auto m = memory({{36 * kGiB, true}}, {{kLocal | kHost | kCached, 0}});
  const Heap heap = arrange_heaps(m, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU).heap[0];
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{};
  budget.heapBudget[0] = 46 * kGiB;  // as an Intel driver on Windows says
  CHECK(heap_available(m, &budget, heap) == 36 * kGiB);
  budget.heapUsage[0] = 40 * kGiB;
  CHECK(heap_available(m, &budget, heap) == 0);
  budget.heapUsage[0] = 6 * kGiB;
  CHECK(heap_available(m, &budget, heap) == 30 * kGiB);
  CHECK(heap_available(m, nullptr, heap) == 36 * kGiB);
}
