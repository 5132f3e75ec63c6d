#include "device/queue.hpp"

#include <chrono>

#include "program/program.hpp"

namespace brim_cuda {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kSlice = std::chrono::milliseconds(100);  // of waits that a loss may end
constexpr size_t kKept = 16;

// ---- fences, under the queue mutex ----

CUevent take_event(brim_fence* fence) {
  if (!fence->spare.empty()) {
    const CUevent event = fence->spare.back();
    fence->spare.pop_back();
    return event;
  }
  CUevent event = nullptr;
  check_on(fence->device, fence->device->cu().EventCreate(&event, CU_EVENT_DISABLE_TIMING), "creating an event");
  return event;
}

// What has been reached goes from the front of the list.
void look(brim_fence* fence) {
  while (!fence->marks.empty() && fence->marks.front().waiters == 0) {
    const CUresult result = fence->device->cu().EventQuery(fence->marks.front().event);
    if (result == CUDA_ERROR_NOT_READY) return;
    check_on(fence->device, result, "the work before a fence");
    fence->reached = std::max(fence->reached, fence->marks.front().value);
    fence->spare.push_back(fence->marks.front().event);
    fence->marks.erase(fence->marks.begin());
  }
}

brim_fence::Mark* mark_of(brim_fence* fence, uint64_t value) {
  for (brim_fence::Mark& mark : fence->marks) {
    if (mark.value >= value) return &mark;
  }
  return nullptr;
}

// ---- queues ----

// Hands one operation to the driver. False: it has to be held.
bool perform(brim_queue* queue, const brim_queue::Operation& operation) {
  Device* device = queue->device;
  brim_fence* fence = operation.fence;
  switch (operation.kind) {
    case brim_queue::Operation::kWait: {
      if (fence->promised < operation.value) return false;
      if (fence->reached >= operation.value) return true;
      const brim_fence::Mark* mark = mark_of(fence, operation.value);
      if (mark != nullptr) {
        check_on(device, device->cu().StreamWaitEvent(queue->stream, mark->event, 0), "waiting for a fence");
      }
      return true;
    }
    case brim_queue::Operation::kSignal: {
      if (operation.value <= fence->promised) return true;  // no step of a timeline
      look(fence);
      fence->marks.reserve(fence->marks.size() + 1);
      fence->spare.reserve(fence->spare.size() + fence->marks.size() + 1);
      const CUevent event = take_event(fence);
      const CUresult result = device->cu().EventRecord(event, queue->stream);
      if (result != CUDA_SUCCESS) fence->spare.push_back(event);
      check_on(device, result, "signalling a fence");
      fence->marks.push_back({operation.value, event, 0});
      fence->promised = operation.value;
      return true;
    }
    case brim_queue::Operation::kCopy:
      check_on(device, device->cu().MemcpyAsync(operation.to, operation.from, operation.bytes, queue->stream),
               "a copy");
      return true;
    default:
      launch_program(operation.program, queue->stream, operation.run);
      return true;
  }
}

// The first held operation, if nothing stands before it. True: it is gone.
bool advance(brim_queue* queue) {
  if (queue->first_held == queue->held.size()) return false;
  if (!perform(queue, queue->held[queue->first_held])) return false;
  if (++queue->first_held == queue->held.size()) {
    queue->held.clear();
    queue->first_held = 0;
  }
  return true;
}

// Until nothing moves: a signal may end another queue's wait.
void advance_all(Device* device) {
  for (bool again = true; again;) {
    again = false;
    for (brim_queue* queue = device->queues; queue != nullptr; queue = queue->next) {
      while (advance(queue)) again = true;
    }
  }
  device->moved.notify_all();
}

void check_same_device(const brim_queue* queue, const brim_fence* fence) {
  if (queue->device != fence->device) {
    fail(BRIM_UNSUPPORTED, "the fence is of another device (%s) than the queue (%s); let the host wait",
         fence->device->name, queue->device->name);
  }
}

}  // namespace

brim_queue* create_queue(Device* device, void* native) {
  need_alive(device);
  brim_queue* queue = make<brim_queue>(device->host(), device);
  try {
    queue->held.reserve(kKept);
    if (native != nullptr) {
      queue->stream = static_cast<CUstream>(native);
    } else {
      const Current current(device);
      check_on(device, device->cu().StreamCreate(&queue->stream, CU_STREAM_NON_BLOCKING), "creating a queue");
      queue->own = true;
    }
  } catch (...) {
    unmake(device->host(), queue);
    throw;
  }
  const std::lock_guard lock(device->queue_mutex);
  queue->next = device->queues;
  device->queues = queue;
  return queue;
}

void destroy_queue(brim_queue* queue) noexcept {
  if (queue == nullptr) return;
  Device* device = queue->device;
  guard(nullptr, [&] { drain(queue); });  // a lost device has nothing more to wait for
  {
    const std::lock_guard lock(device->queue_mutex);
    brim_queue** link = &device->queues;
    while (*link != queue) link = &(*link)->next;
    *link = queue->next;
  }
  if (queue->own) {
    const Releasing current(device);
    device->cu().StreamDestroy(queue->stream);
  }
  unmake(device->host(), queue);
}

brim_fence* create_fence(Device* device, uint64_t initial) {
  need_alive(device);
  brim_fence* fence = make<brim_fence>(device->host(), device);
  fence->reached = fence->promised = initial;
  try {
    fence->marks.reserve(kKept);
    fence->spare.reserve(2 * kKept);
    const Current current(device);
    for (uint32_t i = 0; i < 2; ++i) fence->spare.push_back(take_event(fence));
    return fence;
  } catch (...) {
    destroy_fence(fence);
    throw;
  }
}

void destroy_fence(brim_fence* fence) noexcept {
  if (fence == nullptr) return;
  {
    const Releasing current(fence->device);
    for (const brim_fence::Mark& mark : fence->marks) fence->device->cu().EventDestroy(mark.event);
    for (const CUevent event : fence->spare) fence->device->cu().EventDestroy(event);
  }
  unmake(fence->device->host(), fence);
}

void enqueue(brim_queue* queue, const brim_queue::Operation& operation) {
  Device* device = queue->device;
  need_alive(device);
  const Current current(device);
  const std::lock_guard lock(device->queue_mutex);
  if (queue->first_held != queue->held.size() || !perform(queue, operation)) {
    queue->held.push_back(operation);
  } else if (operation.kind == brim_queue::Operation::kSignal) {
    advance_all(device);
  }
}

void queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value) {
  check_same_device(queue, fence);
  enqueue(queue, {brim_queue::Operation::kSignal, fence, value, 0, 0, 0, nullptr, {}});
}

void queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value) {
  check_same_device(queue, fence);
  enqueue(queue, {brim_queue::Operation::kWait, fence, value, 0, 0, 0, nullptr, {}});
}

void fence_signal(brim_fence* fence, uint64_t value) {
  Device* device = fence->device;
  need_alive(device);
  const Current current(device);
  const std::lock_guard lock(device->queue_mutex);
  if (value <= fence->promised) return;
  fence->promised = fence->reached = value;
  advance_all(device);
}

void fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns) {
  Device* device = fence->device;
  const bool forever = timeout_ns > 1ull << 62;
  const auto end = Clock::now() + std::chrono::nanoseconds(forever ? 0 : timeout_ns);
  const Current current(device);
  std::unique_lock lock(device->queue_mutex);
  for (uint32_t tries = 0;; ++tries) {
    need_alive(device);
    if (fence->reached >= value) return;
    look(fence);
    if (fence->reached >= value) return;
    if (!forever && Clock::now() >= end) {
      fail(BRIM_DEADLINE, "the fence is at %llu and did not reach %llu within %llu ns",
           static_cast<unsigned long long>(fence->reached), static_cast<unsigned long long>(value),
           static_cast<unsigned long long>(timeout_ns));
    }
    brim_fence::Mark* mark = mark_of(fence, value);
    if (mark == nullptr) {  // nobody has promised it yet
      device->moved.wait_until(lock, forever ? Clock::now() + kSlice : std::min(end, Clock::now() + kSlice));
      continue;
    }
    const CUevent event = mark->event;
    const uint64_t promised = mark->value;
    ++mark->waiters;
    lock.unlock();
    CUresult result = CUDA_SUCCESS;
    if (forever) {
      result = device->cu().EventSynchronize(event);
    } else {
      // The driver has no wait with an end: look again, soon at first, then every millisecond.
      std::unique_lock pause(device->queue_mutex);
      device->moved.wait_until(
          pause, std::min(end, Clock::now() + std::chrono::microseconds(std::min(tries * 20u + 20u, 1000u))));
      pause.unlock();
      result = device->cu().EventQuery(event);
    }
    lock.lock();
    for (brim_fence::Mark& m : fence->marks) {
      if (m.event == event) --m.waiters;
    }
    if (result == CUDA_ERROR_NOT_READY) continue;
    check_on(device, result, "the work before a fence");
    fence->reached = std::max(fence->reached, promised);
  }
}

void let_finish(Device* device) noexcept {
  if (device->lost) return;
  guard(nullptr, [&] {
    const Current current(device);
    const std::lock_guard lock(device->queue_mutex);
    for (const brim_queue* queue = device->queues; queue != nullptr; queue = queue->next) {
      if (device->cu().StreamQuery(queue->stream) != CUDA_ERROR_NOT_READY) continue;
      device->cu().CtxSynchronize();
      return;
    }
  });
}

}  // namespace brim_cuda

namespace brim_gpu {

brim_buffer* allocate_staging(brim_queue* queue, uint64_t bytes) {
  return brim_cuda::allocate_buffer(queue->device, 1, bytes);
}
void free_staging(brim_buffer* buffer) noexcept { brim_cuda::free_buffer(buffer); }
Memory memory_of(const brim_queue* queue) { return queue->device->host(); }

void copy(brim_queue* queue, brim_buffer* to, uint64_t to_offset, brim_buffer* from, uint64_t from_offset,
          uint64_t bytes) {
  check_range(to, to_offset, bytes, "copy's destination");
  check_range(from, from_offset, bytes, "copy's source");
  if (to == from && to_offset < from_offset + bytes && from_offset < to_offset + bytes && bytes != 0) {
    fail(BRIM_INVALID_ARGUMENT, "copy: source and destination overlap");
  }
  if (bytes == 0) return;
  brim_cuda::enqueue(queue, {brim_queue::Operation::kCopy,
                             nullptr,
                             0,
                             to->address + to_offset,
                             from->address + from_offset,
                             bytes,
                             nullptr,
                             {}});
}

void drain(brim_queue* queue) {
  brim_cuda::Device* device = queue->device;
  {
    std::unique_lock lock(device->queue_mutex);
    while (queue->first_held != queue->held.size()) {
      brim_cuda::need_alive(device);
      device->moved.wait_for(lock, brim_cuda::kSlice);
    }
  }
  brim_cuda::need_alive(device);
  const brim_cuda::Current current(device);
  brim_cuda::check_on(device, device->cu().StreamSynchronize(queue->stream), "waiting for the device");
}

}  // namespace brim_gpu
