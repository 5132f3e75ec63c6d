// Instances, the one device with its one heap, and buffers. The heap is a pool of its own of 256 MiB that the backend
// keeps account of; its bytes come from the host's allocator.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "base.hpp"

struct brim_plugin {
  saint::Services services;
  std::atomic<uint64_t> used{0};  // bytes of the heap
  std::mutex mutex;               // of every fence and of what stands in queues
  std::condition_variable moved;  // a fence has
  brim_queue* queues = nullptr;   // linked by brim_queue::next
  uint64_t lost_at = 0;           // setting: the device goes away at this work; 0: never
  std::atomic<uint64_t> work{0};  // so far
  uint32_t asked = 0;             // questions so far; the saint has no use for it
  brim_plugin(const brim_host_api* api, brim_host* host) : services{saint::read(api), host} {}
};

struct brim_device {
  brim_plugin* plugin;
};

struct brim_buffer {
  brim_device* device;
  std::byte* data;
  uint64_t bytes;
};

namespace saint {

inline constexpr uint64_t kHeapBytes = 256ull << 20, kAlignment = 256;
inline constexpr uint64_t kPool[2] = {0x5a1e7000u, 0x1u};  // its uuid, too
inline const uint32_t kBlockTokens = sins::block_of_twelve ? 12 : 16;

inline brim_str text(const char* s) { return {s, std::strlen(s)}; }

inline brim_plugin* last_instance = nullptr;  // for sins::instances_share_memory alone

inline const Services& services_of(brim_plugin* plugin) {
  return sins::instances_share_memory && last_instance != nullptr ? last_instance->services : plugin->services;
}

// What everything begins with that needs the device: a lost one stays lost.
inline brim_status lost(brim_device* device, brim_error* error) {
  brim_plugin* plugin = device->plugin;
  const uint64_t done = plugin->work, at = plugin->lost_at;
  if (at == 0 || done < at || (sins::lost_device_comes_back && done > at)) return BRIM_OK;
  return fail(error, BRIM_DEVICE_LOST, "the device went away at its work number %llu, as the setting lost_at wants it",
              static_cast<unsigned long long>(at));
}
// The same for work itself: copies, runs, states that come and go.
inline brim_status lost_at_work(brim_device* device, brim_error* error) {
  ++device->plugin->work;
  return lost(device, error);
}

inline brim_status device_count(brim_plugin*, uint32_t* n, brim_str* why, brim_error* error) {
  *n = 1;
  if (why != nullptr) *why = {nullptr, 0};
  if (sins::error_written_on_success) fail(error, BRIM_OK, "all is well");
  return BRIM_OK;
}

inline brim_status device_open(brim_plugin* plugin, uint32_t i, brim_device** out, brim_error* error) {
  if (i != 0 && !sins::device_that_is_not_there) {
    if (sins::throws) throw i;
    return fail(error, BRIM_NOT_FOUND, "there is one device, number 0; device %u was asked for", i);
  }
  *out = make(services_of(plugin), brim_device{plugin});
  if (*out == nullptr) return fail_memory(error, sizeof(brim_device), 0, "no host memory for a device's handle");
  return BRIM_OK;
}

inline void device_close(brim_device* device) { unmake(services_of(device->plugin), device); }

inline brim_status device_info(brim_device* device, brim_device_info* out, brim_error*) {
  brim_device_info info{};
  info.type = BRIM_DEVICE_ACCELERATOR;
  info.flags = BRIM_DEVICE_LIVE | BRIM_DEVICE_SYNCHRONOUS | BRIM_DEVICE_BATCH_INVARIANT;
  info.n_heaps = 1;
  std::copy(kPool, kPool + 2, info.uuid);
  info.max_binding = UINT64_MAX;
  info.name = text(sins::info_changes && device->plugin->asked++ % 2 == 1 ? "another device" : "plain loops");
  info.driver = text("test.saint 1");
  info.architecture = text("C++20");
  answer(out, info);
  return BRIM_OK;
}

inline brim_status no_such_heap(uint32_t heap, brim_error* error) {
  return fail(error, BRIM_NOT_FOUND, "the device has one heap, number 0; heap %u was asked for", heap);
}

inline brim_status heap_info(brim_device*, uint32_t heap, brim_heap_info* out, brim_error* error) {
  if (heap != 0) return no_such_heap(heap, error);
  brim_heap_info info{};
  info.flags = BRIM_HEAP_DEVICE_LOCAL | BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_COHERENT;
  std::copy(kPool, kPool + 2, info.pool_id);
  info.size = info.max_alloc = kHeapBytes;
  info.alignment = kAlignment;
  answer(out, info);
  return BRIM_OK;
}

inline brim_status heap_budget(brim_device* device, uint32_t heap, uint64_t* available, brim_error* error) {
  if (heap != 0) return no_such_heap(heap, error);
  *available = sins::budget_is_constant ? kHeapBytes : kHeapBytes - device->plugin->used;
  return BRIM_OK;
}

inline brim_status buffer_alloc(brim_device* device, uint32_t heap, uint64_t bytes, brim_buffer** out,
                                brim_error* error) {
  if (heap != 0) return no_such_heap(heap, error);
  if (const brim_status status = lost(device, error); status != BRIM_OK) return status;
  brim_plugin* plugin = device->plugin;
  uint64_t used = plugin->used;
  do {
    if (bytes > kHeapBytes - used) {
      return fail_memory(error, bytes, kHeapBytes - used,
                         "a buffer of %llu bytes does not fit into the %llu that are free",
                         static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(kHeapBytes - used));
    }
  } while (!plugin->used.compare_exchange_weak(used, used + bytes));
  const Services& services = services_of(plugin);
  void* data = services.take(std::max<uint64_t>(bytes, 1), sins::buffers_misaligned ? 16 : kAlignment);
  *out = data == nullptr ? nullptr : make(services, brim_buffer{device, static_cast<std::byte*>(data), bytes});
  if (*out != nullptr) return BRIM_OK;
  if (data != nullptr && !sins::leak_when_memory_ends)
    services.give_back(data, std::max<uint64_t>(bytes, 1), kAlignment);
  plugin->used -= bytes;
  return fail_memory(error, bytes, 0, "no host memory for a buffer of %llu bytes",
                     static_cast<unsigned long long>(bytes));
}

inline brim_status buffer_map(brim_buffer* buffer, void** out, brim_error*) {
  *out = buffer->data;
  return BRIM_OK;
}

inline void buffer_free(brim_buffer* buffer) {
  if (buffer == nullptr) return;
  brim_plugin* plugin = buffer->device->plugin;
  const Services& services = services_of(plugin);
  plugin->used -= buffer->bytes;
  services.give_back(buffer->data, std::max<uint64_t>(buffer->bytes, 1), sins::buffers_misaligned ? 16 : kAlignment);
  unmake(services, buffer);
}

}  // namespace saint
