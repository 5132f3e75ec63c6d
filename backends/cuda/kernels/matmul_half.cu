// Fast numerics of matmul.cu for weights in F16 and BF16: products of 16 along K by tensor cores (mma.cuh), added up in
// F32. For compute capability 8.0 and later, and rows of a multiple of 8 weights. Beside F16 x is rounded to it (11
// bits); BF16's 8 bits would be too few, so there x is the sum of two, which costs a second product.
//
// A block of 256 threads computes 128 outputs of kAcross rows of x, going along K by 64 weights; tiles, warps and the
// padding of rows are those of matmul_dot.cu, 128 bytes a row. Weights go past the registers by cp.async while x is
// rounded: 16 KiB of them and 16 KiB of x in F32 a step, for 512 Ki products (kAcross 64), which is 256 mma of 2048,
// 512 beside BF16; 27 KiB of shared memory, 36 beside BF16; 6 ldmatrix (8) for 8 mma (16) of a warp.
//
// Names: matmul_half_FORMAT_ACROSS.
#include "mma.cuh"
#include "weights.cuh"

namespace brim_gpu {

constexpr uint kDepth = 64;
static_assert(2 * kDepth + 16 == kStride);

// Two to a word, the first in the low half.
__device__ __forceinline__ uint two_bfloats(float low, float high) {
  uint both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}
// What is left of two values beside their BF16.
__device__ __forceinline__ uint two_rests(uint both, float low, float high) {
  return two_bfloats(low - __uint_as_float(both << 16), high - __uint_as_float(both & 0xffff0000u));
}

template <bool kBfloat, uint kAcross>
__device__ void matmul_half(const ProductArguments& a, Step step) {
  constexpr uint kColumns = WarpTile<kAcross>::kColumns;
  constexpr uint kTerms = kBfloat ? 2 : 1;  // of x
  __shared__ alignas(16) uint8_t w_tile[kOutputs * kStride], x_tile[kTerms * kAcross * kStride];
  const uint me = threadIdx.x;
  const WarpTile<kAcross> warp(w_tile, x_tile);
  const uint rows = step.size(a.outer) * a.inner;
  const uint64_t x = step.address_of(a.x);
  const bool aligned = ((x | 4ull * a.x_outer | 4ull * a.x_inner) & 15u) == 0;
  for (uint row = blockIdx.y * kAcross; row < rows; row += gridDim.y * kAcross) {
    for (uint first = blockIdx.x * kOutputs; first < a.n; first += gridDim.x * kOutputs) {
      float sum[2][kColumns][4];
      warp.clear(sum);
      for (uint depth = 0; depth < a.k; depth += kDepth) {
        __syncthreads();
        // Eight at once. Outputs and rows that are not there are the last one again; what lies past K is zero.
        for (uint i = me; i < kOutputs * (kDepth / 8); i += 256) {
          const uint output = i / (kDepth / 8), at = depth + i % (kDepth / 8) * 8;
          uint8_t* to = w_tile + output * kStride + i % (kDepth / 8) * 16;
          if (at < a.k) {
            copy_async<16>(to, a.w + uint64_t{min(first + output, a.n - 1)} * a.row_bytes + 2ull * at);
          } else {
            *reinterpret_cast<uint4*>(to) = {0, 0, 0, 0};
          }
        }
        for (uint i = me; i < kAcross * (kDepth / 8); i += 256) {
          const uint r = min(row + i / (kDepth / 8), rows - 1), at = depth + i % (kDepth / 8) * 8;
          uint4 v = {0, 0, 0, 0}, rest = {0, 0, 0, 0};
          if (at < a.k) {
            const float* from = floats(x) + (r / a.inner * a.x_outer + r % a.inner * a.x_inner) + at;
            float4 p, q;
            if (aligned) {
              p = reinterpret_cast<const float4*>(from)[0];
              q = reinterpret_cast<const float4*>(from)[1];
            } else {
              p = {from[0], from[1], from[2], from[3]};
              q = {from[4], from[5], from[6], from[7]};
            }
            if constexpr (kBfloat) {
              v = {two_bfloats(p.x, p.y), two_bfloats(p.z, p.w), two_bfloats(q.x, q.y), two_bfloats(q.z, q.w)};
              rest = {two_rests(v.x, p.x, p.y), two_rests(v.y, p.z, p.w), two_rests(v.z, q.x, q.y),
                      two_rests(v.w, q.z, q.w)};
            } else {
              v = {two_halves(p.x, p.y), two_halves(p.z, p.w), two_halves(q.x, q.y), two_halves(q.z, q.w)};
            }
          }
          uint8_t* to = x_tile + i / (kDepth / 8) * kStride + i % (kDepth / 8) * 16;
          *reinterpret_cast<uint4*>(to) = v;
          if constexpr (kBfloat) *reinterpret_cast<uint4*>(to + kAcross * kStride) = rest;
        }
        wait_for_copies();
        __syncthreads();
#pragma unroll
        for (uint k = 0; k < kDepth / 16; ++k) {
          uint w[2][4], v[4];
          load_matrices(w[0], warp.w_at + 32 * k);
          load_matrices(w[1], warp.w_at + 32 * k + 16 * kStride);
#pragma unroll
          for (uint i = 0; i < kTerms * kColumns; ++i) {
            const uint column = i % kColumns;
            if (i % 2 == 0) load_matrices(v, warp.x_at + 32 * k + (i / kColumns * kAcross + 8 * column) * kStride);
#pragma unroll
            for (uint r = 0; r < 2; ++r) {
              multiply_halves<kBfloat>(sum[r][column], w[r], v[i % 2 * 2], v[i % 2 * 2 + 1]);
            }
          }
        }
      }
      warp.store(sum, a, first, row, rows);
    }
  }
}

}  // namespace brim_gpu

BRIM_BOUNDED_KERNEL(matmul_half_2_32, (256, 2), ProductArguments, matmul_half<false, 32>)
BRIM_BOUNDED_KERNEL(matmul_half_2_64, (256, 2), ProductArguments, matmul_half<false, 64>)
BRIM_BOUNDED_KERNEL(matmul_half_3_32, (256, 2), ProductArguments, matmul_half<true, 32>)
BRIM_BOUNDED_KERNEL(matmul_half_3_64, (256, 2), ProductArguments, matmul_half<true, 64>)
