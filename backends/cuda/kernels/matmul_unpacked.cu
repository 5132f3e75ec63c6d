// Fast numerics of matmul.cu for weights in blocks, on processors whose tensor cores multiply F16 as fast as others do
// bytes: weights are unpacked to F16 as they come, x has been rounded to it (halve), and nothing is left
// to scale behind a product, which is what bounds matmul_dot.cu. F16 has 11 bits, so both lose less than bytes would.
// For compute capability 8.0 and later.
//
// A block of 256 threads computes 128 outputs of kAcross rows of x, going along K by 64 weights; tiles and warps are
// those of mma.cuh. Each thread unpacks 32 weights a step: codes to F16 by the byte that makes 1024 + code of them,
// then code * scale - minimum, two to an instruction. 1 Mi products (kAcross 128) are 512 mma of 2048, 192 ldmatrix,
// some 8 x 130 instructions to unpack and 8 x 50 to copy x: 550 issue slots of each of a processor's four schedulers
// beside 512 to 1024 cycles of its tensor cores. 18 KiB of shared memory for weights, 18 for x (kAcross 128): two
// blocks a processor, one of which multiplies while the other waits for memory. An H200 takes 2200 cycles for it: with
// four warps a scheduler, barriers and the 4 cycles that an ldmatrix takes of shared memory are not hidden. To ask for
// the next step's weights before a step multiplies did not help where two blocks share a processor.
//
// Names: matmul_unpacked_FORMAT_ACROSS, halve.
#include "codes.cuh"
#include "mma.cuh"

namespace brim_gpu {

__device__ __forceinline__ uint two_less(uint a, uint b) {
  uint y;
  asm("sub.f16x2 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b));
  return y;
}
__device__ __forceinline__ uint two_fused(uint a, uint b, uint c) {
  uint y;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(y) : "r"(a), "r"(b), "r"(c));
  return y;
}
__device__ __forceinline__ uint twice(float x) { return float_to_half(x) * 0x10001u; }

// Codes of a run that stand for themselves have no sign.
__host__ __device__ constexpr bool is_unsigned(uint format) { return has_minimum(format, true); }

// A run of 16 codes as F16, to 32 bytes of shared memory.
template <uint kFormat>
__device__ __forceinline__ void unpack_run(uint8_t* to, uint4 code, float scale, float minimum) {
  // 0x64 above a byte b makes the F16 1024 + b; of a signed byte b is 128 more.
  constexpr uint kFlip = is_unsigned(kFormat) ? 0 : 0x80808080u, kBase = is_unsigned(kFormat) ? 0x6400u : 0x6480u;
  const uint times = twice(scale), plus = twice(-minimum);
  const auto pair = [&](uint four, uint select) {
    return two_fused(two_less(__byte_perm(four ^ kFlip, 0x64646464u, select), kBase * 0x10001u), times, plus);
  };
  const auto low = [&](uint four) { return pair(four, 0x4140u); };
  const auto high = [&](uint four) { return pair(four, 0x4342u); };
  reinterpret_cast<uint4*>(to)[0] = {low(code.x), high(code.x), low(code.y), high(code.y)};
  reinterpret_cast<uint4*>(to)[1] = {low(code.z), high(code.z), low(code.w), high(code.w)};
}

template <uint kFormat, uint kAcross>
__device__ void matmul_unpacked(const ProductArguments& a, Step step) {
  using Warp = WarpTile<kAcross>;
  constexpr uint kDepth = Warp::kDepth;
  __shared__ alignas(16) uint8_t w_tile[kOutputs * kStride], x_tile[kAcross * kStride];
  const uint me = threadIdx.x;
  const Warp warp(w_tile, x_tile);
  const uint rows = step.size(a.outer) * a.inner;
  warp.each_tile(a, rows, [&](uint first, uint row, float(&sum)[2][Warp::kColumns][4]) {
    for (uint depth = 0; depth < a.k; depth += kDepth) {
      __syncthreads();
      // Outputs and rows that are not there are the last one again; K ends with a half of a step at most, and what
      // lies past it is zero.
      const bool half = depth + kDepth > a.k;
      for (uint i = me; i < kAcross * (kDepth / 8); i += 256) {
        const uint r = min(row + i / (kDepth / 8), rows - 1), part = i % (kDepth / 8);
        uint8_t* to = x_tile + i / (kDepth / 8) * kStride + 16 * part;
        if (half && part >= kDepth / 16) {
          *reinterpret_cast<uint4*>(to) = {0, 0, 0, 0};
        } else {
          copy_async<16>(to, a.x + 2 * (r / a.inner * a.x_outer + r % a.inner * a.x_inner + depth + 8ull * part));
        }
      }
      const uint output = me / 2, u = half ? 0 : me % 2;
      uint8_t* to = w_tile + output * kStride;
      const uint64_t w = a.w + uint64_t{min(first + output, a.n - 1)} * a.row_bytes;
      const Place place = neighbour_place<kFormat>(me % 2);
      const Unit unit = load_neighbours<kFormat>(w, depth / 32 + u);
#pragma unroll
      for (uint i = 0; i < 2; ++i) {
        unpack_run<kFormat>(to + 32 * place.run[i], unit.code[i], unit.scale[i], unit.minimum[i]);
      }
      wait_for_copies();
      __syncthreads();
      warp.template multiply_tiles<false, 1>(sum);
    }
  });
}

// Rows of F32 to F16, a thread eight values; those beyond F16 become its largest, NaN stays.
__device__ void halve(const QuantiseArguments& a, Step step) {
  const uint in_row = a.k / 8, total = step.size(a.outer) * a.inner * in_row;
  const uint64_t x = step.address_of(a.x);
  const bool aligned = ((x | 4ull * a.x_outer | 4ull * a.x_inner) & 15u) == 0;
  for (uint i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const uint row = i / in_row;
    const float* at = floats(x) + (row / a.inner * a.x_outer + row % a.inner * a.x_inner) + i % in_row * 8;
    pointer<uint4>(a.codes)[i] = EightFloats(at, aligned).halves();
  }
}

}  // namespace brim_gpu

BRIM_KERNEL(halve, 64, QuantiseArguments, halve)
#define BRIM_INSTANCE(format)                                                                                 \
  BRIM_BOUNDED_KERNEL(matmul_unpacked_##format##_64, (256, 2), ProductArguments, matmul_unpacked<format, 64>) \
  BRIM_BOUNDED_KERNEL(matmul_unpacked_##format##_128, (256, 2), ProductArguments, matmul_unpacked<format, 128>)
BRIM_EACH_BLOCK_FORMAT_BUT_MXFP4(BRIM_INSTANCE)
