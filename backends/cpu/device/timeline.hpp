// Queues and fences. A queue is synchronous: a copy or a program has done its work when the call returns, so the only
// thing that a queue ever holds back is what stands behind a wait for a fence value that has not come yet.
//
// Waiting and signalling do not block: they are noted in the queue, in order, and settled by whoever moves a fence.
// Work submitted behind such a wait blocks until the wait is over, since it has to be done when the call returns. All
// fences of an instance share one Hub (mutex and condition): they change a few times per step, contention is no matter.
#pragma once

#include <condition_variable>
#include <mutex>

#include "brim/backend.h"
#include "plugin/memory.hpp"

namespace brim_cpu {

struct Hub {
  std::mutex mutex;
  std::condition_variable moved;
  brim_queue* queues = nullptr;  // of the instance, linked by brim_queue::next
};

}  // namespace brim_cpu

struct brim_fence {
  brim_device* device;
  uint64_t value;  // under Hub::mutex
};

struct brim_queue {
  struct Note {
    brim_fence* fence;
    uint64_t value;
    bool signal;  // else: wait
  };

  brim_device* device;
  brim_cpu::Memory memory;
  brim_cpu::Array<Note> notes;  // what waits, in order; empty or beginning with a wait; under Hub::mutex
  brim_queue* next = nullptr;

  explicit brim_queue(brim_device* of);
};

namespace brim_cpu {

brim_queue* create_queue(brim_device* device);
void destroy_queue(brim_queue* queue) noexcept;

// [queue] Blocks until nothing is noted in the queue any more: what every copy and program does first.
void drain(brim_queue* queue);

void queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value);
void queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value);

brim_fence* create_fence(brim_device* device, uint64_t initial);
void destroy_fence(brim_fence* fence) noexcept;
void fence_signal(brim_fence* fence, uint64_t value);
void fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns);

}  // namespace brim_cpu
