// Weights decoded exactly to F32, times F32 activations.
//
// Four rows of 256 k are decoded into a tile (4 KiB, in L1) and multiplied with every token of a token block, three
// tokens at a time: 12 independent FMA chains hide the latency of 4 cycles at two per cycle, and 7 loads feed 12
// FMAs. F32 weights are read where they are. Lanes run along K here: element i of a row goes to lane i % 8 of the one
// accumulator of (row, token), in the order of i; the eight lanes are added at the end (floats_sum). That order does
// not depend on tokens or rows. A row's ragged end is padded with zeros on both sides.
#include "matmul/strict.hpp"

#include <brim/types.h>

#include <algorithm>
#include <cstring>

#include "formats/rows.hpp"
#include "matmul/activation.hpp"
#include "matmul/lanes.hpp"

namespace brim_cpu {
namespace {

// The block shape of a dtype as constants (the C functions of types.h are not constexpr).
template <uint32_t Dtype>
constexpr size_t kBlockElements = 0;
template <uint32_t Dtype>
constexpr size_t kBlockBytes = 0;
#define BRIM_BLOCK(name, number, spelling, elements, bytes) \
  template <>                                               \
  constexpr size_t kBlockElements<number> = elements;       \
  template <>                                               \
  constexpr size_t kBlockBytes<number> = bytes;
BRIM_DTYPE_TABLE(BRIM_BLOCK)
#undef BRIM_BLOCK

constexpr int kRows = 4;
constexpr int kChunk = 256;
constexpr int kTokens = 48;  // 4 x 48 accumulators of 32 bytes: 6 KiB

// acc[t * kRows + r] += w[r] * a[t] over n elements, n a multiple of 8. Row r of w starts at w + r * w_stride floats,
// token t of a at a + t * a_stride floats.
template <int T>
BRIM_INLINE void accumulate(const float* w, size_t w_stride, const float* a, size_t a_stride, int n, Floats* acc) {
  Floats sum[kRows * T];
  unroll<kRows * T>([&](auto i) BRIM_INLINE_LAMBDA { sum[i] = acc[i]; });
  for (int i = 0; i < n; i += 8) {
    Floats x[T];
    unroll<T>([&](auto t) BRIM_INLINE_LAMBDA { x[t] = floats_load(a + static_cast<size_t>(t) * a_stride + i); });
    unroll<kRows>([&](auto r) BRIM_INLINE_LAMBDA {
      const Floats row = floats_load(w + static_cast<size_t>(r) * w_stride + i);
      unroll<T>([&](auto t) BRIM_INLINE_LAMBDA { sum[t * kRows + r] = floats_fma(row, x[t], sum[t * kRows + r]); });
    });
  }
  unroll<kRows * T>([&](auto i) BRIM_INLINE_LAMBDA { acc[i] = sum[i]; });
}

// All tokens of a block with the rows of a tile.
void accumulate_tile(const float* w, size_t w_stride, const float* a, size_t a_stride, int64_t tokens, int n,
                     Floats* acc) {
  int64_t t = 0;
  for (; t + 3 <= tokens; t += 3, a += 3 * a_stride) accumulate<3>(w, w_stride, a, a_stride, n, acc + t * kRows);
  for (; t < tokens; ++t, a += a_stride) accumulate<1>(w, w_stride, a, a_stride, n, acc + t * kRows);
}

template <uint32_t Dtype>
void multiply(const void* weights, size_t row_bytes, int64_t row_begin, int64_t row_end, const void* prepared,
              size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride, int64_t k) {
  const auto* matrix = static_cast<const uint8_t*>(weights);
  const size_t a_stride = prepared_stride / sizeof(float);
  constexpr size_t kFetch = kRows * kChunk * kBlockBytes<Dtype> / kBlockElements<Dtype>;
  for (int64_t begin = 0; begin < tokens; begin += kTokens) {
    const int64_t count = std::min<int64_t>(kTokens, tokens - begin);
    const float* activations = static_cast<const float*>(prepared) + static_cast<size_t>(begin) * a_stride;
    for (int64_t row = row_begin; row < row_end; row += kRows) {
      const int64_t live = std::min<int64_t>(kRows, row_end - row);
      Floats acc[kRows * kTokens];
      std::fill(acc, acc + count * kRows, floats_zero());
      // The next rows lie behind these; they are fetched in one straight stream meanwhile.
      const bool more = row + kRows < row_end;
      const uint8_t* next = matrix + static_cast<size_t>(more ? row + kRows : row) * row_bytes;
      for (int64_t i = 0; i < k; i += kChunk) {
        prefetch<kFetch>(next);
        next += more ? kFetch : 0;
        const int n = static_cast<int>(std::min<int64_t>(kChunk, k - i));
        const int padded = (n + 7) / 8 * 8;
        const uint8_t* p = matrix + static_cast<size_t>(row) * row_bytes +
                           static_cast<size_t>(i) / kBlockElements<Dtype> * kBlockBytes<Dtype>;
        if (Dtype == BRIM_DTYPE_F32 && n == padded && live == kRows && row_bytes % sizeof(float) == 0) {
          accumulate_tile(reinterpret_cast<const float*>(p), row_bytes / sizeof(float), activations + i, a_stride,
                          count, n, acc);
          continue;
        }
        float tile[kRows * kChunk];
        for (int64_t r = 0; r < kRows; ++r) {
          decode_row(Dtype, p + static_cast<size_t>(std::min(r, live - 1)) * row_bytes, tile + r * kChunk, n);
          std::fill(tile + r * kChunk + n, tile + r * kChunk + padded, 0.0f);
        }
        accumulate_tile(tile, kChunk, activations + i, a_stride, count, padded, acc);
      }
      for (int64_t t = 0; t < count; ++t) {
        for (int64_t r = 0; r < live; ++r) out[(begin + t) * out_stride + row + r] = floats_sum(acc[t * kRows + r]);
      }
    }
  }
}

template <uint32_t Dtype>
void reference(const void* weights, size_t row_bytes, int64_t row_begin, int64_t row_end, const void* prepared,
               size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride, int64_t k) {
  constexpr int64_t kBlock = kBlockElements<Dtype>;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = row_begin; r < row_end; ++r) {
      const uint8_t* p = static_cast<const uint8_t*>(weights) + static_cast<size_t>(r) * row_bytes;
      const float* a = static_cast<const float*>(prepared) + static_cast<size_t>(t) * (prepared_stride / sizeof(float));
      double acc = 0;
      for (int64_t i = 0; i < k; i += kBlock, p += kBlockBytes<Dtype>) {
        float block[kBlock];
        decode_row(Dtype, p, block, kBlock);
        for (int64_t j = 0; j < kBlock; ++j) acc += static_cast<double>(block[j]) * a[i + j];
      }
      out[t * out_stride + r] = static_cast<float>(acc);
    }
  }
}

template <uint32_t Dtype>
constexpr MatmulKernel entry() {
  return {Dtype, Activation::kF32, f32_activation_bytes, prepare_f32, multiply<Dtype>, reference<Dtype>};
}

constexpr MatmulKernel kKernels[] = {
    entry<BRIM_DTYPE_F32>(),  entry<BRIM_DTYPE_F16>(),    entry<BRIM_DTYPE_BF16>(),   entry<BRIM_DTYPE_Q4_0>(),
    entry<BRIM_DTYPE_Q4_1>(), entry<BRIM_DTYPE_Q5_0>(),   entry<BRIM_DTYPE_Q5_1>(),   entry<BRIM_DTYPE_Q8_0>(),
    entry<BRIM_DTYPE_Q2_K>(), entry<BRIM_DTYPE_Q3_K>(),   entry<BRIM_DTYPE_Q4_K>(),   entry<BRIM_DTYPE_Q5_K>(),
    entry<BRIM_DTYPE_Q6_K>(), entry<BRIM_DTYPE_IQ4_NL>(), entry<BRIM_DTYPE_IQ4_XS>(), entry<BRIM_DTYPE_MXFP4>(),
};

}  // namespace

const MatmulKernel* find_strict_matmul(uint32_t dtype) {
  for (const MatmulKernel& kernel : kKernels) {
    if (kernel.dtype == dtype) return &kernel;
  }
  return nullptr;
}

}  // namespace brim_cpu
