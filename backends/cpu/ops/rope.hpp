// ROPE in two steps. Angles: cos and sin of every (token, pair), computed in F64 and rounded once, into a table that
// all layers with equal attributes and positions share. Rotation: each head's pairs by the table.
#pragma once

#include <cmath>

#include "brim/ops.h"
#include "ops/tensor.hpp"

namespace brim_cpu {

// Step 1. table [T, n_rot / 2, 2]: (cos, sin) * magnitude.
struct RopeAnglesArgs {
  Tensor position;          // i32 [T, C]; the first component counts
  const float* factors;     // [n_rot / 2] or null
  const double* frequency;  // [n_rot / 2]: what a position is multiplied with, before factors
  float* table;
  uint32_t pairs;
  double magnitude;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

// Step 2. The output may take the input's storage.
struct RopeArgs {
  Tensor x, out;  // [T, heads, d]
  const float* table;
  uint32_t n_rot;
  bool halves;  // pairs (i, i + n_rot / 2), else (2 i, 2 i + 1)
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

// Pair i's angle per position, factors[i] being 1 (ops.h, ROPE; the YaRN ramp of arXiv:2309.00071, section 3.2).
double rope_frequency(const brim_rope_attr& attr, bool yarn, uint32_t i);

namespace reference {

inline void rope(const float* x, const brim_rope_attr& attr, bool yarn, const float* factors, int32_t position,
                 int64_t d, double* out) {
  const uint32_t pairs = attr.n_rot / 2;
  for (int64_t i = 0; i < d; ++i) out[i] = x[i];
  for (uint32_t i = 0; i < pairs; ++i) {
    const double theta = position * rope_frequency(attr, yarn, i) / (factors == nullptr ? 1.0 : factors[i]);
    const double c = std::cos(theta) * attr.magnitude, s = std::sin(theta) * attr.magnitude;
    const uint32_t a = attr.pairing == BRIM_ROPE_HALVES ? i : 2 * i;
    const uint32_t b = attr.pairing == BRIM_ROPE_HALVES ? i + pairs : 2 * i + 1;
    out[a] = x[a] * c - x[b] * s;
    out[b] = x[a] * s + x[b] * c;
  }
}

}  // namespace reference
}  // namespace brim_cpu
