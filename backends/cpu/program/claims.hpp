// How a team goes through the phases of a program without meeting at barriers: members claim chunks of the current
// phase, and whoever finishes its last chunk does what lies between and opens the next phase.
//
// A phase's chunks are cut into lanes, one for each member. A member claims the chunks of its own lane first, so that
// from phase to phase it works on the same rows, which lie in its core's caches, and then what is left in the others'.
//
// Nobody waits for a member, only for chunks that were claimed. A member whose core another process has taken, and that
// holds no chunk, is simply not there for a while: the others go on and it joins whatever phase is open when it comes
// back. So that it holds none when it goes, a member gives its core away between two chunks, before its time slice ends
// (Turn). A member that finds nothing left to claim spins for about as long as a chunk takes, as on a shared core a
// yield or a short sleep costs a time slice of the others, then sleeps.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
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
    uint32_t phase, lane, chunk;  // of the lane
    bool none;                    // all chunks of the phase are claimed
  };

  explicit Claims(uint32_t team) : lanes_(std::min(team, kMostLanes)) {}

  uint32_t lanes() const { return lanes_; }

  // Lets members claim chunks of `phase`, a later one than the last opened. Called by one member at a time: before the
  // team starts, and by who finished a phase. What the caller wrote before is seen by all who claim.
  void open(uint32_t phase) {
    const uint64_t begin = static_cast<uint64_t>(phase) << 32;
    finished_.store(0, std::memory_order_relaxed);
    for (uint32_t lane = lanes_; --lane > 0;) next_[lane].chunk.store(begin, std::memory_order_release);
    // Before lane 0, which no phase leaves empty: afterwards a later phase may be open already, and open_ must not go
    // back.
    open_.store(phase, std::memory_order_release);
    next_[0].chunk.store(begin, std::memory_order_release);
    open_.notify_all();  // a system call only where somebody sleeps
  }

  // count(phase, lane): the chunks of a lane.
  template <class Count>
  Claim take(uint32_t member, Count&& count) {
    for (int looks = 0;; ++looks) {
      bool opening = false;  // lanes are in different phases
      uint32_t phase = 0;
      for (uint32_t i = 0; i < lanes_; ++i) {
        const uint32_t lane = (member + i) % lanes_;
        std::atomic<uint64_t>& next = next_[lane].chunk;
        uint64_t at = next.load(std::memory_order_acquire);
        const auto left = [&] { return static_cast<uint32_t>(at) < count(static_cast<uint32_t>(at >> 32), lane); };
        if (left()) {
          at = next.fetch_add(1, std::memory_order_acq_rel);
          if (left()) return {static_cast<uint32_t>(at >> 32), lane, static_cast<uint32_t>(at), false};
        }
        opening = opening || (i > 0 && at >> 32 != phase);
        phase = static_cast<uint32_t>(at >> 32);
      }
      if (!opening) return {phase, 0, 0, true};
      wait_a_little(looks);
    }
  }

  // After each claimed chunk of a phase of `chunks`: is the phase finished? True for one member, which then sees all
  // that the others wrote.
  bool finish_one(uint32_t chunks) { return finished_.fetch_add(1, std::memory_order_acq_rel) + 1 == chunks; }

  // Returns when another phase than this one is open.
  void await_next(uint32_t phase) const {
    for (int looks = 0; open_.load(std::memory_order_acquire) == phase; ++looks) {
      if (looks < kSpins) {
        pause_briefly();
      } else {
        open_.wait(phase, std::memory_order_acquire);
      }
    }
  }

 private:
  static constexpr int kSpins = 6000;         // some 0.1 ms
  static constexpr uint32_t kMostLanes = 32;  // more members share them

  static void wait_a_little(int looks) {
    if (looks < kSpins) {
      pause_briefly();
    } else {
      std::this_thread::yield();
    }
  }

  struct alignas(64) Next {
    std::atomic<uint64_t> chunk{0};  // phase << 32 | next chunk
  };
  const uint32_t lanes_;
  std::array<Next, kMostLanes> next_;
  alignas(64) std::atomic<uint32_t> finished_{0};
  alignas(64) std::atomic<uint32_t> open_{0};
};

// A member's use of its core. Every 1.5 ms, shorter than the time slices of the systems there are, it offers the core
// to whoever else wants it: on a core of its own that costs a system call that returns at once, while a member
// displaced in the middle of a chunk lets the whole team wait until it is back.
class Turn {
 public:
  void between_chunks() {
    if (Clock::now() < end_) return;
    std::this_thread::yield();
    end_ = Clock::now() + kLength;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::microseconds kLength{1500};
  Clock::time_point end_ = Clock::now() + kLength;
};

}  // namespace brim_cpu
