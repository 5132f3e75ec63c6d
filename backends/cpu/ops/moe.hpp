// MOE_ROUTE and MOE_COMBINE: which experts a row goes to, and the weighted sum of what they gave.
#pragma once

#include "ops/tensor.hpp"

namespace brim_cpu {

struct RouteArgs {
  Tensor logits;         // [m, e]
  Tensor bias;           // [e]; data null where there is none
  Tensor weight, index;  // [m, k]
  uint32_t gate;         // BRIM_MOE_GATE_*
  uint32_t experts, k;
  uint32_t n_group, n_group_used;  // 1, 1: no groups
  bool normalise;
  float scale;
  // Per expert its score, the score that decides, and whether it may be chosen; per group what it is worth.
  uint64_t scratch_bytes() const { return (uint64_t{experts} * 3 + n_group * 2) * sizeof(float); }
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

struct CombineArgs {
  Tensor x;       // [m, k, n]
  Tensor weight;  // [m, k]
  Tensor out;     // [m, n]
  uint32_t k;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

}  // namespace brim_cpu
