// ROPE in two steps. Angles: cos and sin of every (token, pair), computed in F64 and rounded once, into a table that
// all layers with equal attributes and positions share. Rotation: each head's pairs by the table.
#pragma once

#include <algorithm>
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

namespace reference {

// Pair i's angle per position, factors[i] being 1 (ops.h, ROPE; the YaRN ramp of arXiv:2309.00071, section 3.2).
inline double rope_frequency(const brim_rope_attr& attr, bool yarn, uint32_t i) {
  const double n_rot = attr.n_rot, base = attr.base;
  const double plain = std::pow(base, -2.0 * i / n_rot);
  const double scaled = plain * attr.freq_scale;
  if (!yarn) return scaled;
  const auto turning = [&](double beta) {  // the pair that turns beta times within the original context
    return n_rot * std::log(attr.n_ctx_orig / (beta * 2 * 3.14159265358979323846)) / (2 * std::log(base));
  };
  const double low = std::clamp(std::floor(turning(attr.beta_fast)), 0.0, n_rot - 1);
  const double high = std::clamp(std::ceil(turning(attr.beta_slow)), 0.0, n_rot - 1);
  const double ramp = std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
  const double mix = attr.ext_factor * (1 - ramp);
  return scaled * (1 - mix) + plain * mix;
}

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
