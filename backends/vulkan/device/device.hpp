// An instance of the plugin, the devices it found, and an open device.
//
// A device is offered if it speaks Vulkan 1.2, has a compute queue, and has what every kernel is written on: buffer
// addresses, timeline semaphores, 8- and 16-bit storage, 64-bit integers, scalar layout, arithmetic over subgroups.
// Devices of kind CPU (lavapipe and the like) are processors in disguise and slower than the CPU backend: they are
// offered only if the setting `software` is true, and until kernels have been tried and timed on real ones, GPUs only
// if `gpus` is. Order: discrete, integrated, others.
//
// A described device is a Device without a handle of Vulkan's: no driver is asked about it, and it only plans.
//
// Both handles of a device that is opened twice share one Device, so that their queues and fences meet; what is lost is
// lost until the last handle is closed.
#pragma once

#include <atomic>
#include <mutex>

#include "device/heaps.hpp"
#include "kernels/pipelines.hpp"

namespace brim_vulkan {
struct Device;
}

struct brim_plugin {
  explicit brim_plugin(brim::backend::Memory from) : memory(from), found(from) {}
  ~brim_plugin();

  brim::backend::Memory memory;
  bool gpus = false;      // offer what is no software device
  bool software = false;  // offer software devices
  bool reversed = false;  // record what may run in any order in reverse (program/program.cpp)
  // Dot products of bytes in fast numerics: where the device says that it is good at them, wherever it can, nowhere.
  enum class IntegerDot { kAuto, kTrue, kFalse } integer_dot = IntegerDot::kAuto;
  char cache[384] = {};  // folder for compiled pipelines (kernels/pipeline_file.hpp); empty: none
  bool searched = false;
  std::mutex mutex;
  brim_vulkan::Functions functions;
  VkInstance instance = VK_NULL_HANDLE;
  struct Found {
    VkPhysicalDevice physical;
    brim_vulkan::Device* device;  // while it is open
  };
  brim::backend::Array<Found> found;
  char why[256] = {};  // there is none, or why fewer are offered than are here
};

namespace brim_vulkan {

struct Device {
  explicit Device(brim_plugin* of);
  ~Device();

  brim_plugin* plugin;
  uint32_t index = 0;    // in plugin->found
  uint32_t handles = 0;  // given out and not closed; under plugin->mutex
  Functions vk;
  VkPhysicalDevice physical = VK_NULL_HANDLE;
  VkDevice handle = VK_NULL_HANDLE;
  VkPhysicalDeviceMemoryProperties memory{};
  VkPhysicalDeviceType type = VK_PHYSICAL_DEVICE_TYPE_OTHER;
  Heaps heaps{};
  uint64_t max_alloc = 0;
  uint64_t import_alignment = 0;  // of imported host memory; 0: it cannot be read in place
  bool has_budget = false, has_pci = false, integer_dot = false;
  uint32_t queue_family = 0, subgroup = 0, shared_memory = 0, max_groups = 0;
  uint64_t uuid[2] = {}, pci = 0;
  uint64_t bandwidth = 0;  // as described, bytes/s; 0 unknown
  char name[256] = {}, driver[256] = {}, architecture[64] = {};

  std::mutex queue_mutex;  // of everything submitted, and of what waits to be
  VkQueue queue = VK_NULL_HANDLE;
  brim_queue* queues = nullptr;  // linked by brim_queue::next
  std::atomic<bool> lost{false};

  Pipelines pipelines;

  bool live() const { return handle != VK_NULL_HANDLE; }
  Memory host() const { return plugin->memory; }
  Target target() const { return {host(), max_groups, kThreads, integer_dot}; }
};

}  // namespace brim_vulkan

// A handle.
struct brim_device {
  brim_vulkan::Device* shared;
};

namespace brim_vulkan {

brim_plugin* create_plugin(const brim_host_api* api, brim_host* host, const brim_create_info* info);

// Looks for devices once; later calls give the same.
uint32_t count_devices(brim_plugin* plugin, brim_str* why);
brim_device* open_device(brim_plugin* plugin, uint32_t index);
// Keys: those of gpu/described.hpp.
brim_device* describe_device(brim_plugin* plugin, const void* settings, uint32_t n, uint32_t stride);
void close_device(brim_device* handle) noexcept;
void fill_device_info(Device* device, brim_device_info* out);
void fill_heap_info(Device* device, uint32_t heap, brim_heap_info* out);
uint64_t heap_budget(Device* device, uint32_t heap);

// DEVICE_LOST where the device was lost before, FAILED_PRECONDITION where it is described only.
void need_alive(const Device* device);
// check(), and the loss is remembered.
void check_on(Device* device, VkResult result, const char* doing);

}  // namespace brim_vulkan
