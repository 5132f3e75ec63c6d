// UNARY and AFFINE_CLAMP: one input, one output of its shape, element by element; the output may take the input's
// storage.
#pragma once

#include <cmath>

#include "brim/ops.h"
#include "ops/tensor.hpp"

namespace brim_cpu {

struct UnaryArgs {
  Tensor x, out;
  uint32_t kind;  // BRIM_UNARY_*
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

struct AffineArgs {
  Tensor x, out;
  float scale, bias, lo, hi;
  float cap;  // 0: no soft cap
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

bool knows_unary(uint32_t kind);

namespace reference {

inline double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

inline double unary(uint32_t kind, double x) {
  switch (kind) {
    case BRIM_UNARY_NEG:
      return -x;
    case BRIM_UNARY_ABS:
      return std::fabs(x);
    case BRIM_UNARY_SQRT:
      return std::sqrt(x);
    case BRIM_UNARY_RSQRT:
      return 1 / std::sqrt(x);
    case BRIM_UNARY_EXP:
      return std::exp(x);
    case BRIM_UNARY_LOG:
      return std::log(x);
    case BRIM_UNARY_SIN:
      return std::sin(x);
    case BRIM_UNARY_COS:
      return std::cos(x);
    case BRIM_UNARY_TANH:
      return std::tanh(x);
    case BRIM_UNARY_SIGMOID:
      return sigmoid(x);
    case BRIM_UNARY_SILU:
      return x * sigmoid(x);
    case BRIM_UNARY_GELU:
      return 0.5 * x * std::erfc(-x * 0.70710678118654752440);
    case BRIM_UNARY_GELU_TANH:
      return x * sigmoid(2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x));
    case BRIM_UNARY_GELU_QUICK:
      return x * sigmoid(1.702 * x);
    case BRIM_UNARY_RELU:
      return x < 0 ? 0 : x;
    case BRIM_UNARY_RELU_SQUARED:
      return x < 0 ? 0 : x * x;
    case BRIM_UNARY_SOFTPLUS:
      return (x < 0 ? 0 : x) + std::log1p(std::exp(-std::fabs(x)));
    case BRIM_UNARY_FLOOR:
      return std::floor(x);
    default:
      return std::nan("");
  }
}

inline double affine_clamp(double x, const brim_affine_attr& attr, bool softcap) {
  double y = attr.scale * x + attr.bias;
  if (softcap) y = attr.cap * std::tanh(y / attr.cap);
  y = y < attr.lo ? attr.lo : y;
  return y > attr.hi ? attr.hi : y;
}

}  // namespace reference
}  // namespace brim_cpu
