// MATMUL of few rows, MATMUL by heads, GROUPED_MATMUL: a block computes four outputs of kColumns rows of x, each thread
// taking every so-manieth run of eight along K; then the threads' sums are added up.
//
// Names: matvec_FORMAT_COLUMNS.
#include "weights.cuh"

namespace brim_gpu {

constexpr uint kThreads = 64, kRows = 4;

template <uint kFormat, uint kColumns>
__device__ void matvec(const ProductArguments& a, Step step) {
  constexpr uint kSums = kRows * kColumns;
  __shared__ float partial[kThreads / 32 * kSums];
  const uint me = threadIdx.x, groups = (a.k + 7) / 8, rows = step.size(a.outer) * a.inner;
  const uint64_t x = step.address_of(a.x);
  for (uint row = blockIdx.y * kColumns; row < rows; row += gridDim.y * kColumns) {
    const Matrix matrix = matrix_of(a, step, row);
    if (!matrix.here) continue;
    for (uint first = blockIdx.x * kRows; first < a.n; first += gridDim.x * kRows) {
      float sum[kSums];
#pragma unroll
      for (uint i = 0; i < kSums; ++i) sum[i] = 0;
      for (uint g = matrix.outside ? groups : me; g < groups; g += kThreads) {
        float xs[8 * kColumns];
#pragma unroll
        for (uint c = 0; c < kColumns; ++c) {
          const uint r = min(row + c, rows - 1);
          const float* from = floats(x) + r / a.inner * a.x_outer + r % a.inner * a.x_inner + 8ull * g;
          if (!is_plain(kFormat) || 8 * g + 8 <= a.k) {
#pragma unroll
            for (uint i = 0; i < 8; ++i) xs[8 * c + i] = from[i];
          } else {
#pragma unroll
            for (uint i = 0; i < 8; ++i) xs[8 * c + i] = 8 * g + i < a.k ? from[i] : 0.0f;
          }
        }
#pragma unroll
        for (uint r = 0; r < kRows; ++r) {
          float v[8];
          load_weights<kFormat>(matrix.w + uint64_t{min(first + r, a.n - 1)} * a.row_bytes, g, a.k, v);
#pragma unroll
          for (uint c = 0; c < kColumns; ++c) {
#pragma unroll
            for (uint i = 0; i < 8; ++i) sum[r * kColumns + c] += v[i] * xs[8 * c + i];
          }
        }
      }
#pragma unroll
      for (uint i = 0; i < kSums; ++i) {
        for (int far = 16; far > 0; far /= 2) sum[i] += __shfl_xor_sync(~0u, sum[i], far);
        if (me % 32 == 0) partial[me / 32 * kSums + i] = sum[i];
      }
      __syncthreads();
      if (me < kSums) {
        const uint n = first + me / kColumns, r = row + me % kColumns;
        if (n < a.n && r < rows) {
          float y = 0;
          for (uint s = 0; s < kThreads / 32; ++s) y += partial[s * kSums + me];
          if (a.bias != 0 && !matrix.outside) y += floats(a.bias)[(a.index != 0 ? matrix.index * a.n : 0) + n];
          store_product(a, r, n, y);
        }
      }
      __syncthreads();
    }
  }
}

}  // namespace brim_gpu

// Four blocks leave a thread all registers that it can name; with fewer, one format or another spills.
#define BRIM_INSTANCE(format)                                                            \
  BRIM_BOUNDED_KERNEL(matvec_##format##_1, (64, 4), ProductArguments, matvec<format, 1>) \
  BRIM_BOUNDED_KERNEL(matvec_##format##_4, (64, 4), ProductArguments, matvec<format, 4>)
BRIM_EACH_FORMAT(BRIM_INSTANCE)
