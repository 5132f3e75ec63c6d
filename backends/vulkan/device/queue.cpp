#include "device/queue.hpp"

namespace brim_vulkan {
namespace {

constexpr uint32_t kRing = 16;

VkSemaphore make_timeline(Device* device, uint64_t initial) {
  VkSemaphoreTypeCreateInfo type = typed<VkSemaphoreTypeCreateInfo>(VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  type.initialValue = initial;
  VkSemaphoreCreateInfo info = typed<VkSemaphoreCreateInfo>(VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO);
  info.pNext = &type;
  VkSemaphore semaphore = VK_NULL_HANDLE;
  check_on(device, device->vk.CreateSemaphore(device->handle, &info, nullptr, &semaphore), "creating a fence");
  return semaphore;
}

uint64_t value_of(Device* device, VkSemaphore semaphore) {
  uint64_t value = 0;
  check_on(device, device->vk.GetSemaphoreCounterValue(device->handle, semaphore, &value), "reading a fence");
  return value;
}

// Waits in slices, so that a loss that another thread met ends the wait too. False: the time is up.
bool wait_for(Device* device, VkSemaphore semaphore, uint64_t value, uint64_t timeout_ns) {
  constexpr uint64_t kSlice = 200'000'000;
  VkSemaphoreWaitInfo info = typed<VkSemaphoreWaitInfo>(VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO);
  info.semaphoreCount = 1;
  info.pSemaphores = &semaphore;
  info.pValues = &value;
  for (uint64_t left = timeout_ns;;) {
    need_alive(device);
    const uint64_t now = std::min(left, kSlice);
    const VkResult result = device->vk.WaitSemaphores(device->handle, &info, now);
    check_on(device, result, "waiting for the device");
    if (result == VK_SUCCESS) return true;
    if (left != UINT64_MAX) left -= now;
    if (left == 0) return false;
  }
}

// Hands one submission to Vulkan with all waits gathered so far.
void hand_over(brim_queue* queue, const VkCommandBuffer* commands, uint32_t n_commands, VkSemaphore signal,
               uint64_t value) {
  Device* device = queue->device;
  VkSemaphore waits[brim_queue::kMostWaits];
  VkPipelineStageFlags stages[brim_queue::kMostWaits];
  for (uint32_t i = 0; i < queue->n_waits; ++i) {
    waits[i] = queue->waits[i]->semaphore;
    stages[i] = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  }
  VkTimelineSemaphoreSubmitInfo timeline =
      typed<VkTimelineSemaphoreSubmitInfo>(VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO);
  timeline.waitSemaphoreValueCount = queue->n_waits;
  timeline.pWaitSemaphoreValues = queue->wait_values;
  timeline.signalSemaphoreValueCount = signal == VK_NULL_HANDLE ? 0 : 1;
  timeline.pSignalSemaphoreValues = &value;
  VkSubmitInfo info = typed<VkSubmitInfo>(VK_STRUCTURE_TYPE_SUBMIT_INFO);
  info.pNext = &timeline;
  info.waitSemaphoreCount = queue->n_waits;
  info.pWaitSemaphores = waits;
  info.pWaitDstStageMask = stages;
  info.commandBufferCount = n_commands;
  info.pCommandBuffers = commands;
  info.signalSemaphoreCount = timeline.signalSemaphoreValueCount;
  info.pSignalSemaphores = &signal;
  check_on(device, device->vk.QueueSubmit(device->queue, 1, &info, VK_NULL_HANDLE), "submitting work");
  queue->n_waits = 0;
}

// The first held operation, if nothing stands before it. True: it is gone.
bool advance(brim_queue* queue) {
  if (queue->first_held == queue->held.size()) return false;
  const brim_queue::Operation& operation = queue->held[queue->first_held];
  switch (operation.kind) {
    case brim_queue::Operation::kWait:
      if (operation.fence->promised < operation.value) return false;
      if (queue->n_waits == brim_queue::kMostWaits) hand_over(queue, nullptr, 0, VK_NULL_HANDLE, 0);
      queue->waits[queue->n_waits] = operation.fence;
      queue->wait_values[queue->n_waits++] = operation.value;
      break;
    case brim_queue::Operation::kSubmit:
      hand_over(queue, operation.commands, operation.commands[1] == VK_NULL_HANDLE ? 1 : 2, queue->progress,
                operation.ticket);
      queue->handed_over = operation.ticket;
      break;
    default:
      // A value that it already has, or will have, is no step of a timeline.
      if (operation.value > operation.fence->promised) {
        hand_over(queue, nullptr, 0, operation.fence->semaphore, operation.value);
        operation.fence->promised = operation.value;
      }
  }
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
}

void enqueue(brim_queue* queue, const brim_queue::Operation& operation) {
  need_alive(queue->device);
  const std::lock_guard lock(queue->device->queue_mutex);
  queue->held.push_back(operation);
  advance_all(queue->device);
}

void check_same_device(const brim_queue* queue, const brim_fence* fence) {
  if (queue->device != fence->device) {
    fail(BRIM_UNSUPPORTED, "the fence is of another device (%s) than the queue (%s); let the host wait",
         fence->device->name, queue->device->name);
  }
}

void record_memory_barrier(Device* device, VkCommandBuffer commands, VkPipelineStageFlags to, VkAccessFlags access) {
  VkMemoryBarrier barrier = typed<VkMemoryBarrier>(VK_STRUCTURE_TYPE_MEMORY_BARRIER);
  barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  barrier.dstAccessMask = access;
  constexpr VkPipelineStageFlags kWork = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
  device->vk.CmdPipelineBarrier(commands, kWork, to, 0, 1, &barrier, 0, nullptr, 0, nullptr);
}

constexpr VkAccessFlags kAnyAccess =
    VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;

}  // namespace

void record_barrier(Device* device, VkCommandBuffer commands) {
  record_memory_barrier(device, commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                        kAnyAccess);
}

void record_last_barrier(Device* device, VkCommandBuffer commands) {
  record_memory_barrier(
      device, commands,
      VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_HOST_BIT,
      kAnyAccess | VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
}

brim_queue* create_queue(Device* device, void* native) {
  if (native != nullptr) fail(BRIM_UNSUPPORTED, "the Vulkan backend does not take over a queue of the host's");
  need_alive(device);
  brim_queue* queue = make<brim_queue>(device->host(), device);
  try {
    VkCommandPoolCreateInfo pool = typed<VkCommandPoolCreateInfo>(VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO);
    pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
    pool.queueFamilyIndex = device->queue_family;
    check_on(device, device->vk.CreateCommandPool(device->handle, &pool, nullptr, &queue->pool), "creating a queue");
    queue->progress = make_timeline(device, 0);
    queue->held.reserve(2 * kRing);
    queue->ring.reserve(kRing);
    VkCommandBuffer commands[kRing];
    VkCommandBufferAllocateInfo info =
        typed<VkCommandBufferAllocateInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO);
    info.commandPool = queue->pool;
    info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    info.commandBufferCount = kRing;
    check_on(device, device->vk.AllocateCommandBuffers(device->handle, &info, commands), "creating a queue");
    for (const VkCommandBuffer c : commands) queue->ring.push_back({c, 0});
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
  // A lost device has nothing more to wait for, and waits that nothing follows have no work.
  guard(nullptr, [&] { wait_for(device, queue->progress, queue->tickets, UINT64_MAX); });
  {
    const std::lock_guard lock(device->queue_mutex);
    brim_queue** link = &device->queues;
    while (*link != queue) link = &(*link)->next;
    *link = queue->next;
  }
  unmake(device->host(), queue);
}

brim_fence* create_fence(Device* device, uint64_t initial) {
  need_alive(device);
  brim_fence* fence = make<brim_fence>(device->host(), brim_fence{device, VK_NULL_HANDLE, initial});
  try {
    fence->semaphore = make_timeline(device, initial);
    return fence;
  } catch (...) {
    unmake(device->host(), fence);
    throw;
  }
}

void destroy_fence(brim_fence* fence) noexcept {
  if (fence == nullptr) return;
  Device* device = fence->device;
  {
    // The submission that signalled it last may still be on its way out of the queue.
    const std::lock_guard lock(device->queue_mutex);
    if (!device->lost) device->vk.DeviceWaitIdle(device->handle);
  }
  device->vk.DestroySemaphore(device->handle, fence->semaphore, nullptr);
  unmake(device->host(), fence);
}

VkCommandBuffer begin_commands(brim_queue* queue) {
  Device* device = queue->device;
  need_alive(device);
  brim_queue::Slot* slot = &queue->ring[queue->next_slot];
  if (slot->ticket != 0 && value_of(device, queue->progress) < slot->ticket) {
    bool held = false;
    {
      const std::lock_guard lock(device->queue_mutex);
      held = slot->ticket > queue->handed_over;
    }
    if (held) {  // waiting here could wait for the caller itself
      VkCommandBufferAllocateInfo info =
          typed<VkCommandBufferAllocateInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO);
      info.commandPool = queue->pool;
      info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
      info.commandBufferCount = 1;
      brim_queue::Slot fresh{VK_NULL_HANDLE, 0};
      check_on(device, device->vk.AllocateCommandBuffers(device->handle, &info, &fresh.commands), "submitting work");
      queue->ring.insert(queue->ring.begin() + static_cast<ptrdiff_t>(queue->next_slot), fresh);
      slot = &queue->ring[queue->next_slot];
    } else {
      wait_for(device, queue->progress, slot->ticket, UINT64_MAX);
    }
  }
  VkCommandBufferBeginInfo begin = typed<VkCommandBufferBeginInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO);
  begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  check_on(device, device->vk.BeginCommandBuffer(slot->commands, &begin), "recording commands");
  return slot->commands;
}

uint64_t submit(brim_queue* queue, VkCommandBuffer first, VkCommandBuffer second) {
  Device* device = queue->device;
  check_on(device, device->vk.EndCommandBuffer(first), "recording commands");
  const uint64_t ticket = queue->tickets + 1;
  enqueue(queue, {brim_queue::Operation::kSubmit, nullptr, 0, {first, second}, ticket});
  queue->tickets = ticket;  // drain() waits for what is in the queue, and for nothing that failed to get there
  queue->ring[queue->next_slot].ticket = ticket;
  queue->next_slot = (queue->next_slot + 1) % queue->ring.size();
  return ticket;
}

void queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value) {
  check_same_device(queue, fence);
  enqueue(queue, {brim_queue::Operation::kSignal, fence, value, {}, 0});
}

void queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value) {
  check_same_device(queue, fence);
  enqueue(queue, {brim_queue::Operation::kWait, fence, value, {}, 0});
}

void fence_signal(brim_fence* fence, uint64_t value) {
  Device* device = fence->device;
  need_alive(device);
  const std::lock_guard lock(device->queue_mutex);
  if (value <= fence->promised) return;
  VkSemaphoreSignalInfo info = typed<VkSemaphoreSignalInfo>(VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO);
  info.semaphore = fence->semaphore;
  info.value = value;
  check_on(device, device->vk.SignalSemaphore(device->handle, &info), "signalling a fence");
  fence->promised = value;
  advance_all(device);
}

void fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns) {
  Device* device = fence->device;
  if (wait_for(device, fence->semaphore, value, timeout_ns)) return;
  fail(BRIM_DEADLINE, "the fence is at %llu and did not reach %llu within %llu ns",
       static_cast<unsigned long long>(value_of(device, fence->semaphore)), static_cast<unsigned long long>(value),
       static_cast<unsigned long long>(timeout_ns));
}

void let_finish(Device* device) noexcept {
  const std::lock_guard lock(device->queue_mutex);
  if (device->lost) return;
  for (const brim_queue* queue = device->queues; queue != nullptr; queue = queue->next) {
    uint64_t value = 0;
    device->vk.GetSemaphoreCounterValue(device->handle, queue->progress, &value);
    if (value >= queue->handed_over) continue;
    device->vk.DeviceWaitIdle(device->handle);
    return;
  }
}

void run_once(Device* device, const Launch& launch) {
  const VkPipeline pipeline = device->pipelines.get(launch.kernel, launch.constants);
  brim_queue* queue = create_queue(device, nullptr);
  const auto work = [&] {
    const VkCommandBuffer commands = begin_commands(queue);
    record_launch(device, commands, launch, pipeline);
    record_last_barrier(device, commands);
    submit(queue, commands, VK_NULL_HANDLE);
    drain(queue);
  };
  try {
    work();
  } catch (...) {
    destroy_queue(queue);
    throw;
  }
  destroy_queue(queue);
}

}  // namespace brim_vulkan

namespace brim_gpu {

brim_buffer* allocate_staging(brim_queue* queue, uint64_t bytes) {
  return brim_vulkan::allocate_buffer(queue->device, queue->device->heaps.n - 1, bytes);
}
void free_staging(brim_buffer* buffer) noexcept { brim_vulkan::free_buffer(buffer); }
Memory memory_of(const brim_queue* queue) { return queue->device->host(); }

void drain(brim_queue* queue) {
  bool waits = false;
  {
    const std::lock_guard lock(queue->device->queue_mutex);
    waits = queue->first_held != queue->held.size() || queue->n_waits != 0;
  }
  // Fences that the queue waits for before nothing: an empty submission has its place behind them.
  if (waits) brim_vulkan::submit(queue, brim_vulkan::begin_commands(queue), VK_NULL_HANDLE);
  brim_vulkan::wait_for(queue->device, queue->progress, queue->tickets, UINT64_MAX);
}

void copy(brim_queue* queue, brim_buffer* to, uint64_t to_offset, brim_buffer* from, uint64_t from_offset,
          uint64_t bytes) {
  check_range(to, to_offset, bytes, "copy's destination");
  check_range(from, from_offset, bytes, "copy's source");
  if (to->read_only) fail(BRIM_INVALID_ARGUMENT, "copy's destination is read-only memory");
  if (to == from && to_offset < from_offset + bytes && from_offset < to_offset + bytes && bytes != 0) {
    fail(BRIM_INVALID_ARGUMENT, "copy: source and destination overlap");
  }
  if (bytes == 0) return;
  const VkCommandBuffer commands = brim_vulkan::begin_commands(queue);
  brim_vulkan::record_barrier(queue->device, commands);
  const VkBufferCopy region{from_offset, to_offset, bytes};
  queue->device->vk.CmdCopyBuffer(commands, from->handle, to->handle, 1, &region);
  brim_vulkan::record_last_barrier(queue->device, commands);
  brim_vulkan::submit(queue, commands, VK_NULL_HANDLE);
}

}  // namespace brim_gpu

brim_queue::brim_queue(brim_vulkan::Device* of) : device(of), ring(of->host()), held(of->host()) {}

brim_queue::~brim_queue() {
  if (progress != VK_NULL_HANDLE) device->vk.DestroySemaphore(device->handle, progress, nullptr);
  if (pool != VK_NULL_HANDLE) device->vk.DestroyCommandPool(device->handle, pool, nullptr);
}
