// Queues and fences of a device that works at once.
//
// A fence is a number that only grows. Work of a queue runs in order, inside the call that submits it. What remains to
// be ordered are waits: queue_wait may not block, so a queue whose wait is not over keeps a list of notes: the wait,
// and the signals and waits that came after it. Whoever raises a fence passes the notes that have become due; work that
// is submitted behind an open wait first waits for the list to become empty.
//
// A device with streams of its own has all this in its driver: queue_wait and queue_signal are then one call each.
#pragma once

#include <condition_variable>
#include <mutex>

#include "contract.hpp"

struct brim_fence {
  brim_device* device;
  uint64_t value;
};

namespace plain {

struct Note {
  brim_fence* fence;
  uint64_t value;
  bool signal;  // raise the fence to `value`; else wait until it has got there
  Note* next;
};

// Of an instance: what all its queues and fences share, fences of one of its devices being good for all.
struct Timeline {
  std::mutex mutex;
  std::condition_variable moved;  // a fence was raised, or notes were passed
  brim_queue* queues = nullptr;   // all of them, linked by brim_queue::next
};

}  // namespace plain

struct brim_queue {
  brim_device* device;
  plain::Note *first, *last;  // the first is always a wait
  brim_queue* next;
};

namespace plain {

brim_queue* create_queue(brim_device* device);
void destroy_queue(brim_queue* queue) noexcept;
// Until nothing on the queue waits any more.
void drain(brim_queue* queue);

brim_fence* create_fence(brim_device* device, uint64_t initial);
void destroy_fence(brim_fence* fence) noexcept;

void queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value);
void queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value);
void fence_signal(brim_fence* fence, uint64_t value);
void fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns);

}  // namespace plain
