// Products of small matrices by the tensor cores of compute capability 8.0 and later, in PTX: A is 16 x K by rows, B is
// K x 8 by columns, both with neighbours along K next to each other in memory, so that ldmatrix brings either.
//
// In a fragment lane 4 g + t has of A rows g and g + 8, of B column g, and of C rows g and g + 8 of columns 2 t and
// 2 t + 1.
#pragma once

#include "common.cuh"

namespace brim_gpu {

// Two F16 in a word, the first in the low half.
__device__ __forceinline__ uint halves_of(float low, float high) {
  uint both;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}
// F16 has no more than 65504; what is beyond it is taken as that, infinity too. NaN stays.
__device__ __forceinline__ uint two_halves(float low, float high) {
  const auto within = [](float v) { return fabsf(v) > 65504.0f ? copysignf(65504.0f, v) : v; };
  return halves_of(within(low), within(high));
}

__device__ __forceinline__ uint shared_address(const void* p) { return static_cast<uint>(__cvta_generic_to_shared(p)); }

// Four matrices of 8 rows of 16 bytes; lanes 8 i to 8 i + 7 point at the rows of matrix i.
__device__ __forceinline__ void load_matrices(uint (&v)[4], uint address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
               : "r"(address)
               : "memory");
}

// The same, each matrix transposed, its elements of 2 bytes: B of which neighbours along N lie next to each other.
__device__ __forceinline__ void load_matrices_transposed(uint (&v)[4], uint address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
               : "r"(address)
               : "memory");
}

// c += a b of signed bytes, K = 32.
__device__ __forceinline__ void multiply_bytes_32(int (&c)[4], const uint (&a)[4], uint b0, uint b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The same, K = 16.
__device__ __forceinline__ void multiply_bytes_16(int (&c)[4], uint a0, uint a1, uint b) {
  asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(b));
}

// The same of F16 (kBfloat: BF16), K = 16, added up in F32.
template <bool kBfloat>
__device__ __forceinline__ void multiply_halves(float (&c)[4], const uint (&a)[4], uint b0, uint b1) {
  if constexpr (kBfloat) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// Eight neighbouring F32; `aligned`: at a multiple of 16 bytes.
struct EightFloats {
  float4 low, high;
  __device__ __forceinline__ EightFloats(const float* from, bool aligned) {
    if (aligned) {
      low = reinterpret_cast<const float4*>(from)[0];
      high = reinterpret_cast<const float4*>(from)[1];
    } else {
      low = {from[0], from[1], from[2], from[3]};
      high = {from[4], from[5], from[6], from[7]};
    }
  }
  __device__ __forceinline__ uint4 halves() const {
    return {two_halves(low.x, low.y), two_halves(low.z, low.w), two_halves(high.x, high.y), two_halves(high.z, high.w)};
  }
};

// 8 or 16 bytes from global to shared memory, past the registers. What a thread copied is there when it has waited.
template <uint kBytes>
__device__ __forceinline__ void copy_async(void* to, uint64_t from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(shared_address(to)), "l"(from), "n"(kBytes)
               : "memory");
}
__device__ __forceinline__ void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// What a block of 256 threads computes at once: 128 outputs of kAcross rows of x, tiles of both lying in shared memory,
// a row of 128 bytes in 16 more, so that the eight rows that ldmatrix reads at once lie in other banks. Each of the
// eight warps has 32 outputs of kAcross / 2 rows, which are two fragments of C by kColumns.
constexpr uint kOutputs = 128, kStride = 128 + 16;

template <uint kAcross>
struct WarpTile {
  static constexpr uint kColumns = kAcross / 16;
  static constexpr uint kDepth = (kStride - 16) / 2;  // of F16 and BF16, what a row of a tile goes along K
  uint group, member;                                 // of this lane
  uint outputs, rows;                                 // where the warp's begin
  // Where this lane points ldmatrix: of A the matrices are rows 0 to 7 and 8 to 15, then the same 16 bytes further on;
  // of B 16 bytes and the next, then the same of 8 rows further on.
  uint w_at, x_at;

  __device__ __forceinline__ WarpTile(const uint8_t* w, const uint8_t* x) {
    const uint lane = threadIdx.x % 32;
    group = lane / 4;
    member = lane % 4;
    outputs = threadIdx.x / 32 % 4 * 32;
    rows = threadIdx.x / 128 * (kAcross / 2);
    w_at = shared_address(w) + (outputs + lane % 16) * kStride + lane / 16 * 16;
    x_at = shared_address(x) + (rows + lane / 16 * 8 + lane % 8) * kStride + lane / 8 % 2 * 16;
  }

  // Goes through the tiles of the result that are the block's: multiply(output, row, sum) for the one that begins
  // there.
  template <class F>
  __device__ __forceinline__ void each_tile(const ProductArguments& a, uint rows_of_x, F&& multiply) const {
    for (uint row = blockIdx.y * kAcross; row < rows_of_x; row += gridDim.y * kAcross) {
      for (uint first = blockIdx.x * kOutputs; first < a.n; first += gridDim.x * kOutputs) {
        float sum[2][kColumns][4];
#pragma unroll
        for (uint i = 0; i < 8 * kColumns; ++i) sum[i / (4 * kColumns)][i / 4 % kColumns][i % 4] = 0;
        multiply(first, row, sum);
        store(sum, a, first, row, rows_of_x);
      }
    }
  }

  // sum += w x of the F16 (kBfloat: BF16) in the tiles; x is the sum of kTerms, whose tiles lie one behind another.
  template <bool kBfloat, uint kTerms>
  __device__ __forceinline__ void multiply_tiles(float (&sum)[2][kColumns][4]) const {
#pragma unroll
    for (uint k = 0; k < kDepth / 16; ++k) {
      uint w[2][4], x[4];
      load_matrices(w[0], w_at + 32 * k);
      load_matrices(w[1], w_at + 32 * k + 16 * kStride);
#pragma unroll
      for (uint i = 0; i < kTerms * kColumns; ++i) {
        const uint column = i % kColumns;
        if (i % 2 == 0) load_matrices(x, x_at + 32 * k + (i / kColumns * kAcross + 8 * column) * kStride);
#pragma unroll
        for (uint r = 0; r < 2; ++r) {
          multiply_halves<kBfloat>(sum[r][column], w[r], x[i % 2 * 2], x[i % 2 * 2 + 1]);
        }
      }
    }
  }

  // Of the tile that begins at output `first` of row `row`, what is inside of the result.
  __device__ __forceinline__ void store(const float (&sum)[2][kColumns][4], const ProductArguments& a, uint first,
                                        uint row, uint all_rows) const {
#pragma unroll
    for (uint r = 0; r < 2; ++r) {
#pragma unroll
      for (uint i = 0; i < 4 * kColumns; ++i) {
        const uint n = first + outputs + 16 * r + group + 8 * (i % 4 / 2);
        const uint to = row + rows + 8 * (i / 4) + 2 * member + i % 2;
        if (n >= a.n || to >= all_rows) continue;
        store_product(a, to, n, sum[r][i / 4][i % 4] + (a.bias != 0 ? floats(a.bias)[n] : 0.0f));
      }
    }
  }
};

}  // namespace brim_gpu
