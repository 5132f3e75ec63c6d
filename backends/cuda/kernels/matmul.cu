// MATMUL of many rows: a block of 16 x 16 threads computes 64 outputs of 16 kTile rows of x. Tiles of 32 along K are
// dequantised into shared memory once and read by all; each thread adds up 4 x kTile results.
//
// Names: matmul_FORMAT_TILE.
#include "weights.cuh"

namespace brim_gpu {

template <uint kFormat, uint kTile>
__device__ void matmul(const ProductArguments& a, Step step) {
  constexpr uint kDepth = 32, kOutputs = 64, kAcross = 16 * kTile;
  // [k][output], one more so that neighbours along k lie in other banks.
  __shared__ float w_tile[kDepth * (kOutputs + 1)], x_tile[kDepth * (kAcross + 1)];
  const uint me = threadIdx.x, rows = step.size(a.outer) * a.inner;
  const uint mine = me % 16, my_row = me / 16;
  const uint64_t x = step.address_of(a.x);
  for (uint row = blockIdx.y * kAcross; row < rows; row += gridDim.y * kAcross) {
    for (uint first = blockIdx.x * kOutputs; first < a.n; first += gridDim.x * kOutputs) {
      float sum[4 * kTile];
#pragma unroll
      for (uint i = 0; i < 4 * kTile; ++i) sum[i] = 0;
      for (uint depth = 0; depth < a.k; depth += kDepth) {
        __syncthreads();
        {  // 64 rows of 4 runs of eight: one for each thread
          const uint target = me / 4, run = me % 4;
          float v[8] = {};
          if (first + target < a.n && depth + 8 * run < a.k) {
            load_weights<kFormat>(a.w + uint64_t{first + target} * a.row_bytes, depth / 8 + run, a.k, v);
          }
#pragma unroll
          for (uint i = 0; i < 8; ++i) w_tile[(8 * run + i) * (kOutputs + 1) + target] = v[i];
        }
        for (uint i = me; i < kAcross * kDepth; i += 256) {
          const uint r = row + i / kDepth, k = i % kDepth;
          float v = 0;
          if (r < rows && depth + k < a.k) {
            v = floats(x)[uint64_t{r / a.inner * a.x_outer + r % a.inner * a.x_inner} + depth + k];
          }
          x_tile[k * (kAcross + 1) + i / kDepth] = v;
        }
        __syncthreads();
        for (uint k = 0; k < kDepth; ++k) {
          float xs[kTile];
#pragma unroll
          for (uint c = 0; c < kTile; ++c) xs[c] = x_tile[k * (kAcross + 1) + my_row + 16 * c];
#pragma unroll
          for (uint r = 0; r < 4; ++r) {
            const float w = w_tile[k * (kOutputs + 1) + mine + 16 * r];
#pragma unroll
            for (uint c = 0; c < kTile; ++c) sum[r * kTile + c] += w * xs[c];
          }
        }
      }
#pragma unroll
      for (uint r = 0; r < 4; ++r) {
#pragma unroll
        for (uint c = 0; c < kTile; ++c) {
          const uint n = first + mine + 16 * r, to = row + my_row + 16 * c;
          if (n >= a.n || to >= rows) continue;
          store_product(a, to, n, sum[r * kTile + c] + (a.bias != 0 ? floats(a.bias)[n] : 0.0f));
        }
      }
    }
  }
}

}  // namespace brim_gpu

#define BRIM_INSTANCE(format)                                                \
  BRIM_KERNEL(matmul_##format##_1, 256, ProductArguments, matmul<format, 1>) \
  BRIM_KERNEL(matmul_##format##_2, 256, ProductArguments, matmul<format, 2>) \
  BRIM_KERNEL(matmul_##format##_4, 256, ProductArguments, matmul<format, 4>)
BRIM_EACH_FORMAT(BRIM_INSTANCE)
