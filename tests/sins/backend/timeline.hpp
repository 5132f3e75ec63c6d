// Queues and fences. Work is done when its call returns, so that a queue only ever holds back what stands behind a wait
// for a fence: waits and signals are noted and settled by whoever moves a fence, other work blocks until none is noted.
#pragma once

#include <chrono>

#include "device.hpp"

struct brim_fence {
  brim_device* device;
  uint64_t value;  // under brim_plugin::mutex
};

struct brim_queue {
  struct Note {
    brim_fence* fence;
    uint64_t value;
    bool signal;  // else a wait
  };
  static constexpr uint32_t kMostNotes = 64;
  brim_device* device;
  brim_queue* next;
  uint32_t n_notes;
  Note notes[kMostNotes];
};

namespace saint {

inline void raise(brim_fence* fence, uint64_t value) {
  if (value > fence->value || sins::fence_goes_back) fence->value = value;
}

// Passes what is at the head of each queue and waits no more. A signal may end another queue's wait, hence the loop.
inline void settle(brim_plugin* plugin) {
  for (bool again = true; again;) {
    again = false;
    for (brim_queue* queue = plugin->queues; queue != nullptr; queue = queue->next) {
      uint32_t passed = 0;
      for (; passed < queue->n_notes; ++passed) {
        const brim_queue::Note& note = queue->notes[passed];
        if (!note.signal && note.fence->value < note.value) break;
        if (note.signal) raise(note.fence, note.value);
        again |= note.signal;
      }
      queue->n_notes -= passed;
      std::copy(queue->notes + passed, queue->notes + passed + queue->n_notes, queue->notes);
    }
  }
  plugin->moved.notify_all();
}

inline brim_status queue_create(brim_device* device, void*, brim_queue** out, brim_error* error) {
  if (const brim_status status = lost(device, error); status != BRIM_OK) return status;
  brim_plugin* plugin = device->plugin;
  *out = make(services_of(plugin), brim_queue{device, nullptr, 0, {}});
  if (*out == nullptr) return fail_memory(error, sizeof(brim_queue), 0, "no host memory for a queue");
  const std::lock_guard lock(plugin->mutex);
  (*out)->next = plugin->queues;
  plugin->queues = *out;
  return BRIM_OK;
}

// Blocks until nothing is noted in the queue any more.
inline void drain(brim_queue* queue) {
  brim_plugin* plugin = queue->device->plugin;
  std::unique_lock lock(plugin->mutex);
  if (!sins::queue_wait_ignored) plugin->moved.wait(lock, [&] { return queue->n_notes == 0; });
}

inline void queue_destroy(brim_queue* queue) {
  drain(queue);
  brim_plugin* plugin = queue->device->plugin;
  {
    const std::lock_guard lock(plugin->mutex);
    brim_queue** link = &plugin->queues;
    while (*link != queue) link = &(*link)->next;
    *link = queue->next;
  }
  unmake(services_of(plugin), queue);
}

inline brim_status copy(brim_queue* queue, brim_buffer* dst, uint64_t dst_offset, brim_buffer* src, uint64_t src_offset,
                        uint64_t bytes, brim_error* error) {
  if (dst_offset > dst->bytes || bytes > dst->bytes - dst_offset || src_offset > src->bytes ||
      bytes > src->bytes - src_offset) {
    return fail(error, BRIM_INVALID_ARGUMENT, "copy: %llu bytes reach past the end of a buffer",
                static_cast<unsigned long long>(bytes));
  }
  if (const brim_status status = lost_at_work(queue->device, error); status != BRIM_OK) return status;
  drain(queue);
  if (sins::copy_from_the_beginning) src_offset = 0;
  std::memmove(dst->data + dst_offset, src->data + src_offset, bytes);
  return BRIM_OK;
}

inline brim_status fence_create(brim_device* device, uint64_t initial, brim_fence** out, brim_error* error) {
  if (const brim_status status = lost(device, error); status != BRIM_OK) return status;
  *out = make(services_of(device->plugin), brim_fence{device, initial});
  if (*out == nullptr) return fail_memory(error, sizeof(brim_fence), 0, "no host memory for a fence");
  return BRIM_OK;
}

inline void fence_destroy(brim_fence* fence) { unmake(services_of(fence->device->plugin), fence); }

inline brim_status note(brim_queue* queue, brim_fence* fence, uint64_t value, bool signal, brim_error* error) {
  brim_plugin* plugin = queue->device->plugin;
  const std::lock_guard lock(plugin->mutex);
  if (queue->n_notes == brim_queue::kMostNotes) {
    return fail(error, BRIM_BUSY, "%u waits and signals stand in the queue behind a fence; no more can",
                brim_queue::kMostNotes);
  }
  queue->notes[queue->n_notes++] = {fence, value, signal};
  settle(plugin);
  return BRIM_OK;
}

inline brim_status queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value, brim_error* error) {
  return note(queue, fence, value, true, error);
}

inline brim_status queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value, brim_error* error) {
  if (sins::queue_wait_ignored) return BRIM_OK;
  return note(queue, fence, value, false, error);
}

inline brim_status fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns, brim_error* error) {
  brim_plugin* plugin = fence->device->plugin;
  std::unique_lock lock(plugin->mutex);
  const auto reached = [&] { return fence->value >= value; };
  constexpr uint64_t kLongest = 365ull * 24 * 3600 * 1'000'000'000;  // more would overflow the clock
  if (timeout_ns >= kLongest) {
    plugin->moved.wait(lock, reached);
  } else if (!plugin->moved.wait_for(lock, std::chrono::nanoseconds(timeout_ns), reached)) {
    if (sins::deadline_is_ok) return BRIM_OK;
    return fail(error, BRIM_DEADLINE, "the fence is at %llu; %llu was waited for",
                static_cast<unsigned long long>(fence->value), static_cast<unsigned long long>(value));
  }
  return BRIM_OK;
}

inline brim_status fence_signal(brim_fence* fence, uint64_t value, brim_error*) {
  const std::lock_guard lock(fence->device->plugin->mutex);
  raise(fence, value);
  settle(fence->device->plugin);
  return BRIM_OK;
}

}  // namespace saint
