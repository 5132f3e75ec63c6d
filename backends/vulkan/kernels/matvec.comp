// MATMUL of few rows, MATMUL by heads, GROUPED_MATMUL: each thread takes every so-manieth run of eight along K.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "matvec.glsl"
#include "weights.glsl"

void add_products(const ProductArguments a, uint64_t w, uint first, uint row, uint rows, inout float sum[kSums]) {
  const uint groups = (a.k + 7) / 8;
  const uint64_t x = address_of(a.x);
  for (uint g = gl_LocalInvocationIndex; g < groups; g += gl_WorkGroupSize.x) {
    float xs[8 * kColumns];
    [[unroll]] for (uint c = 0; c < kColumns; ++c) {
      Floats from = Floats(x + 4 * (x_offset(a, min(row + c, rows - 1)) + 8 * g));
      [[unroll]] for (uint i = 0; i < 8; ++i) xs[8 * c + i] = !kPlain || 8 * g + i < a.k ? from.at[i] : 0.0;
    }
    [[unroll]] for (uint r = 0; r < kRows; ++r) {
      float v[8];
      load_weights(w + uint64_t(min(first + r, a.n - 1)) * a.row_bytes, g, a.k, v);
      [[unroll]] for (uint c = 0; c < kColumns; ++c) {
        [[unroll]] for (uint i = 0; i < 8; ++i) sum[r * kColumns + c] += v[i] * xs[8 * c + i];
      }
    }
  }
}
