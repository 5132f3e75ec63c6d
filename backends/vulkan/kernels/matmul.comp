// MATMUL of many rows: a work group of 16 x 16 threads computes 64 outputs of 16 kTile rows of x. Tiles of 32 along K
// are dequantised into shared memory once and read by all; each thread adds up 4 x kTile results.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "weights.glsl"

layout(constant_id = 2) const uint kTile = 4;
ARGUMENTS(ProductArguments)

const uint kDepth = 32, kOutputs = 64, kAcross = 16 * kTile;
shared float w_tile[kDepth * (kOutputs + 1)];  // [k][output], one more so that neighbours along k lie in other banks
shared float x_tile[kDepth * (kAcross + 1)];

void main() {
  const ProductArguments a = arguments();
  const uint me = gl_LocalInvocationIndex, rows = size(a.outer) * a.inner;
  const uint mine = me % 16, my_row = me / 16;
  const uint64_t x = address_of(a.x);
  for (uint row = gl_WorkGroupID.y * kAcross; row < rows; row += gl_NumWorkGroups.y * kAcross) {
    for (uint first = gl_WorkGroupID.x * kOutputs; first < a.n; first += gl_NumWorkGroups.x * kOutputs) {
      float sum[4 * kTile];
      [[unroll]] for (uint i = 0; i < 4 * kTile; ++i) sum[i] = 0.0;
      for (uint depth = 0; depth < a.k; depth += kDepth) {
        barrier();
        {  // 64 rows of 4 runs of eight: one for each thread
          const uint target = me / 4, run = me % 4;
          float v[8];
          if (first + target < a.n && depth + 8 * run < a.k) {
            load_weights(a.w + uint64_t(first + target) * a.row_bytes, depth / 8 + run, a.k, v);
          } else {
            [[unroll]] for (uint i = 0; i < 8; ++i) v[i] = 0.0;
          }
          [[unroll]] for (uint i = 0; i < 8; ++i) w_tile[(8 * run + i) * (kOutputs + 1) + target] = v[i];
        }
        for (uint i = me; i < kAcross * kDepth; i += 256) {
          const uint r = row + i / kDepth, k = i % kDepth;
          float v = 0.0;
          if (r < rows && depth + k < a.k) {
            v = Floats(x + 4 * uint64_t(r / a.inner * a.x_outer + r % a.inner * a.x_inner)).at[depth + k];
          }
          x_tile[k * (kAcross + 1) + i / kDepth] = v;
        }
        barrier();
        for (uint k = 0; k < kDepth; ++k) {
          float xs[kTile];
          [[unroll]] for (uint c = 0; c < kTile; ++c) xs[c] = x_tile[k * (kAcross + 1) + my_row + 16 * c];
          [[unroll]] for (uint r = 0; r < 4; ++r) {
            const float w = w_tile[k * (kOutputs + 1) + mine + 16 * r];
            [[unroll]] for (uint c = 0; c < kTile; ++c) sum[r * kTile + c] += w * xs[c];
          }
        }
      }
      [[unroll]] for (uint r = 0; r < 4; ++r) {
        [[unroll]] for (uint c = 0; c < kTile; ++c) {
          const uint n = first + mine + 16 * r, to = row + my_row + 16 * c;
          if (n >= a.n || to >= rows) continue;
          Floats(a.result + 4 * uint64_t(to) * a.result_row).at[n] =
              sum[r * kTile + c] + (a.bias != 0 ? Floats(a.bias).at[n] : 0.0);
        }
      }
    }
  }
}
