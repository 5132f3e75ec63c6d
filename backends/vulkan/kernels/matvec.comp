// MATMUL of few rows, MATMUL by heads, GROUPED_MATMUL: a work group computes kRows outputs of kColumns rows of x, each
// thread taking every so-manieth run of eight along K; then the threads' sums are added up.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "weights.glsl"

layout(constant_id = 2) const uint kRows = 4;
layout(constant_id = 3) const uint kColumns = 1;
layout(constant_id = 4) const uint kMode = 0;
const uint kHeads = 1, kGrouped = 2;
ARGUMENTS(ProductArguments)

const uint kSums = kRows * kColumns;
shared float partial[gl_WorkGroupSize.x * kSums];

void main() {
  const ProductArguments a = arguments();
  const uint me = gl_LocalInvocationIndex, groups = (a.k + 7) / 8, rows = size(a.outer) * a.inner;
  const uint64_t x = address_of(a.x);
  for (uint row = gl_WorkGroupID.y * kColumns; row < rows; row += gl_NumWorkGroups.y * kColumns) {
    uint matrix = 0;
    if (kMode == kHeads) matrix = row % a.inner;
    if (kMode == kGrouped) {
      matrix = uint(Ints(address_of(a.index)).at[row / a.inner * a.index_outer + row % a.inner * a.index_inner]);
    }
    // Outside of all matrices a row is zeros, without the bias; the launch of the first piece sees to it.
    const bool outside = matrix >= a.matrices;
    if (outside ? a.first_matrix != 0 : matrix - a.first_matrix >= a.n_matrices) continue;
    const uint64_t w = a.w + uint64_t(outside ? 0 : matrix - a.first_matrix) * a.matrix_bytes;
    for (uint first = gl_WorkGroupID.x * kRows; first < a.n; first += gl_NumWorkGroups.x * kRows) {
      float sum[kSums];
      [[unroll]] for (uint i = 0; i < kSums; ++i) sum[i] = 0.0;
      for (uint g = outside ? groups : me; g < groups; g += gl_WorkGroupSize.x) {
        float xs[8 * kColumns];
        [[unroll]] for (uint c = 0; c < kColumns; ++c) {
          const uint r = min(row + c, rows - 1);
          Floats from = Floats(x + 4 * (uint64_t(r / a.inner * a.x_outer + r % a.inner * a.x_inner) + 8 * g));
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
      [[unroll]] for (uint i = 0; i < kSums; ++i) {
        const float part = subgroupAdd(sum[i]);
        if (subgroupElect()) partial[gl_SubgroupID * kSums + i] = part;
      }
      barrier();
      for (uint i = me; i < kSums; i += gl_WorkGroupSize.x) {
        const uint n = first + i / kColumns, r = row + i % kColumns;
        if (n >= a.n || r >= rows) continue;
        float y = 0.0;
        for (uint s = 0; s < gl_NumSubgroups; ++s) y += partial[s * kSums + i];
        if (a.bias != 0 && !outside) y += Floats(a.bias).at[(kMode == kGrouped ? matrix * a.n : 0) + n];
        Floats(a.result + 4 * uint64_t(r) * a.result_row).at[n] = y;
      }
      barrier();
    }
  }
}
