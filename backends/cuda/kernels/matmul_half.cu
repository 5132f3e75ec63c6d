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
  using Warp = WarpTile<kAcross>;
  constexpr uint kDepth = Warp::kDepth, kTerms = kBfloat ? 2 : 1;  // of x
  __shared__ alignas(16) uint8_t w_tile[kOutputs * kStride], x_tile[kTerms * kAcross * kStride];
  const uint me = threadIdx.x;
  const Warp warp(w_tile, x_tile);
  const uint rows = step.size(a.outer) * a.inner;
  const uint64_t x = step.address_of(a.x);
  const bool aligned = ((x | 4ull * a.x_outer | 4ull * a.x_inner) & 15u) == 0;
  warp.each_tile(a, rows, [&](uint first, uint row, float(&sum)[2][Warp::kColumns][4]) {
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
          const EightFloats f(from, aligned);
          const float4 p = f.low, q = f.high;
          if constexpr (kBfloat) {
            v = {two_bfloats(p.x, p.y), two_bfloats(p.z, p.w), two_bfloats(q.x, q.y), two_bfloats(q.z, q.w)};
            rest = {two_rests(v.x, p.x, p.y), two_rests(v.y, p.z, p.w), two_rests(v.z, q.x, q.y),
                    two_rests(v.w, q.z, q.w)};
          } else {
            v = f.halves();
          }
        }
        uint8_t* to = x_tile + i / (kDepth / 8) * kStride + i % (kDepth / 8) * 16;
        *reinterpret_cast<uint4*>(to) = v;
        if constexpr (kBfloat) *reinterpret_cast<uint4*>(to + kAcross * kStride) = rest;
      }
      wait_for_copies();
      __syncthreads();
      warp.template multiply_tiles<kBfloat, kTerms>(sum);
    }
  });
}

}  // namespace brim_gpu

BRIM_BOUNDED_KERNEL(matmul_half_2_32, (256, 2), ProductArguments, matmul_half<false, 32>)
BRIM_BOUNDED_KERNEL(matmul_half_2_64, (256, 2), ProductArguments, matmul_half<false, 64>)
BRIM_BOUNDED_KERNEL(matmul_half_3_32, (256, 2), ProductArguments, matmul_half<true, 32>)
BRIM_BOUNDED_KERNEL(matmul_half_3_64, (256, 2), ProductArguments, matmul_half<true, 64>)
