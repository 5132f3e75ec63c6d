// Queues and fences. A queue is a stream, of its own or the host program's. A fence is a timeline made of events: each
// value that a queue signals is an event recorded on its stream, and a wait for a value waits for the first event of
// that value or a later one. A wait whose signal has not been handed to the driver cannot be: it and what follows it
// stay in the queue's own list until whoever promises the fence that value (a signal handed over, or the host's) hands
// over what waited for it.
//
// Events go back to their fence when they have been reached, so that a fence of steady use makes none.
#pragma once

#include "device/buffer.hpp"

struct brim_fence {
  explicit brim_fence(brim_cuda::Device* of) : device(of), marks(of->host()), spare(of->host()) {}

  struct Mark {
    uint64_t value;
    CUevent event;
    uint32_t waiters;  // threads that look at the event without the lock
  };
  brim_cuda::Device* device;
  uint64_t reached = 0, promised = 0;  // known to be reached; will be reached without further calls
  brim::backend::Array<Mark> marks;    // by value; all under queue_mutex
  brim::backend::Array<CUevent> spare;
};

struct brim_queue {
  explicit brim_queue(brim_cuda::Device* of) : device(of), held(of->host()) {}

  struct Operation {
    enum Kind : uint32_t { kWait, kSignal, kCopy, kRun } kind;
    brim_fence* fence;
    uint64_t value;  // of the fence
    CUdeviceptr to, from;
    uint64_t bytes;  // of a copy
    brim_program* program;
    brim_gpu::Run run;
  };

  brim_cuda::Device* device;
  CUstream stream = nullptr;
  bool own = false;
  brim::backend::Array<Operation> held;  // in order, from `first_held` on; under queue_mutex
  size_t first_held = 0;
  brim_queue* next = nullptr;
};

namespace brim_cuda {

// `native`: a CUstream of the host program's, or null.
brim_queue* create_queue(Device* device, void* native);
void destroy_queue(brim_queue* queue) noexcept;
brim_fence* create_fence(Device* device, uint64_t initial);
void destroy_fence(brim_fence* fence) noexcept;

// [queue] In the order of the calls.
void enqueue(brim_queue* queue, const brim_queue::Operation& operation);
void queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value);
void queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value);
void fence_signal(brim_fence* fence, uint64_t value);
void fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns);

// Waits for what runs before something goes that it may use. It should use it no more; but a host that stumbles over an
// error between a run and its fence gives things back too.
void let_finish(Device* device) noexcept;

}  // namespace brim_cuda
