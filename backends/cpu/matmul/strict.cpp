// Weights decoded exactly to F32, times F32 activations.
//
// Eight rows of 256 k are decoded into a tile (8 KiB, in L1) and multiplied with every token of a token block, four
// rows and three tokens at a time: 12 independent FMA chains hide the latency of 4 cycles at two per cycle, and 7 loads
// feed 12 FMAs. The activations of a token block come from L2, three tokens' at a time, once for eight rows. F32
// weights are read where they are, and so are 16-bit weights that meet few tokens, converted in registers. Lanes run
// along K here: element i of a row goes to lane i % 8 of the one accumulator of (row, token), in the order of i; the
// eight lanes are added at the end (floats_sum). That order does not depend on tokens or rows. A row's ragged end is
// padded with zeros on both sides.
#include "matmul/strict.hpp"

#include <brim/types.h>

#include <algorithm>
#include <cstring>

#include "formats/rows.hpp"
#include "matmul/activation.hpp"
#include "matmul/lanes.hpp"
#include "matmul/packed.hpp"

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

constexpr int kRows = 4;                  // in registers
constexpr int kQuads = 2, kTileRows = 8;  // of a tile
constexpr int kChunk = 256;
constexpr int kTokens = 48;  // 8 x 48 accumulators of 32 bytes: 12 KiB
constexpr int kFew = 3;      // tokens for which converting anew is cheaper than writing a tile

// Eight floats from element i of row r on, of the four rows of a quad: from a tile, or from the file's own rows, which
// are `stride` bytes apart.
struct TileRows {
  const float* at;
  BRIM_INLINE Floats load(int r, int i) const { return floats_load(at + r * kChunk + i); }
  TileRows quad(int q) const { return {at + q * kRows * kChunk}; }
};

template <uint32_t Dtype>
struct FileRows {
  static constexpr size_t kBytes = kBlockBytes<Dtype>;  // of an element
  const uint8_t* at;
  size_t stride;
  BRIM_INLINE Floats load(int r, int i) const {
    const uint8_t* p = at + static_cast<size_t>(r) * stride + static_cast<size_t>(i) * kBytes;
    if constexpr (Dtype == BRIM_DTYPE_F16) {
      return floats_load_half(p);
    } else if constexpr (Dtype == BRIM_DTYPE_BF16) {
      return floats_load_bfloat(p);
    } else {
      static_assert(Dtype == BRIM_DTYPE_F32);
      return floats_load(reinterpret_cast<const float*>(p));
    }
  }
  FileRows quad(int q) const { return {at + static_cast<size_t>(q * kRows) * stride, stride}; }
};
template <uint32_t Dtype>
constexpr bool kInPlace = Dtype == BRIM_DTYPE_F32 || Dtype == BRIM_DTYPE_F16 || Dtype == BRIM_DTYPE_BF16;

template <uint32_t Dtype>
constexpr bool kPacks = kBlockElements<Dtype> > 1 || Dtype == BRIM_DTYPE_BF16;

// acc[t * kRows + r] += w[r] * a[t] over n elements, n a multiple of 8. Token t of a at a + t * a_stride floats.
template <int T, class Weights>
BRIM_INLINE void accumulate(const Weights& w, const float* a, size_t a_stride, int n, Floats* acc) {
  Floats sum[kRows * T];
  unroll<kRows * T>([&](auto i) BRIM_INLINE_LAMBDA { sum[i] = acc[i]; });
  for (int i = 0; i < n; i += 8) {
    Floats x[T];
    unroll<T>([&](auto t) BRIM_INLINE_LAMBDA { x[t] = floats_load(a + static_cast<size_t>(t) * a_stride + i); });
    unroll<kRows>([&](auto r) BRIM_INLINE_LAMBDA {
      const Floats row = w.load(r, i);
      unroll<T>([&](auto t) BRIM_INLINE_LAMBDA { sum[t * kRows + r] = floats_fma(row, x[t], sum[t * kRows + r]); });
    });
  }
  unroll<kRows * T>([&](auto i) BRIM_INLINE_LAMBDA { acc[i] = sum[i]; });
}

// All tokens of a block with `quads` times four rows; acc[(quad * kTokens + t) * kRows + r].
template <class Weights>
void accumulate_tile(const Weights& w, int quads, const float* a, size_t a_stride, int64_t tokens, int n, Floats* acc) {
  int64_t t = 0;
  for (; t + 3 <= tokens; t += 3, a += 3 * a_stride) {
    for (int q = 0; q < quads; ++q) accumulate<3>(w.quad(q), a, a_stride, n, acc + (q * kTokens + t) * kRows);
  }
  for (; t < tokens; ++t, a += a_stride) {
    for (int q = 0; q < quads; ++q) accumulate<1>(w.quad(q), a, a_stride, n, acc + (q * kTokens + t) * kRows);
  }
}

// Where the rows of a tile are: `live`, at most kTileRows, from p on and `apart` rows from each other; or a packed
// group.
struct TileSource {
  const uint8_t* p;
  size_t row_bytes;
  int64_t apart, live;
  bool packed;
};

// Elements [first, first + n) of row r.
template <uint32_t Dtype>
void decode(const TileSource& from, int64_t r, int64_t first, int64_t n, float* to) {
  if (from.packed) {
    decode_packed_row(Dtype, from.p, from.row_bytes, r, first, n, to);
  } else {
    const size_t at = static_cast<size_t>(first) / kBlockElements<Dtype> * kBlockBytes<Dtype>;
    decode_row(Dtype, from.p + static_cast<size_t>(r * from.apart) * from.row_bytes + at, to, n);
  }
}

template <uint32_t Dtype>
void multiply_tile(const TileSource& from, const float* activations, size_t a_stride, int64_t tokens, float* out,
                   int64_t out_stride, int64_t k) {
  const int quads = from.live > kRows ? kQuads : 1;
  Floats acc[kTileRows * kTokens];
  for (int q = 0; q < quads; ++q) std::fill_n(acc + q * kTokens * kRows, tokens * kRows, floats_zero());
  for (int64_t i = 0; i < k; i += kChunk) {
    const int n = static_cast<int>(std::min<int64_t>(kChunk, k - i));
    const int padded = (n + 7) / 8 * 8;
    if constexpr (kInPlace<Dtype>) {
      const bool worth = tokens <= kFew || Dtype == BRIM_DTYPE_F32;
      if (worth && !from.packed && n == padded && from.live == quads * kRows) {
        const uint8_t* chunk = from.p + static_cast<size_t>(i) * kBlockBytes<Dtype>;
        accumulate_tile(FileRows<Dtype>{chunk, static_cast<size_t>(from.apart) * from.row_bytes}, quads,
                        activations + i, a_stride, tokens, n, acc);
        continue;
      }
    }
    float tile[kTileRows * kChunk];
    for (int64_t r = 0; r < quads * kRows; ++r) {
      decode<Dtype>(from, std::min(r, from.live - 1), i, n, tile + r * kChunk);
      std::fill(tile + r * kChunk + n, tile + r * kChunk + padded, 0.0f);
    }
    accumulate_tile(TileRows{tile}, quads, activations + i, a_stride, tokens, padded, acc);
  }
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < from.live; ++r) {
      out[t * out_stride + r * from.apart] = floats_sum(acc[((r / kRows) * kTokens + t) * kRows + r % kRows]);
    }
  }
}

template <uint32_t Dtype, bool Packed>
void multiply(const void* weights, size_t row_bytes, int64_t row_begin, int64_t row_end, const void* prepared,
              size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride, int64_t k) {
  static_assert(kTileRows == kPackedRows);
  const auto* matrix = static_cast<const uint8_t*>(weights);
  const size_t a_stride = prepared_stride / sizeof(float);
  // A tile's rows are neighbours where they are packed; the tiles' then lie eight apart.
  const int64_t apart = Packed ? 1 : (row_end - row_begin + kTileRows - 1) / kTileRows;
  const int64_t tiles_end = Packed ? row_end : std::min(row_begin + apart, row_end);
  for (int64_t begin = 0; begin < tokens; begin += kTokens) {
    const int64_t count = std::min<int64_t>(kTokens, tokens - begin);
    const float* a = static_cast<const float*>(prepared) + static_cast<size_t>(begin) * a_stride;
    for (int64_t row = row_begin; row < tiles_end; row += Packed ? kTileRows : 1) {
      const int64_t live = std::min<int64_t>(kTileRows, (row_end - row + apart - 1) / apart);
      multiply_tile<Dtype>({matrix + static_cast<size_t>(row) * row_bytes, row_bytes, apart, live, Packed}, a, a_stride,
                           count, out + begin * out_stride + row, out_stride, k);
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
  return {Dtype,           Activation::kF32,       f32_activation_bytes,
          prepare_f32,     multiply<Dtype, false>, kPacks<Dtype> ? multiply<Dtype, true> : nullptr,
          reference<Dtype>};
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
