// Fast numerics of matmul.cu for weights in blocks: products of bytes by tensor cores (mma.cuh), with x as signed bytes
// (quantise.cu) and the weights' codes (codes.cuh). For compute capability 8.0 and later.
//
// A block of 256 threads computes 128 outputs of kAcross rows of x, going along K by 128 weights. Codes of both lie in
// shared memory, a row of them in 128 bytes and 16 more, so that the eight rows that ldmatrix reads at once lie in
// other banks. Each of the eight warps has 32 outputs of kAcross / 2 rows. A product of 32 along K (16 where each run
// of 16 weights has its scale) is a whole number, which is scaled and added up in F32:
//
//   y += scale_w scale_x (code_w . code_x) - minimum_w (scale_x sum of code_x)
//
// Per step along K and block, with kAcross 64: 128 x 128 codes, 16 KiB of shared memory (18 with padding) made of 8 to
// 17 KiB of weights; 64 x 128 codes of x, 8 KiB (9); scales and minima of the weights, at most 8 KiB, and 2 KiB of x's:
// 37 KiB at most, so that two blocks find room on a processor with 100 KiB, which is what __launch_bounds__ asks for
// (65536 registers / 512 threads = 128). 1 Mi products are 256 mma of 4096, 16 cycles each of one of a processor's four
// tensor cores where that does 256 products of bytes a cycle: 1024 cycles. To scale them takes 12 instructions (16 with
// minima) of each warp for an mma, 768 to 1024 issue slots of each of the four schedulers; to make codes of weights,
// which all kAcross rows share, some 80 for 32 weights, 320; so issue is what bounds it, at a good half of the tensor
// cores' rate, and a wider tile saves little. One block multiplies while another waits for its loads: nothing is
// prefetched within a block but x, whose copies are under way while weights are unpacked.
//
// Names: matmul_dot_FORMAT_ACROSS.
#include "codes.cuh"
#include "mma.cuh"

namespace brim_gpu {

constexpr uint kDepth = 128, kBlocks = kDepth / 32;
static_assert(kDepth + 16 == kStride);

// Of 1.5 x 2^23 and 2^22 more in either direction the last bit of a float counts ones: a whole number added to these
// bits makes the float that is greater by it. Sums of 32 products of bytes stay below 2^20.
constexpr int kMagicBits = 0x4b400000;
constexpr float kMagic = 12582912.0f;
__device__ __forceinline__ float whole_above(int bits) { return __int_as_float(bits) - kMagic; }

template <uint kFormat, uint kAcross>
struct Tiles {
  static constexpr uint kScales = scales_runs(kFormat) ? 2 * kBlocks : kBlocks;  // of a row of weights
  static constexpr uint kMinima = !has_minimum(kFormat, true) ? 0 : kFormat == kQ2_K ? 2 * kBlocks : kBlocks;
  alignas(16) uint8_t w[kOutputs * kStride];
  alignas(16) uint8_t x[kAcross * kStride];
  alignas(16) float2 x_scale[kBlocks * kAcross];  // [block][row]: scale, sum
  float scale[kScales * kOutputs];                // [run or block][output]
  float minimum[kMinima == 0 ? 1 : kMinima * kOutputs];
};

template <uint kFormat, uint kAcross>
__device__ __forceinline__ void fill(Tiles<kFormat, kAcross>& tiles, const ProductArguments& a, uint first, uint row,
                                     uint rows, uint depth, uint blocks) {
  using T = Tiles<kFormat, kAcross>;
  const uint me = threadIdx.x;
  // Rows and outputs that are not there are the last one again: what is made of them is not stored.
  for (uint i = me; i < kAcross * (kDepth / 16); i += 256) {
    const uint r = min(row + i / (kDepth / 16), rows - 1), part = i % (kDepth / 16);
    if (part >= 2 * blocks) continue;
    const uint64_t at = r / a.inner * a.x_outer + r % a.inner * a.x_inner;
    copy_async<16>(tiles.x + i / (kDepth / 16) * kStride + 16 * part, a.x + at + depth + 16 * part);
  }
  for (uint i = me; i < kAcross * kBlocks; i += 256) {
    const uint r = min(row + i / kBlocks, rows - 1), block = i % kBlocks;
    if (block >= blocks) continue;
    const uint64_t at = r / a.inner * a.x_outer + r % a.inner * a.x_inner;
    copy_async<8>(tiles.x_scale + block * kAcross + i / kBlocks, a.x + a.x_scales + (at + depth) / 32 * 8 + 8 * block);
  }
  // Two units at once, where registers suffice.
#pragma unroll(scales_runs(kFormat) ? 1 : 2)
  for (uint i = me; i < kOutputs * kBlocks; i += 256) {
    const uint output = i / kBlocks, u = i % kBlocks;
    if (u >= blocks) continue;
    const uint64_t w = a.w + uint64_t{min(first + output, a.n - 1)} * a.row_bytes;
    const Unit unit = load_unit<kFormat, true>(w, depth / 32 + u);
    const Place place = unit_place<kFormat>(u);
#pragma unroll
    for (uint half = 0; half < 2; ++half) {
      *reinterpret_cast<uint4*>(tiles.w + output * kStride + 16 * place.run[half]) = unit.code[half];
      if (scales_runs(kFormat)) tiles.scale[place.run[half] * kOutputs + output] = unit.scale[half];
      if (kFormat == kQ2_K) tiles.minimum[place.run[half] * kOutputs + output] = unit.minimum[half];
    }
    if (!scales_runs(kFormat))
      tiles.scale[place.block() * kOutputs + output] = place.half == 0 ? unit.scale[0] : unit.scale[1];
    if (T::kMinima == kBlocks) tiles.minimum[place.block() * kOutputs + output] = unit.minimum[0];
  }
  wait_for_copies();
}

template <uint kFormat, uint kAcross>
__device__ void matmul_dot(const ProductArguments& a, Step step) {
  using T = Tiles<kFormat, kAcross>;
  constexpr uint kColumns = WarpTile<kAcross>::kColumns;
  constexpr uint kOnes = 0x01010101u;
  __shared__ T tiles;
  const WarpTile<kAcross> warp(tiles.w, tiles.x);
  const uint rows = step.size(a.outer) * a.inner;
  warp.each_tile(a, rows, [&](uint first, uint row, float(&sum)[2][kColumns][4]) {
    for (uint depth = 0; depth < a.k; depth += kDepth) {
      const uint blocks = min(kBlocks, (a.k - depth) / 32);
      __syncthreads();
      fill(tiles, a, first, row, rows, depth, blocks);
      __syncthreads();
#pragma unroll 1
      for (uint block = 0; block < blocks; ++block) {
        uint w[2][4], x[4];
        load_matrices(w[0], warp.w_at + 32 * block);
        load_matrices(w[1], warp.w_at + 32 * block + 16 * kStride);
        constexpr uint kParts = scales_runs(kFormat) ? 2 : 1;
#pragma unroll
        for (uint part = 0; part < kParts; ++part) {
          float scale[4], minimum[4];  // of this lane's two rows of both products of 16 outputs
#pragma unroll
          for (uint i = 0; i < 4; ++i) {
            const uint at = (kParts * block + part) * kOutputs + warp.outputs + warp.group + 8 * i;
            scale[i] = tiles.scale[at];
            if (T::kMinima != 0) minimum[i] = tiles.minimum[at];
          }
#pragma unroll
          for (uint column = 0; column < kColumns; ++column) {
            // Two halves of 32 along K of eight rows, then of the next eight.
            if (column % 2 == 0) load_matrices(x, warp.x_at + 32 * block + 8 * column * kStride);
            const uint low = x[column % 2 * 2], high = x[column % 2 * 2 + 1];
            const float4 xs = *reinterpret_cast<const float4*>(tiles.x_scale + block * kAcross + warp.rows +
                                                               8 * column + 2 * warp.member);
            const float x_scale[2] = {xs.x, xs.z}, x_sum[2] = {xs.y, xs.w};
            int codes[4] = {kMagicBits, kMagicBits, kMagicBits, kMagicBits};  // the sum of x's codes, of Q2_K
            if (kFormat == kQ2_K) multiply_bytes_16(codes, kOnes, kOnes, part == 0 ? low : high);
#pragma unroll
            for (uint r = 0; r < 2; ++r) {
              int dot[4] = {kMagicBits, kMagicBits, kMagicBits, kMagicBits};
              if constexpr (kParts == 1) {
                multiply_bytes_32(dot, w[r], low, high);
              } else {
                multiply_bytes_16(dot, w[r][2 * part], w[r][2 * part + 1], part == 0 ? low : high);
              }
#pragma unroll
              for (uint i = 0; i < 4; ++i) {
                float& y = sum[r][column][i];
                y += scale[2 * r + i / 2] * (x_scale[i % 2] * whole_above(dot[i]));
                if constexpr (kFormat == kQ2_K) {
                  y -= minimum[2 * r + i / 2] * (x_scale[i % 2] * whole_above(codes[i % 2]));
                } else if constexpr (T::kMinima != 0) {
                  y -= minimum[2 * r + i / 2] * x_sum[i % 2];
                }
              }
            }
          }
        }
      }
    }
  });
}

}  // namespace brim_gpu

// Q2_K, with a scale and a minimum for each run, would spill if two blocks shared the registers.
#define BRIM_INSTANCE(format)                                                                       \
  BRIM_BOUNDED_KERNEL(matmul_dot_##format##_32, (256, 2), ProductArguments, matmul_dot<format, 32>) \
  BRIM_BOUNDED_KERNEL(matmul_dot_##format##_64, (256, format == 40 ? 1 : 2), ProductArguments, matmul_dot<format, 64>)
BRIM_EACH_BLOCK_FORMAT(BRIM_INSTANCE)
