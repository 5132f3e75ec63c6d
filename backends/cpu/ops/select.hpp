// ARGMAX and TOPK over the rows of a matrix. NaN counts as smallest; of equal values the lower index comes first.
#pragma once

#include "ops/tensor.hpp"

namespace brim_cpu {

struct ArgmaxArgs {
  Tensor x, index;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

struct TopkArgs {
  Tensor x, values, index;
  uint32_t k;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

// Does (a, index i) come before (b, index j)? The order that both ops follow.
inline bool ranks_before(float a, int32_t i, float b, int32_t j) {
  const bool a_nan = a != a, b_nan = b != b;
  if (a_nan != b_nan) return b_nan;
  if (a_nan || a == b) return i < j;
  return a > b;
}

}  // namespace brim_cpu
