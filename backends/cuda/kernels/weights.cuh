// Eight neighbouring weights of a row as F32, in every stored format, exactly as the file means them: kFormat is the
// BRIM_DTYPE_*.
//
// In the flat formats a block has 32 weights and one scale, and elements j and j + 16 share a byte of the 4- and 5-bit
// ones. In the K formats a block has 256 weights in 16 groups with a scale each. A product and the subtraction of a
// minimum are rounded apart (__fmul_rn is never fused): fused, they would round otherwise than the format's definition.
#pragma once

#include "common.cuh"

namespace brim_gpu {

constexpr uint kF32 = 1, kF16 = 2, kBF16 = 3, kI32 = 7, kQ4_0 = 32, kQ4_1 = 33, kQ5_0 = 34, kQ5_1 = 35, kQ8_0 = 36,
               kQ2_K = 40, kQ3_K = 41, kQ4_K = 42, kQ5_K = 43, kQ6_K = 44, kIQ4_NL = 48, kIQ4_XS = 49, kMXFP4 = 64;

// X(format) for all of them.
#define BRIM_EACH_BLOCK_FORMAT_BUT_MXFP4(X) X(32) X(33) X(34) X(35) X(36) X(40) X(41) X(42) X(43) X(44) X(48) X(49)
#define BRIM_EACH_BLOCK_FORMAT(X) BRIM_EACH_BLOCK_FORMAT_BUT_MXFP4(X) X(64)
#define BRIM_EACH_FORMAT(X) X(1) X(2) X(3) BRIM_EACH_BLOCK_FORMAT(X)

__host__ __device__ constexpr bool is_plain(uint format) { return format <= kBF16; }  // rows of any length
__host__ __device__ constexpr uint block_weights(uint format) {
  return format >= kQ2_K && format != kIQ4_NL && format != kMXFP4 ? 256 : 32;
}
__host__ __device__ constexpr uint block_bytes(uint format) {
  switch (format) {
    case kQ4_0:
    case kIQ4_NL:
      return 18;
    case kQ4_1:
      return 20;
    case kQ5_0:
      return 22;
    case kQ5_1:
      return 24;
    case kQ8_0:
      return 34;
    case kQ2_K:
      return 84;
    case kQ3_K:
      return 110;
    case kQ4_K:
      return 144;
    case kQ5_K:
      return 176;
    case kQ6_K:
      return 210;
    case kIQ4_XS:
      return 136;
    default:
      return 17;  // MXFP4
  }
}

static __constant__ float kIq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
static __constant__ float kFp4Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct Eight {
  uint low, high;
  __device__ __forceinline__ uint byte(uint i) const { return (i < 4 ? low >> 8 * i : high >> (8 * i - 32)) & 255u; }
};
// At an even address.
__device__ __forceinline__ Eight eight(uint64_t a) { return {load32(a), load32(a + 4)}; }
__device__ __forceinline__ Eight eight_unaligned(uint64_t a) {
  Eight v{0, 0};
#pragma unroll
  for (uint i = 0; i < 4; ++i) {
    v.low |= load8(a + i) << 8 * i;
    v.high |= load8(a + 4 + i) << 8 * i;
  }
  return v;
}

__device__ __forceinline__ float signed_byte(uint byte) { return static_cast<float>(static_cast<int8_t>(byte)); }
__device__ __forceinline__ float whole(uint v) { return static_cast<float>(v); }

// Scale and minimum j of Q4_K and Q5_K: six bits each, packed into 12 bytes at s.
__device__ __forceinline__ uint2 packed_scale(uint64_t s, uint j) {
  if (j < 4) return {load8(s + j) & 63u, load8(s + j + 4) & 63u};
  const uint both = load8(s + j + 4);
  return {(both & 15u) | load8(s + j - 4) >> 6 << 4, both >> 4 | load8(s + j) >> 6 << 4};
}

// Weights 8 group .. 8 group + 7 of the row at `row`; those past its `k` read as 0.
template <uint kFormat>
__device__ void load_weights(uint64_t row, uint group, uint k, float (&v)[8]) {
  if constexpr (is_plain(kFormat)) {
    const auto weight = [&](uint at) {
      return kFormat == kF32   ? floats(row)[at]
             : kFormat == kF16 ? half_to_float(load16(row + 2ull * at))
                               : bfloat_to_float(load16(row + 2ull * at));
    };
    if (8 * group + 8 <= k) {
#pragma unroll
      for (uint i = 0; i < 8; ++i) v[i] = weight(8 * group + i);
    } else {
#pragma unroll
      for (uint i = 0; i < 8; ++i) v[i] = 8 * group + i < k ? weight(8 * group + i) : 0.0f;
    }
  } else if constexpr (kFormat == kQ8_0) {
    const uint64_t p = row + 34ull * (group / 4);
    const float d = half_to_float(load16(p));
    const Eight q = eight(p + 2 + 8 * (group % 4));
#pragma unroll
    for (uint i = 0; i < 8; ++i) v[i] = d * signed_byte(q.byte(i));
  } else if constexpr (block_weights(kFormat) == 32) {
    // Nibbles: run 0 and 1 of a block are the low ones, 2 and 3 the high ones of the same bytes.
    constexpr uint kBytes = block_bytes(kFormat);
    const uint run = group % 4, shift = 4 * (run / 2), at = 8 * (run % 2);
    const uint64_t p = row + uint64_t{kBytes} * (group / 4);
    if constexpr (kFormat == kMXFP4) {
      // The scale is half of 2^(e - 127), as the values are doubled; in two factors, of which none is subnormal.
      const uint e = load8(p), first = e >> 1;
      const float d = __uint_as_float((first + 64u) << 23) * __uint_as_float((e - first + 62u) << 23);
      const Eight q = eight_unaligned(p + 1 + at);
#pragma unroll
      for (uint i = 0; i < 8; ++i) v[i] = d * kFp4Doubled[q.byte(i) >> shift & 15u];
    } else {
      const float d = half_to_float(load16(p));
      const Eight q = eight(p + kBytes - 16 + at);
      constexpr bool kFifth = kFormat == kQ5_0 || kFormat == kQ5_1, kOffset = kFormat == kQ4_1 || kFormat == kQ5_1;
      const uint high = kFifth ? load32(p + (kOffset ? 4 : 2)) >> 8 * run : 0;
      const float m = kOffset ? half_to_float(load16(p + 2)) : 0.0f;
#pragma unroll
      for (uint i = 0; i < 8; ++i) {
        const uint nibble = q.byte(i) >> shift & 15u;
        if (kFormat == kIQ4_NL) {
          v[i] = d * kIq4[nibble];
        } else if (kFormat == kQ4_0) {
          v[i] = d * (whole(nibble) - 8.0f);
        } else {
          const float code = whole(nibble | (high >> i & 1u) << 4);
          v[i] = kOffset ? __fadd_rn(__fmul_rn(d, code), m) : d * (code - 16.0f);
        }
      }
    }
  } else {
    const uint inner = group % 32, half_block = inner / 16, run = inner / 4 % 4, at = 8 * (inner % 4), pair = inner / 2;
    const uint64_t p = row + uint64_t{block_bytes(kFormat)} * (group / 32);
    if constexpr (kFormat == kQ2_K) {
      const uint scale = load8(p + pair);
      const float d = half_to_float(load16(p + 80)) * whole(scale & 15u);
      const float m = half_to_float(load16(p + 82)) * whole(scale >> 4);
      const Eight q = eight(p + 16 + 32 * half_block + at);
#pragma unroll
      for (uint i = 0; i < 8; ++i) v[i] = __fsub_rn(__fmul_rn(d, whole(q.byte(i) >> 2 * run & 3u)), m);
    } else if constexpr (kFormat == kQ3_K) {
      const uint low = pair < 8 ? load8(p + 96 + pair) & 15u : load8(p + 88 + pair) >> 4;
      const uint high = load8(p + 104 + pair % 4) >> 2 * (pair / 4) & 3u;
      const float d = half_to_float(load16(p + 108)) * (whole(low | high << 4) - 32.0f);
      const Eight q = eight(p + 32 + 32 * half_block + at), top = eight(p + at);
#pragma unroll
      for (uint i = 0; i < 8; ++i) {
        const uint code = (q.byte(i) >> 2 * run & 3u) | (top.byte(i) >> (4 * half_block + run) & 1u) << 2;
        v[i] = d * (whole(code) - 4.0f);
      }
    } else if constexpr (kFormat == kQ4_K || kFormat == kQ5_K) {
      constexpr bool kFifth = kFormat == kQ5_K;
      const uint chunk = inner / 8, upper = run % 2;  // 64 weights share 32 bytes
      const uint2 scale = packed_scale(p + 4, inner / 4);
      const float d = half_to_float(load16(p)) * whole(scale.x);
      const float m = half_to_float(load16(p + 2)) * whole(scale.y);
      const Eight q = eight(p + (kFifth ? 48 : 16) + 32 * chunk + at), top = kFifth ? eight(p + 16 + at) : Eight{0, 0};
#pragma unroll
      for (uint i = 0; i < 8; ++i) {
        const uint high = top.byte(i) >> (2 * chunk + upper) & 1u;
        v[i] = __fsub_rn(__fmul_rn(d, whole((q.byte(i) >> 4 * upper & 15u) | high << 4)), m);
      }
    } else if constexpr (kFormat == kQ6_K) {
      const float d = half_to_float(load16(p + 208)) * signed_byte(load8(p + 192 + pair));
      const Eight q = eight(p + 64 * half_block + 32 * (run % 2) + at), top = eight(p + 128 + 32 * half_block + at);
#pragma unroll
      for (uint i = 0; i < 8; ++i) {
        const uint code = (q.byte(i) >> 4 * (run / 2) & 15u) | (top.byte(i) >> 2 * run & 3u) << 4;
        v[i] = d * (whole(code) - 32.0f);
      }
    } else {  // IQ4_XS
      const uint j = inner / 4, part = inner % 4;
      const uint scale = (load32(p + 4) >> 4 * j & 15u) | (load16(p + 2) >> 2 * j & 3u) << 4;
      const float d = half_to_float(load16(p)) * (whole(scale) - 32.0f);
      const Eight q = eight(p + 8 + 16 * j + 8 * (part % 2));
#pragma unroll
      for (uint i = 0; i < 8; ++i) v[i] = d * kIq4[q.byte(i) >> 4 * (part / 2) & 15u];
    }
  }
}

// The matrix that a row of x meets.
struct Matrix {
  uint index;
  bool outside;  // of all matrices: the row's results are zeros, without the bias; the launch of the first piece sees
                 // to it
  bool here;     // whether this launch sees to the row
  uint64_t w;
};
__device__ __forceinline__ Matrix matrix_of(const ProductArguments& a, Step step, uint row) {
  uint matrix = 0;
  if (a.index != 0) {
    matrix =
        pointer<const uint>(step.address_of(a.index))[row / a.inner * a.index_outer + row % a.inner * a.index_inner];
  } else if (a.matrices > 1) {
    matrix = row % a.inner;
  }
  const bool outside = matrix >= a.matrices;
  return {matrix, outside, outside ? a.first_matrix == 0 : matrix - a.first_matrix < a.n_matrices,
          a.w + uint64_t{outside ? 0 : matrix - a.first_matrix} * a.matrix_bytes};
}

}  // namespace brim_gpu
