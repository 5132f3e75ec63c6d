#include "timeline.hpp"

#include <chrono>

#include "device.hpp"

namespace plain {
namespace {

Timeline& timeline_of(const brim_device* device) { return device->plugin->timeline; }

void raise(brim_fence* fence, uint64_t value) { fence->value = std::max(fence->value, value); }

void append(brim_queue* queue, Note note) {
  Note* added = make<Note>(queue->device->plugin, note);
  (queue->first == nullptr ? queue->first : queue->last->next) = added;
  queue->last = added;
}

// Passes the notes that are due, of every queue: a signal passed on one may be what another waits for.
void settle(Timeline& timeline) {
  for (bool again = true; again;) {
    again = false;
    for (brim_queue* queue = timeline.queues; queue != nullptr; queue = queue->next) {
      while (Note* note = queue->first) {
        if (!note->signal && note->fence->value < note->value) break;
        if (note->signal) raise(note->fence, note->value), again = true;
        queue->first = note->next;
        unmake(queue->device->plugin, note);
      }
    }
  }
  timeline.moved.notify_all();
}

void check_same_instance(const brim_queue* queue, const brim_fence* fence) {
  if (queue->device->plugin == fence->device->plugin) return;
  fail(BRIM_INVALID_ARGUMENT, "the fence belongs to another instance of the plain backend than the queue");
}

}  // namespace

brim_queue* create_queue(brim_device* device) {
  Timeline& timeline = timeline_of(device);
  brim_queue* queue = make<brim_queue>(device->plugin, device, nullptr, nullptr, nullptr);
  const std::lock_guard lock(timeline.mutex);
  queue->next = timeline.queues;
  timeline.queues = queue;
  return queue;
}

void destroy_queue(brim_queue* queue) noexcept {
  if (queue == nullptr) return;
  Timeline& timeline = timeline_of(queue->device);
  {
    std::unique_lock lock(timeline.mutex);
    timeline.moved.wait(lock, [&] { return queue->first == nullptr; });
    brim_queue** link = &timeline.queues;
    while (*link != queue) link = &(*link)->next;
    *link = queue->next;
  }
  unmake(queue->device->plugin, queue);
}

void drain(brim_queue* queue) {
  Timeline& timeline = timeline_of(queue->device);
  std::unique_lock lock(timeline.mutex);
  timeline.moved.wait(lock, [&] { return queue->first == nullptr; });
}

brim_fence* create_fence(brim_device* device, uint64_t initial) {
  return make<brim_fence>(device->plugin, device, initial);
}

void destroy_fence(brim_fence* fence) noexcept {
  if (fence != nullptr) unmake(fence->device->plugin, fence);
}

void queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value) {
  check_same_instance(queue, fence);
  Timeline& timeline = timeline_of(queue->device);
  const std::lock_guard lock(timeline.mutex);
  if (queue->first != nullptr) return append(queue, {fence, value, true, nullptr});
  raise(fence, value);  // all work before it is done
  settle(timeline);
}

void queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value) {
  check_same_instance(queue, fence);
  const std::lock_guard lock(timeline_of(queue->device).mutex);
  if (queue->first == nullptr && fence->value >= value) return;
  append(queue, {fence, value, false, nullptr});
}

void fence_signal(brim_fence* fence, uint64_t value) {
  Timeline& timeline = timeline_of(fence->device);
  const std::lock_guard lock(timeline.mutex);
  raise(fence, value);
  settle(timeline);
}

void fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns) {
  constexpr uint64_t kForEver = 365ull * 24 * 3600 * 1'000'000'000;  // a clock's range must not overflow
  Timeline& timeline = timeline_of(fence->device);
  std::unique_lock lock(timeline.mutex);
  const auto reached = [&] { return fence->value >= value; };
  if (timeout_ns >= kForEver) return timeline.moved.wait(lock, reached);
  if (timeline.moved.wait_for(lock, std::chrono::nanoseconds(timeout_ns), reached)) return;
  fail(BRIM_DEADLINE, "the fence is at %llu and did not reach %llu within %llu ns",
       static_cast<unsigned long long>(fence->value), static_cast<unsigned long long>(value),
       static_cast<unsigned long long>(timeout_ns));
}

}  // namespace plain
