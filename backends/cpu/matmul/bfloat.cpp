// BF16 weights times activations rounded to BF16.
//
// One instruction adds the products of a pair of neighbours in each of sixteen rows to an F32 sum: twice the rate of
// F32. Two vectors of rows by eight tokens are sixteen sums, enough to hide its latency of six cycles at two a cycle;
// ten loads feed sixteen multiplications. Sums run along k in pairs, in one order however many tokens there are.
// The instruction takes subnormal numbers for zero.
#include "matmul/bfloat.hpp"

#include "formats/half.hpp"
#include "matmul/rows8.hpp"

namespace brim_cpu {

#if defined(__AVX512BF16__) && defined(__AVX512VL__)

namespace {

struct BfloatBlock {
  uint16_t x[BfloatLayout::kElements];
};

BRIM_INLINE Floats dot_bfloats(Floats sum, Lanes w, Lanes a) { return _mm256_dpbf16_ps(sum, (__m256bh)w, (__m256bh)a); }
BRIM_INLINE WideFloats dot_bfloats(WideFloats sum, WideLanes w, WideLanes a) {
  return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)a);
}

struct BfloatFamily {
  using Layout = BfloatLayout;
  using Block = BfloatBlock;
  static constexpr int kStreams = 4;
  static constexpr int kChunkBlocks = 8, kPairs = 16;  // of a block
  static constexpr int kPassTokens = 8;

  template <int G>
  struct alignas(64) Tile {
    Lanes w[kChunkBlocks * kPairs * G];
  };

  template <class Blocks, class Kind = typename Blocks::Kind>
  static BRIM_INLINE void accumulate_one(const Blocks& block, const Block& a, typename Kind::Reals& acc) {
    unroll<kPairs / 4>([&](auto i) BRIM_INLINE_LAMBDA {
      typename Kind::Ints w[4];
      block.quad(16 * i, w);
      unroll<4>([&](auto j) BRIM_INLINE_LAMBDA { acc = dot_bfloats(acc, w[j], Kind::bytes(a.x + 2 * (4 * i + j))); });
    });
  }

  template <int G, class Group, class Kind = typename Group::Kind>
  static BRIM_INLINE void fill(const Group& group, int64_t first, int blocks, Tile<G>& tile, int g) {
    for (int b = 0; b < blocks; ++b) {
      const auto block = group.block(first + b);
      unroll<kPairs / 4>([&](auto i) BRIM_INLINE_LAMBDA {
        typename Kind::Ints w[4];
        block.quad(16 * i, w);
        unroll<4>([&](auto j) BRIM_INLINE_LAMBDA { *Kind::in(tile.w + (b * kPairs + 4 * i + j) * G + g) = w[j]; });
      });
    }
  }

  template <int G, int T>
  static BRIM_INLINE void accumulate(const Tile<G>& tile, int blocks, const uint8_t* activations, size_t stride,
                                     Floats* out) {
    using Kind = KindOf<G>;
    constexpr int P = kVectors<G>;
    typename Kind::Reals acc[P * T];
    unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA { acc[i] = Kind::in(out)[i]; });
    const auto* w = Kind::in(tile.w);
    for (int b = 0; b < blocks; ++b, activations += sizeof(Block), w += kPairs * P) {
      unroll<kPairs>([&](auto j) BRIM_INLINE_LAMBDA {
        unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
          const auto a = Kind::bytes(activations + static_cast<size_t>(t) * stride + 4 * j);
          unroll<P>([&](auto p) BRIM_INLINE_LAMBDA { acc[t * P + p] = dot_bfloats(acc[t * P + p], w[j * P + p], a); });
        });
      });
    }
    unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA { Kind::in(out)[i] = acc[i]; });
  }
};

// An odd number of lines, so that rows side by side do not share the sets of a first cache.
size_t activation_bytes(int64_t k) {
  return (static_cast<size_t>(k / BfloatLayout::kElements) | 1) * sizeof(BfloatBlock);
}

void prepare(const float* x, void* prepared, int64_t k) {
  auto* to = static_cast<uint16_t*>(prepared);
  for (int64_t i = 0; i < k; ++i) to[i] = float_to_bfloat(x[i]);
}

void reference(const void* weights, size_t row_bytes, int64_t row_begin, int64_t row_end, const void* prepared,
               size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride, int64_t k) {
  for (int64_t t = 0; t < tokens; ++t) {
    const auto* a = reinterpret_cast<const uint16_t*>(static_cast<const uint8_t*>(prepared) +
                                                      static_cast<size_t>(t) * prepared_stride);
    for (int64_t r = row_begin; r < row_end; ++r) {
      const uint8_t* w = static_cast<const uint8_t*>(weights) + static_cast<size_t>(r) * row_bytes;
      double sum = 0;
      for (int64_t i = 0; i < k; ++i) {
        sum += static_cast<double>(bfloat_to_float(load_u16(w + 2 * i))) * bfloat_to_float(a[i]);
      }
      out[t * out_stride + r] = static_cast<float>(sum);
    }
  }
}

constexpr MatmulKernel kKernel = {BRIM_DTYPE_BF16, Activation::kBfloat,          activation_bytes,
                                  prepare,         multiply_rows8<BfloatFamily>, multiply_packed<BfloatFamily>,
                                  reference};

}  // namespace

const MatmulKernel* find_bfloat_matmul(uint32_t dtype, int64_t k) {
  return dtype == BRIM_DTYPE_BF16 && k % BfloatLayout::kElements == 0 ? &kKernel : nullptr;
}

#else

const MatmulKernel* find_bfloat_matmul(uint32_t, int64_t) { return nullptr; }

#endif

}  // namespace brim_cpu
