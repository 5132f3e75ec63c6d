// Where the members of a team meet: the last one to come does what lies between two phases, then lets the others go.
//
// A waiter spins for a few microseconds, about as long as a phase's ends lie apart on free cores, then yields at every
// look: where another process has taken a core, the member that everybody waits for gets it back at once.
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

class Barrier {
 public:
  // All `members` call this; `between` runs on the last of them, and what it wrote is seen by all.
  template <class F>
  void meet(uint32_t members, F&& between) {
    const uint32_t round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members) {
      arrived_.store(0, std::memory_order_relaxed);
      between();
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      if (spins < kSpins) {
        pause_briefly();
      } else {
        std::this_thread::yield();
      }
    }
  }

 private:
  static constexpr int kSpins = 200;
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> round_{0};
};

}  // namespace brim_cpu
