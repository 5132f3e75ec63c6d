#include "device/timeline.hpp"

#include <chrono>

#include "device/device.hpp"

brim_queue::brim_queue(brim_device* of)
    : device(of), memory(of->plugin->api, of->plugin->host), notes(brim_cpu::HostAllocator<Note>(memory)) {}

namespace brim_cpu {
namespace {

Hub& hub_of(const brim_device* device) { return device->plugin->hub; }

void check_same_instance(const brim_queue* queue, const brim_fence* fence) {
  if (fence->device->plugin != queue->device->plugin) {
    fail(BRIM_INVALID_ARGUMENT, "the fence belongs to another instance of the CPU backend than the queue");
  }
}

// Raises a fence. Going back would break those who have already passed.
void raise_locked(brim_fence* fence, uint64_t value) {
  if (value > fence->value) fence->value = value;
}

// Passes the notes at the head of each queue whose waits are over. A signal may end another queue's wait, hence the
// loop.
void settle_locked(Hub& hub) noexcept {
  for (bool again = true; again;) {
    again = false;
    for (brim_queue* queue = hub.queues; queue != nullptr; queue = queue->next) {
      size_t passed = 0;
      for (; passed < queue->notes.size(); ++passed) {
        const brim_queue::Note& note = queue->notes[passed];
        if (note.signal) {
          raise_locked(note.fence, note.value);
          again = true;
        } else if (note.fence->value < note.value) {
          break;
        }
      }
      queue->notes.erase(queue->notes.begin(), queue->notes.begin() + static_cast<ptrdiff_t>(passed));
    }
  }
  hub.moved.notify_all();
}

}  // namespace

brim_queue* create_queue(brim_device* device) {
  brim_plugin* plugin = device->plugin;
  brim_queue* queue = make<brim_queue>(plugin->api, plugin->host, device);
  std::lock_guard lock(plugin->hub.mutex);
  queue->next = plugin->hub.queues;
  plugin->hub.queues = queue;
  return queue;
}

void destroy_queue(brim_queue* queue) noexcept {
  if (queue == nullptr) return;
  brim_plugin* plugin = queue->device->plugin;
  {
    std::unique_lock lock(plugin->hub.mutex);
    plugin->hub.moved.wait(lock, [&] { return queue->notes.empty(); });
    brim_queue** link = &plugin->hub.queues;
    while (*link != queue) link = &(*link)->next;
    *link = queue->next;
  }
  unmake(plugin->api, plugin->host, queue);
}

void drain(brim_queue* queue) {
  Hub& hub = hub_of(queue->device);
  std::unique_lock lock(hub.mutex);
  hub.moved.wait(lock, [&] { return queue->notes.empty(); });
}

void queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value) {
  check_same_instance(queue, fence);
  Hub& hub = hub_of(queue->device);
  std::lock_guard lock(hub.mutex);
  if (!queue->notes.empty()) {
    queue->notes.push_back({fence, value, true});
    return;
  }
  raise_locked(fence, value);
  settle_locked(hub);
}

void queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value) {
  check_same_instance(queue, fence);
  Hub& hub = hub_of(queue->device);
  std::lock_guard lock(hub.mutex);
  if (queue->notes.empty() && fence->value >= value) return;
  queue->notes.push_back({fence, value, false});
}

brim_fence* create_fence(brim_device* device, uint64_t initial) {
  return make<brim_fence>(device->plugin->api, device->plugin->host, brim_fence{device, initial});
}

void destroy_fence(brim_fence* fence) noexcept {
  if (fence != nullptr) unmake(fence->device->plugin->api, fence->device->plugin->host, fence);
}

void fence_signal(brim_fence* fence, uint64_t value) {
  Hub& hub = hub_of(fence->device);
  std::lock_guard lock(hub.mutex);
  raise_locked(fence, value);
  settle_locked(hub);
}

void fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns) {
  // Longer than this is "for ever": the clock's range must not overflow.
  constexpr uint64_t kLongest = 365ull * 24 * 3600 * 1'000'000'000;
  Hub& hub = hub_of(fence->device);
  std::unique_lock lock(hub.mutex);
  const auto reached = [&] { return fence->value >= value; };
  if (timeout_ns >= kLongest) {
    hub.moved.wait(lock, reached);
    return;
  }
  if (reached()) return;
  if (timeout_ns != 0) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(timeout_ns);
    if (hub.moved.wait_until(lock, until, reached)) return;
  }
  fail(BRIM_DEADLINE, "the fence is at %llu and did not reach %llu within %llu ns",
       static_cast<unsigned long long>(fence->value), static_cast<unsigned long long>(value),
       static_cast<unsigned long long>(timeout_ns));
}

}  // namespace brim_cpu
