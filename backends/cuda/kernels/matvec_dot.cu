// Fast numerics of matvec.cu: x as signed bytes (quantise.cu), multiplied with the weights' codes (codes.cuh) by dot
// products of four bytes at a time. A warp computes two outputs of kColumns rows of x, each lane taking every 32nd unit
// along K, so that a warp's loads lie side by side and what is loaded of x serves two rows of weights; then lanes are
// added up by shuffles. Warps share nothing but the cache in which they find x.
//
// Names: matvec_dot_FORMAT_COLUMNS.
#include "codes.cuh"

namespace brim_gpu {

constexpr uint kThreads = 128, kRows = 2, kOutputs = kThreads / 32 * kRows;  // modules.hpp: kDotOutputs

__device__ __forceinline__ int dot_of_16(uint4 a, uint4 b) {
  return __dp4a(static_cast<int>(a.x), static_cast<int>(b.x),
                __dp4a(static_cast<int>(a.y), static_cast<int>(b.y),
                       __dp4a(static_cast<int>(a.z), static_cast<int>(b.z),
                              __dp4a(static_cast<int>(a.w), static_cast<int>(b.w), 0))));
}
__device__ __forceinline__ int sum_of_16(uint4 a) {
  constexpr uint kOnes = 0x01010101u;
  return dot_of_16(a, {kOnes, kOnes, kOnes, kOnes});
}

template <uint kFormat, uint kColumns>
__device__ void matvec_dot(const ProductArguments& a, Step step) {
  __shared__ float made[kOutputs * kColumns];
  const uint lane = threadIdx.x % 32, mine = threadIdx.x / 32 * kRows, rows = step.size(a.outer) * a.inner;
  for (uint row = blockIdx.y * kColumns; row < rows; row += gridDim.y * kColumns) {
    const Matrix matrix = matrix_of(a, step, row);
    if (!matrix.here) continue;
    for (uint block = blockIdx.x * kOutputs; block < a.n; block += gridDim.x * kOutputs) {
      const uint first = block + mine, n = block + threadIdx.x % kOutputs, r = row + threadIdx.x / kOutputs;
      const bool stores = threadIdx.x < kOutputs * kColumns && n < a.n && r < rows;
      // Of what this thread stores; of one row loaded while weights are.
      float bias = 0, added = 0;
      const auto load_terms = [&] {
        if (stores && a.bias != 0 && !matrix.outside) {
          bias = floats(a.bias)[(a.index != 0 ? matrix.index * a.n : 0) + n];
        }
        if (stores && a.add != 0) added = floats(a.add)[uint64_t{r} * a.add_row + n];
      };
      if (kColumns == 1) load_terms();
      float sum[kRows * kColumns];
#pragma unroll
      for (uint i = 0; i < kRows * kColumns; ++i) sum[i] = 0;
#pragma unroll(kColumns == 1 && kFormat != kIQ4_XS ? 2 : 1)
      for (uint u = matrix.outside ? a.k : lane; u < a.k / 32; u += 32) {
        const Place place = unit_place<kFormat>(u);
        Unit unit[kRows];
#pragma unroll
        for (uint r = 0; r < kRows; ++r) {
          unit[r] = load_unit<kFormat, false>(matrix.w + uint64_t{min(first + r, a.n - 1)} * a.row_bytes, u);
        }
#pragma unroll
        for (uint c = 0; c < kColumns; ++c) {
          const uint from = min(row + c, rows - 1);
          const uint64_t at = from / a.inner * a.x_outer + from % a.inner * a.x_inner;
          const uint4* codes = pointer<const uint4>(a.x + at);
          const float2* scales = pointer<const float2>(a.x + a.x_scales) + at / 32;
          const uint4 low = codes[place.run[0]], high = codes[place.run[1]];
          const float low_scale = scales[place.run[0] / 2].x, high_scale = scales[place.run[1] / 2].x;
#pragma unroll
          for (uint r = 0; r < kRows; ++r) {
            const Unit& v = unit[r];
            const int low_dot = dot_of_16(v.code[0], low), high_dot = dot_of_16(v.code[1], high);
            float y = 0;
            if constexpr (scales_runs(kFormat) || splits_bytes(kFormat)) {
              y = v.scale[0] * (low_scale * static_cast<float>(low_dot)) +
                  v.scale[1] * (high_scale * static_cast<float>(high_dot));
            } else {
              y = v.scale[0] * (low_scale * static_cast<float>(low_dot + high_dot));
            }
            if constexpr (kFormat == kQ2_K) {
              y -= v.minimum[0] * (low_scale * static_cast<float>(sum_of_16(low))) +
                   v.minimum[1] * (high_scale * static_cast<float>(sum_of_16(high)));
            } else if constexpr (has_minimum(kFormat, false)) {
              y -= v.minimum[0] * scales[place.block()].y;
            }
            sum[r * kColumns + c] += y;
          }
        }
      }
#pragma unroll
      for (uint i = 0; i < kRows * kColumns; ++i) {
        for (int far = 16; far > 0; far /= 2) sum[i] += __shfl_xor_sync(~0u, sum[i], far);
        if (lane == i) made[i % kColumns * kOutputs + mine + i / kColumns] = sum[i];
      }
      // Neighbours are stored at once: the result may lie in host memory, which takes a packet a store.
      __syncthreads();
      if (kColumns != 1) load_terms();
      if (stores) pointer<float>(a.result)[uint64_t{r} * a.result_row + n] = made[threadIdx.x] + bias + added;
      __syncthreads();
    }
  }
}

}  // namespace brim_gpu

// Three blocks leave a thread of four columns the registers that it wants; left to itself the assembler spills a few.
#define BRIM_INSTANCE(format)                                                        \
  BRIM_KERNEL(matvec_dot_##format##_1, 128, ProductArguments, matvec_dot<format, 1>) \
  BRIM_BOUNDED_KERNEL(matvec_dot_##format##_4, (128, 3), ProductArguments, matvec_dot<format, 4>)
BRIM_EACH_BLOCK_FORMAT(BRIM_INSTANCE)
