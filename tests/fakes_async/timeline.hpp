// Queues and fences. A queue is a thread that takes work in order, each piece after a random delay; a fence is a number
// with people waiting for it. Work that throws loses the device or marks a breach; what follows is skipped, signals are
// not, so that nobody waits for ever.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "async.hpp"

struct brim_fence {
  brim_plugin* plugin = nullptr;
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t value = 0;

  void set(uint64_t to) {
    const std::lock_guard lock(mutex);
    value = std::max(value, to);
    changed.notify_all();
  }
};

struct brim_queue {
  explicit brim_queue(brim_plugin* owner, uint64_t seed) : plugin(owner), random(seed), thread([this] { loop(); }) {}
  ~brim_queue();

  struct Work {
    std::function<void()> run;
    std::vector<brim_buffer*> uses;
    std::atomic<uint32_t>* running = nullptr;  // of a program
    bool always = false;                       // runs on a lost device too: signals and waits
  };
  void submit(Work work);

  brim_plugin* plugin;

 private:
  void loop();

  std::mt19937_64 random;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Work> works_;
  bool closing_ = false;
  std::thread thread;  // last: it uses the others
};

namespace brim_async {

void copy(brim_queue* queue, brim_buffer* dst, uint64_t dst_offset, brim_buffer* src, uint64_t src_offset,
          uint64_t bytes);
void signal(brim_queue* queue, brim_fence* fence, uint64_t value);
void wait(brim_queue* queue, brim_fence* fence, uint64_t value);
// Waits on the host; throws what sticks to the device.
void wait_on_host(brim_fence* fence, uint64_t value, uint64_t timeout_ns);
// Waits until the queue has done all that was submitted.
void drain(brim_queue* queue);

// What the host may not touch while work on it is pending: bytes in memory that it sees, and that no work before
// writes. made at submission, checked when the work begins.
class Untouched {
 public:
  Untouched(brim_buffer* buffer, uint64_t offset, uint64_t bytes, const char* what);
  void check() const;

 private:
  brim_buffer* buffer_;
  uint64_t offset_;
  const char* what_;
  std::vector<std::byte> seen_;  // empty: nothing can be said
};

}  // namespace brim_async
