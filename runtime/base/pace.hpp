// Keeps calls of a host's progress callback to the pace that brim.h promises: some 20 a second, and whatever the pace
// the first and the last of a stage.
#pragma once

#include <chrono>
#include <cstdint>

namespace brim {

class Pace {
 public:
  // Is it time for a call that says `done` of `total`?
  bool due(uint32_t stage, uint64_t done, uint64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (stage == stage_ && done < total && now < next_) return false;
    stage_ = stage;
    next_ = now + std::chrono::milliseconds(50);
    return true;
  }

 private:
  uint32_t stage_ = 0;  // none has this number
  std::chrono::steady_clock::time_point next_;
};

}  // namespace brim
