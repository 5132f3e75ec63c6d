// What a model does where others take the system's memory while it serves. KV is reserved when a model is loaded and
// touched as sequences grow; where the system has less by then than it had, it would run dry in the middle of a step,
// and some systems stand still there instead of refusing. So the engine looks every 100 ms that it works: below what
// plans leave to others, KV that no sequence holds gives its pages back; below the floor of the plan, steps that touch
// further blocks are refused. This class looks and judges; the engine acts. It allocates nothing, and knows the
// machine's reading only: a group's limit ends its processes by the kernel's own hand.
#pragma once

#include <chrono>
#include <functional>
#include <negotiator/plan.hpp>

namespace brim::engine {

class Watchdog {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Memory { kEnough, kShort, kDry };
  static constexpr auto kBetweenLooks = std::chrono::milliseconds(100);

  // `left`: bytes of the system's memory that can be had now, UINT64_MAX where nobody knows.
  Watchdog(const negotiator::Plan& plan, std::function<uint64_t()> left) : left_of_(std::move(left)) {
    if (plan.request.unsafe_overcommit) return;
    for (const negotiator::PoolCharge& c : plan.pools) {
      if (c.pool == 0) reserve_ = c.reserve, floor_ = c.floor;
    }
  }

  // Reads where the last reading is 100 ms old, or where `anew`.
  Memory look(Clock::time_point now, bool anew = false) {
    if (reserve_ == 0) return Memory::kEnough;
    if (anew || !looked_ || now - at_ >= kBetweenLooks) {
      left_ = left_of_();
      at_ = now;
      looked_ = true;
    }
    return left_ < floor_ ? Memory::kDry : left_ < reserve_ ? Memory::kShort : Memory::kEnough;
  }
  uint64_t left() const { return left_; }
  uint64_t floor() const { return floor_; }

 private:
  std::function<uint64_t()> left_of_;
  uint64_t reserve_ = 0, floor_ = 0, left_ = UINT64_MAX;
  Clock::time_point at_{};
  bool looked_ = false;
};

}  // namespace brim::engine
