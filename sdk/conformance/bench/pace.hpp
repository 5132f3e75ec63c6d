// How long a test repeats itself: devices that take long to open or to run are held to as much of it as fits into its
// time.
#pragma once

#include <chrono>

namespace check {

class Pace {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

}  // namespace check
