#include "program/schedule.hpp"

#include <algorithm>

namespace brim_cpu {

bool meet(const Range* a, uint32_t n_a, const Range* b, uint32_t n_b) {
  for (uint32_t i = 0; i < n_a; ++i) {
    for (uint32_t j = 0; j < n_b; ++j) {
      if (a[i].begin < b[j].end && b[j].begin < a[i].end) return true;
    }
  }
  return false;
}

bool conflict(const Touches& before, const Touches& after) {
  return meet(before.written, before.n_written, after.read, after.n_read) ||
         meet(before.read, before.n_read, after.written, after.n_written) ||
         meet(before.written, before.n_written, after.written, after.n_written);
}

uint32_t schedule(Array<PlannedStep>& steps) {
  uint32_t phases = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].chained == 0) {
      steps[i].phase = steps[i - 1].phase;
      continue;
    }
    steps[i].phase = 0;
    for (size_t j = 0; j < i; ++j) {
      if (steps[j].chained != 0 && steps[j].phase >= steps[i].phase && conflict(steps[j].touches, steps[i].touches)) {
        steps[i].phase = steps[j].phase + 1;
      }
    }
    phases = std::max(phases, steps[i].phase + 1);
  }
  return phases;
}

}  // namespace brim_cpu
