// Prepared activation rows: F32 padded, or 8-bit in one of two block layouts.
//
// The 8-bit layouts carry the sums that offsets and minima of weights need, so that a weight's stored code can be
// multiplied as it is: dot(d * code - dmin, a) = d * dot(code, a) - dmin * sum(a).
// A block with a NaN or an Inf gets the scale NaN, so that it shows in every product.
#pragma once

#include <cstddef>
#include <cstdint>

#include "matmul/matmul.hpp"

namespace brim_cpu {

// The offset of weights' codes for which a flat activation holds what their products start at.
inline constexpr int kStartOffset = 128;

struct FlatActivation {  // 32 elements: x[i] ~ d * q[i], |q| <= 127
  float d;
  float sum;      // d times that of q
  int32_t start;  // -kStartOffset times that of q
  int8_t q[32];
};
static_assert(sizeof(FlatActivation) == 44);

struct SuperActivation {  // 256 elements: x[i] ~ d * q[i], |q| <= 127
  float d;
  int16_t sums[16];   // of q, per 16 elements
  int16_t sums32[8];  // the same per 32, for formats that have one scale for as many
  int8_t q[256];
};
static_assert(sizeof(SuperActivation) == 308);

size_t f32_activation_bytes(int64_t k);
size_t flat_activation_bytes(int64_t k);
size_t super_activation_bytes(int64_t k);
void prepare_f32(const float* x, void* prepared, int64_t k);
void prepare_flat(const float* x, void* prepared, int64_t k);
void prepare_super(const float* x, void* prepared, int64_t k);

}  // namespace brim_cpu
