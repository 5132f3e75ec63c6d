// BINARY and GLU: two inputs, element by element. A broadcast dimension of an input has stride 0; the output may take
// the storage of an input of its own shape.
#pragma once

#include <algorithm>

#include "ops/unary.hpp"

namespace brim_cpu {

struct BinaryArgs {
  Tensor a, b, out;
  uint32_t kind;  // BRIM_BINARY_*
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

struct GluArgs {
  Tensor gate, up, out;
  uint32_t kind;  // BRIM_GLU_*
  float alpha, limit;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

bool knows_binary(uint32_t kind);
bool knows_glu(uint32_t kind);

namespace reference {

inline double binary(uint32_t kind, double a, double b) {
  switch (kind) {
    case BRIM_BINARY_ADD:
      return a + b;
    case BRIM_BINARY_SUB:
      return a - b;
    case BRIM_BINARY_MUL:
      return a * b;
    case BRIM_BINARY_DIV:
      return a / b;
    case BRIM_BINARY_MAX:
      return a > b || a != a ? a : b;
    case BRIM_BINARY_MIN:
      return a < b || a != a ? a : b;
    case BRIM_BINARY_POW:
      return std::pow(a, b);
    default:
      return std::nan("");
  }
}

inline double glu(const brim_glu_attr& attr, double gate, double up) {
  switch (attr.kind) {
    case BRIM_GLU_SILU:
      return unary(BRIM_UNARY_SILU, gate) * up;
    case BRIM_GLU_GELU:
      return unary(BRIM_UNARY_GELU, gate) * up;
    case BRIM_GLU_GELU_TANH:
      return unary(BRIM_UNARY_GELU_TANH, gate) * up;
    case BRIM_GLU_RELU:
      return unary(BRIM_UNARY_RELU, gate) * up;
    case BRIM_GLU_SIGMOID:
      return sigmoid(gate) * up;
    case BRIM_GLU_SWIGLU_LIMIT: {
      const double g = gate > attr.limit ? attr.limit : gate;
      const double u = up > attr.limit ? attr.limit : up < -attr.limit ? -attr.limit : up;
      return g * sigmoid(attr.alpha * g) * (u + 1);
    }
    default:
      return std::nan("");
  }
}

}  // namespace reference
}  // namespace brim_cpu
