// RMS_NORM, L2_NORM, LAYER_NORM and SOFTMAX: reductions over the innermost dimension, one row at a time in one fixed
// order: lane i of an accumulator vector sums the elements whose index is i modulo the lanes, then lanes are folded in
// halves.
#pragma once

#include <cmath>
#include <limits>

#include "brim/ops.h"
#include "ops/tensor.hpp"

namespace brim_cpu {

struct RmsNormArgs {
  Tensor x, out;
  Tensor weight;  // data null where there is none
  float eps, weight_offset;
  bool l2;  // the sum of squares in place of their mean
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

struct LayerNormArgs {
  Tensor x, out;
  Tensor weight, bias;  // data null where there is none
  float eps, weight_offset;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

struct SoftmaxArgs {
  Tensor x, out;
  Tensor mask;  // of x's shape; data null where there is none
  float scale;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

namespace reference {

inline void rms_norm(const float* x, const float* weight, const brim_norm_attr& attr, int64_t n, double* out) {
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
  const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + attr.eps);
  for (int64_t i = 0; i < n; ++i) {
    out[i] = x[i] * scale * (weight == nullptr ? 1.0 : static_cast<double>(weight[i]) + attr.weight_offset);
  }
}

inline void softmax(const float* x, const float* mask, float scale, int64_t n, double* out) {
  double most = -std::numeric_limits<double>::infinity(), total = 0;
  for (int64_t i = 0; i < n; ++i) {
    out[i] = static_cast<double>(scale) * x[i] + (mask == nullptr ? 0.0 : mask[i]);
    most = out[i] > most ? out[i] : most;
  }
  for (int64_t i = 0; i < n; ++i) total += out[i] = std::exp(out[i] - most);
  for (int64_t i = 0; i < n; ++i) out[i] /= total;
}

}  // namespace reference
}  // namespace brim_cpu
