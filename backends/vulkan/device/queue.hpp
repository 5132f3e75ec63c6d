// Queues and fences. A fence is a timeline semaphore. Every brim_queue of a device feeds the one VkQueue that was asked
// for, so what one of them waits for must not stop the others: a wait is handed to Vulkan only when the signal that
// ends it has been, and until then it and what follows it stays in the queue's own list. Whoever promises a fence a
// value (a signal handed over, or the host's) hands over what waited for it.
//
// Small command buffers (copies, and the head of each program run) come from a ring that the queue keeps.
#pragma once

#include "device/buffer.hpp"

struct brim_fence {
  brim_vulkan::Device* device;
  VkSemaphore semaphore;
  uint64_t promised;  // the largest value that it has or will have without further calls; under queue_mutex
};

struct brim_queue {
  explicit brim_queue(brim_vulkan::Device* of);
  ~brim_queue();

  struct Operation {
    enum Kind : uint32_t { kWait, kSubmit, kSignal } kind;
    brim_fence* fence;
    uint64_t value;               // of the fence
    VkCommandBuffer commands[2];  // of a submission; the second may be null
    uint64_t ticket;              // of a submission: the value of `progress` when it is done
  };
  struct Slot {
    VkCommandBuffer commands;
    uint64_t ticket;
  };
  static constexpr uint32_t kMostWaits = 8;

  brim_vulkan::Device* device;
  VkCommandPool pool = VK_NULL_HANDLE;
  brim::backend::Array<Slot> ring;
  size_t next_slot = 0;
  VkSemaphore progress = VK_NULL_HANDLE;
  uint64_t tickets = 0, handed_over = 0;  // given out; of what Vulkan has
  brim::backend::Array<Operation> held;   // in order, from `first_held` on; under queue_mutex
  size_t first_held = 0;
  brim_fence* waits[kMostWaits];  // that the next submission has to wait for
  uint64_t wait_values[kMostWaits];
  uint32_t n_waits = 0;
  brim_queue* next = nullptr;
};

namespace brim_vulkan {

// UNSUPPORTED with a queue of the host program's own.
brim_queue* create_queue(Device* device, void* native);
void destroy_queue(brim_queue* queue) noexcept;
brim_fence* create_fence(Device* device, uint64_t initial);
void destroy_fence(brim_fence* fence) noexcept;

// [queue] A command buffer to record into, begun, and to submit() next.
VkCommandBuffer begin_commands(brim_queue* queue);
// [queue] Submits what begin_commands() gave (ended here), then `second` if it is not null. Returns the ticket.
uint64_t submit(brim_queue* queue, VkCommandBuffer first, VkCommandBuffer second);

void queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value);
void queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value);
void fence_signal(brim_fence* fence, uint64_t value);
void fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns);

// What came before on the queue, copies and kernels, is seen by what follows.
void record_barrier(Device* device, VkCommandBuffer commands);
// The same, and by the host.
void record_last_barrier(Device* device, VkCommandBuffer commands);

// Waits for what runs before something goes that it may use. It should use it no more; but a host that stumbles over an
// error between a run and its fence gives things back too.
void let_finish(Device* device) noexcept;

// One launch on a queue of its own, waited for.
void run_once(Device* device, const Launch& launch);

}  // namespace brim_vulkan
