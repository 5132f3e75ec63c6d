// From a list of steps in program order to phases: steps of one phase touch no memory that another of them writes, so
// the team works on all of them at once, and no step of a phase begins before the phase before it is finished.
//
// A step goes into the first phase after all steps before it that it conflicts with. Conflicts are judged by addresses,
// not by values: the host may give a dead value's storage to a later one.
#pragma once

#include <cstdint>

#include "ops/tensor.hpp"
#include "plugin/memory.hpp"

namespace brim_cpu {

struct Range {
  uintptr_t begin, end;
};

struct Touches {
  static constexpr uint32_t kMost = 8;
  Range read[kMost], written[kMost];
  uint32_t n_read, n_written;

  void add_read(Range range) {
    if (range.begin < range.end && n_read < kMost) read[n_read++] = range;
  }
  void add_write(Range range) {
    if (range.begin < range.end && n_written < kMost) written[n_written++] = range;
  }
};

struct PlannedStep {
  Step step;
  Touches touches;
  uint32_t phase;
};

// Fills `phase` of every step; returns the number of phases.
uint32_t schedule(Array<PlannedStep>& steps);

}  // namespace brim_cpu
