// How often a host hears of progress: brim.h promises at most about 20 calls a second.
#include <doctest/doctest.h>

#include <base/pace.hpp>

using brim::Pace;
using Clock = std::chrono::steady_clock;

TEST_CASE("a stage's first and last call are due, and between them some 20 a second") {
  Pace pace;
  const auto end = Clock::now() + std::chrono::milliseconds(220);
  int due = 0;
  uint64_t done = 0;
  for (; Clock::now() < end; ++done) due += pace.due(1, done, UINT64_MAX) ? 1 : 0;
  CHECK(done > 100);
  CHECK(due >= 1);
  CHECK(due <= 6);
  CHECK(pace.due(1, 9, 9));
  CHECK(pace.due(2, 0, 9));
}
