// BF16 weights: a dword of a row holds two neighbours of k.
//
// Processors that multiply pairs take the activations rounded to BF16: one instruction adds both products of a pair in
// each of sixteen rows to an F32 sum, twice the rate of F32, with subnormal numbers taken for zero. Two vectors of rows
// by eight tokens are sixteen sums, enough to hide its latency of six cycles at two a cycle; ten loads feed sixteen
// multiplications. The others take them as they are, in F32: of a pair the low half and the high half are two vectors
// of rows, a shift or a mask away. Two vectors by six tokens leave four of sixteen registers to work with, and eight
// loads feed twelve multiplications.
//
// Sums run along k, however many tokens there are: those of a block from zero, which then joins the blocks before it.
#include "matmul/bfloat.hpp"

#include "formats/half.hpp"
#include "matmul/activation.hpp"
#include "matmul/rows8.hpp"

namespace brim_cpu {
namespace {

#if defined(__AVX512BF16__) && defined(__AVX512VL__)

using Element = uint16_t;  // of an activation
constexpr Activation kActivation = Activation::kBfloat;
constexpr int kTokensOfPass = 8;

BRIM_INLINE Floats dot_bfloats(Floats sum, Lanes w, Lanes a) { return _mm256_dpbf16_ps(sum, (__m256bh)w, (__m256bh)a); }
BRIM_INLINE WideFloats dot_bfloats(WideFloats sum, WideLanes w, WideLanes a) {
  return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)a);
}

// sum[t * P + p] += the products of the pairs in w[p] with that at a(t).
template <class Kind, int P, int T, class At>
BRIM_INLINE void add_pairs(typename Kind::Reals* sum, const typename Kind::Ints* w, At&& a) {
  unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
    const auto pair = Kind::bytes(a(t));
    unroll<P>([&](auto p) BRIM_INLINE_LAMBDA { sum[t * P + p] = dot_bfloats(sum[t * P + p], w[p], pair); });
  });
}

// An odd number of lines, so that rows side by side do not share the sets of a first cache.
size_t activation_bytes(int64_t k) {
  return (static_cast<size_t>(k / BfloatLayout::kElements) | 1) * sizeof(Element[BfloatLayout::kElements]);
}

void prepare(const float* x, void* prepared, int64_t k) {
  auto* to = static_cast<Element*>(prepared);
  for (int64_t i = 0; i < k; ++i) to[i] = float_to_bfloat(x[i]);
}

float value(Element a) { return bfloat_to_float(a); }

#else

using Element = float;
constexpr Activation kActivation = Activation::kF32;
constexpr int kTokensOfPass = 6;
constexpr auto activation_bytes = f32_activation_bytes;
constexpr auto prepare = prepare_f32;

template <class Kind, int P, int T, class At>
BRIM_INLINE void add_pairs(typename Kind::Reals* sum, const typename Kind::Ints* w, At&& a) {
  const auto add = [&](int half, const typename Kind::Reals* rows) BRIM_INLINE_LAMBDA {
    unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
      const auto x = Kind::real(a(t)[half]);
      unroll<P>([&](auto p) BRIM_INLINE_LAMBDA { sum[t * P + p] = floats_fma(rows[p], x, sum[t * P + p]); });
    });
  };
  typename Kind::Reals rows[P];
  unroll<P>([&](auto p) BRIM_INLINE_LAMBDA { rows[p] = floats_from_bits(lanes_shift<16>(w[p])); });
  add(0, rows);
  unroll<P>([&](auto p) BRIM_INLINE_LAMBDA { rows[p] = floats_from_bits(lanes_and(w[p], Kind::integer(0xffff0000))); });
  add(1, rows);
}

float value(Element a) { return a; }

#endif

struct BfloatBlock {
  Element x[BfloatLayout::kElements];
};

struct BfloatFamily {
  using Layout = BfloatLayout;
  using Block = BfloatBlock;
  static constexpr int kStreams = 4;
  static constexpr int kChunkBlocks = 8, kPairs = 16;  // of a block
  static constexpr int kPassTokens = kTokensOfPass;

  template <int G>
  struct alignas(64) Tile {
    Lanes w[kChunkBlocks * kPairs * G];
    // The j-th pairs of block b of vector p.
    BRIM_INLINE auto at(int b, int j, int p) const { return KindOf<G>::in(w)[(b * kPairs + j) * kVectors<G> + p]; }
  };
  // The same of packed rows, where they lie.
  template <int G>
  struct InPlace {
    PackedGroup<Layout, KindOf<G>> groups[kVectors<G>];
    int64_t first;
    BRIM_INLINE auto at(int b, int j, int p) const { return groups[p].block(first + b).dword(4 * j); }
  };

  template <class Blocks, class Kind = typename Blocks::Kind>
  static BRIM_INLINE void accumulate_one(const Blocks& block, const Block& a, typename Kind::Reals& acc) {
    typename Kind::Reals sum = Kind::real(0);
    unroll<kPairs / 4>([&](auto i) BRIM_INLINE_LAMBDA {
      typename Kind::Ints w[4];
      block.quad(16 * i, w);
      unroll<4>([&](auto j) BRIM_INLINE_LAMBDA {
        add_pairs<Kind, 1, 1>(&sum, w + j, [&](int) BRIM_INLINE_LAMBDA { return a.x + 2 * (4 * i + j); });
      });
    });
    acc = floats_add(acc, sum);
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

  template <int G, class Kind>
  static BRIM_INLINE void fill(const PackedGroup<Layout, Kind>& group, int64_t first, int, InPlace<G>& tile, int g) {
    tile.groups[g / Kind::kGroups] = group;
    tile.first = first;
  }

  template <int G, int T, class Tile>
  static BRIM_INLINE void accumulate(const Tile& tile, int blocks, const uint8_t* activations, size_t stride,
                                     Floats* out) {
    using Kind = KindOf<G>;
    constexpr int P = kVectors<G>;
    for (int b = 0; b < blocks; ++b, activations += sizeof(Block)) {
      typename Kind::Reals sum[P * T];
      unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA { sum[i] = Kind::real(0); });
      unroll<kPairs>([&](auto j) BRIM_INLINE_LAMBDA {
        typename Kind::Ints w[P];
        unroll<P>([&](auto p) BRIM_INLINE_LAMBDA { w[p] = tile.at(b, j, p); });
        add_pairs<Kind, P, T>(
            sum, w, [&](int t) BRIM_INLINE_LAMBDA { return block_of<Block>(activations, stride, t).x + 2 * j; });
      });
      unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA { Kind::in(out)[i] = floats_add(Kind::in(out)[i], sum[i]); });
    }
  }
};

void reference(const void* weights, size_t row_bytes, int64_t row_begin, int64_t row_end, const void* prepared,
               size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride, int64_t k) {
  for (int64_t t = 0; t < tokens; ++t) {
    const auto* a = reinterpret_cast<const Element*>(static_cast<const uint8_t*>(prepared) +
                                                     static_cast<size_t>(t) * prepared_stride);
    for (int64_t r = row_begin; r < row_end; ++r) {
      const uint8_t* w = static_cast<const uint8_t*>(weights) + static_cast<size_t>(r) * row_bytes;
      double sum = 0;
      for (int64_t i = 0; i < k; ++i) {
        sum += static_cast<double>(bfloat_to_float(load_u16(w + 2 * i))) * value(a[i]);
      }
      out[t * out_stride + r] = static_cast<float>(sum);
    }
  }
}

constexpr MatmulKernel kKernel = {BRIM_DTYPE_BF16,
                                  kActivation,
                                  activation_bytes,
                                  prepare,
                                  multiply_rows8<BfloatFamily>,
                                  multiply_packed<BfloatFamily>,
                                  reference};

}  // namespace

const MatmulKernel* find_bfloat_matmul(uint32_t dtype, int64_t k) {
  return dtype == BRIM_DTYPE_BF16 && k % BfloatLayout::kElements == 0 ? &kKernel : nullptr;
}

}  // namespace brim_cpu
