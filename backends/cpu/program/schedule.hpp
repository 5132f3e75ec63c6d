// From a list of steps in program order to phases: steps of one phase touch no memory that another of them writes, so
// the team works on all of them at once, and no step of a phase begins before the phase before it is finished.
//
// A step goes into the first phase after all steps before it that it conflicts with. Conflicts are judged by addresses,
// not by values: the host may give a dead value's storage to a later one.
//
// Steps that make row r of their output from row r of their inputs and nothing else first become chains where one uses
// another's rows: an addition, the norm behind it and the quantisation of its result go through the rows together, each
// row while it is in a first cache.
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

// Whether a range of a meets one of b.
bool meet(const Range* a, uint32_t n_a, const Range* b, uint32_t n_b);
bool conflict(const Touches& before, const Touches& after);

// What a step that works row by row touches.
struct RowOperand {
  const Tensor* tensor;  // null where it is none
  Range range;           // all of its storage
  bool written;
};

struct PlannedStep {
  static constexpr uint32_t kMostOperands = 4;
  Step step;
  Touches touches;  // of the first of a chain: all that its steps touch
  uint32_t phase;
  uint32_t chained;    // steps of the chain that begins here; 0: a step of the chain before it
  const Tensor* rows;  // whose rows it goes through; null where it does not work row by row
  RowOperand operands[kMostOperands];
  uint32_t n_operands;

  void add(const RowOperand& operand) {
    operands[n_operands++] = operand;
    operand.written ? touches.add_write(operand.range) : touches.add_read(operand.range);
  }
};

// Moves steps that can be chained behind what they follow.
void chain_rows(Array<PlannedStep>& steps);

// Fills `phase` of every step; returns the number of phases.
uint32_t schedule(Array<PlannedStep>& steps);

}  // namespace brim_cpu
