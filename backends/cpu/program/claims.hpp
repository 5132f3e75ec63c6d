// How a team goes through the phases of a program without meeting at barriers: members claim chunks of the current
// phase, and whoever finishes its last chunk does what lies between and opens the next phase.
//
// Nobody waits for a member, only for chunks that were claimed. A member whose core another process has taken, and that
// holds no chunk, is simply not there for a while: the others go on and it joins whatever phase is open when it comes
// back. A member that finds nothing left to claim spins for a few microseconds, about as long as the ends of a phase
// lie apart on free cores, then yields for some ten more, then sleeps.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace brim_cpu {

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb");
#endif
}

class Claims {
 public:
  struct Claim {
    uint32_t phase, chunk;  // a chunk past the phase's last means that all are claimed
  };

  // Lets members claim chunks of `phase`, a later one than the last opened. Called by one member at a time: before the
  // team starts, and by who finished a phase. What the caller wrote before is seen by all who claim.
  void open(uint32_t phase) {
    finished_.store(0, std::memory_order_relaxed);
    // Before the chunks can be had: afterwards a later phase may be open already, and open_ must not go back.
    open_.store(phase, std::memory_order_release);
    next_.store(static_cast<uint64_t>(phase) << 32, std::memory_order_release);
    open_.notify_all();  // a system call only where somebody sleeps
  }

  Claim take() {
    const uint64_t ticket = next_.fetch_add(1, std::memory_order_acq_rel);
    return {static_cast<uint32_t>(ticket >> 32), static_cast<uint32_t>(ticket)};
  }

  // After each claimed chunk of a phase of `chunks`: is the phase finished? True for one member, which then sees all
  // that the others wrote.
  bool finish_one(uint32_t chunks) { return finished_.fetch_add(1, std::memory_order_acq_rel) + 1 == chunks; }

  // Returns when another phase than this one is open.
  void await_next(uint32_t phase) const {
    for (int looks = 0; open_.load(std::memory_order_acquire) == phase; ++looks) {
      if (looks < kSpins) {
        pause_briefly();
      } else if (looks < kSpins + kYields) {
        std::this_thread::yield();
      } else {
        open_.wait(phase, std::memory_order_acquire);
      }
    }
  }

 private:
  static constexpr int kSpins = 300, kYields = 40;
  alignas(64) std::atomic<uint64_t> next_{0};  // phase << 32 | next chunk
  alignas(64) std::atomic<uint32_t> finished_{0};
  alignas(64) std::atomic<uint32_t> open_{0};
};

}  // namespace brim_cpu
