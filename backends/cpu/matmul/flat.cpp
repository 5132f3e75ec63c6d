// Flat formats times 8-bit activations of 32 elements.
//
// Per block and row: acc += d_w * (d_a * (dot(code, q) - offset * sum_q)), and for formats with a stored minimum m
// acc += m * sum_a. What d_a multiplies is an exact integer, which starts at minus the offset's part; the two additions
// are fused where the variant has FMA. `reference` below is the definition in scalar code.
#include "matmul/flat.hpp"

#include "formats/blocks.hpp"
#include "matmul/activation.hpp"
#include "matmul/blocks8.hpp"
#include "matmul/rows8.hpp"

namespace brim_cpu {
namespace {

// 16 bytes of nibbles per row: w[0..3] are elements 0..15, w[4..7] elements 16..31.
template <class Blocks, class Ints>
BRIM_INLINE void load_nibbles(const Blocks& block, size_t at, Ints* w) {
  block.quad(at, w);
  const Ints low = Blocks::Kind::byte(15);
  unroll<4>([&](auto j) BRIM_INLINE_LAMBDA {
    w[j + 4] = lanes_and(lanes_shift<-4>(w[j]), low);
    w[j] = lanes_and(w[j], low);
  });
}

// Bit i of each row's dword becomes bit 4 of element i.
template <class K, class Ints>
BRIM_INLINE void or_fifth_bits(Ints high, Ints* w) {
  unroll<8>([&](auto j) BRIM_INLINE_LAMBDA {
    // Four bits to bit 4 of four bytes: bit n of the nibble moves to bit 8 * n + 4.
    constexpr int kFirst = 4 * decltype(j)::value;
    Ints bits = lanes_and(lanes_shift<4 - kFirst>(high), K::integer(1u << 4));
    bits = lanes_or(bits, lanes_and(lanes_shift<11 - kFirst>(high), K::integer(1u << 12)));
    bits = lanes_or(bits, lanes_and(lanes_shift<18 - kFirst>(high), K::integer(1u << 20)));
    bits = lanes_or(bits, lanes_and(lanes_shift<25 - kFirst>(high), K::integer(1u << 28)));
    w[j] = lanes_or(w[j], bits);
  });
}

// unpack(): the codes of a block, a Single or Wide one (K), and its scales. minimum(), where kMinimum: its minima.
struct Q4_0Rows : Q4_0Layout {
  static constexpr Codes kCodes = Codes::kU4;
  static constexpr bool kMinimum = false;
  template <class Blocks, class K = typename Blocks::Kind>
  static BRIM_INLINE void unpack(const Blocks& block, typename K::Ints* w, typename K::Reals& d) {
    load_nibbles(block, 2, w);
    d = floats_from_half(block.odd());
  }
};

struct Q4_1Rows : Q4_1Layout {
  static constexpr Codes kCodes = Codes::kU4;
  static constexpr bool kMinimum = true;
  template <class Blocks, class K = typename Blocks::Kind>
  static BRIM_INLINE void unpack(const Blocks& block, typename K::Ints* w, typename K::Reals& d) {
    const auto scales = block.dword(0);
    load_nibbles(block, 4, w);
    d = floats_from_half(scales);
  }
  template <class Blocks>
  static BRIM_INLINE auto minimum(const Blocks& block) {
    return floats_from_half(lanes_shift<-16>(block.dword(0)));
  }
};

struct Q5_0Rows : Q5_0Layout {
  static constexpr Codes kCodes = Codes::kU5;
  static constexpr bool kMinimum = false;
  template <class Blocks, class K = typename Blocks::Kind>
  static BRIM_INLINE void unpack(const Blocks& block, typename K::Ints* w, typename K::Reals& d) {
    const auto high = block.dword(2);
    load_nibbles(block, 6, w);
    or_fifth_bits<K>(high, w);
    d = floats_from_half(block.odd());
  }
};

struct Q5_1Rows : Q5_1Layout {
  static constexpr Codes kCodes = Codes::kU5;
  static constexpr bool kMinimum = true;
  template <class Blocks, class K = typename Blocks::Kind>
  static BRIM_INLINE void unpack(const Blocks& block, typename K::Ints* w, typename K::Reals& d) {
    const auto scales = block.dword(0), high = block.dword(4);
    load_nibbles(block, 8, w);
    or_fifth_bits<K>(high, w);
    d = floats_from_half(scales);
  }
  template <class Blocks>
  static BRIM_INLINE auto minimum(const Blocks& block) {
    return floats_from_half(lanes_shift<-16>(block.dword(0)));
  }
};

struct Q8_0Rows : Q8_0Layout {
  static constexpr Codes kCodes = Codes::kS8;
  static constexpr bool kMinimum = false;
  template <class Blocks, class K = typename Blocks::Kind>
  static BRIM_INLINE void unpack(const Blocks& block, typename K::Ints* w, typename K::Reals& d) {
    block.quad(2, w);
    block.quad(18, w + 4);
    d = floats_from_half(block.odd());
  }
};

struct Iq4NlRows : Iq4NlLayout {
  static constexpr Codes kCodes = Codes::kS8;
  static constexpr bool kMinimum = false;
  template <class Blocks, class K = typename Blocks::Kind>
  static BRIM_INLINE void unpack(const Blocks& block, typename K::Ints* w, typename K::Reals& d) {
    load_nibbles(block, 2, w);
    unroll<8>([&](auto j) BRIM_INLINE_LAMBDA { w[j] = lanes_lookup(kIq4Values, w[j]); });
    d = floats_from_half(block.odd());
  }
};

struct Mxfp4Rows : Mxfp4Layout {
  static constexpr Codes kCodes = Codes::kU5;
  static constexpr bool kMinimum = false;
  template <class Blocks, class K = typename Blocks::Kind>
  static BRIM_INLINE void unpack(const Blocks& block, typename K::Ints* w, typename K::Reals& d) {
    load_nibbles(block, 1, w);
    const auto centre = K::byte(kOffset);
    unroll<8>([&](auto j) BRIM_INLINE_LAMBDA { w[j] = lanes_add8(lanes_lookup(kFp4Values, w[j]), centre); });
    const auto e = block.odd();  // as e8m0_half()
    const auto a = lanes_shift<-1>(e);
    const auto b = lanes_sub32(e, a);
    d = floats_mul(floats_from_bits(lanes_shift<23>(lanes_add32(a, K::integer(64)))),
                   floats_from_bits(lanes_shift<23>(lanes_add32(b, K::integer(62)))));
  }
};

template <class Format>
struct FlatFamily {
  using Layout = Format;
  using Block = FlatActivation;
  using Form = TileForm<Format::kCodes>;
  using One = OneForm<Format::kCodes>;
  static constexpr int kOffset = Format::kOffset + Form::kOffset;
  static_assert(!(Form::kRest && kOffset != 0));
  // Products of 512 bits take all codes up to 255: in a tile they are raised to the offset that activations know.
  static constexpr int kRaise = kWideGroups > 1 && kOffset != 0 ? kStartOffset - kOffset : 0;
  static constexpr int kStreams = 2 * kWideGroups;
  static constexpr int kChunkBlocks = 8;
  static constexpr int kPassTokens = kIntegerTokens;

  template <int G>
  struct alignas(64) Tile {
    Lanes w[kChunkBlocks][8 * G * Form::kParts];
    Lanes start[kChunkBlocks][G];  // of the sums: what the form's products lack
    Floats d[kChunkBlocks][G];
    Floats m[kChunkBlocks][G];
  };

  // What the sums for an activation start at.
  template <class Kind, int kOf>
  static BRIM_INLINE typename Kind::Ints offset(const Block& a) {
    if constexpr (kOf == 0) return typename Kind::Ints{};
    if constexpr (kOf == kStartOffset) return Kind::bytes(&a.start);
    return Kind::integer(static_cast<uint32_t>(a.start / kStartOffset * kOf));
  }

  template <class Kind, class Reals = typename Kind::Reals>
  static BRIM_INLINE void finish(typename Kind::Ints sum, Reals d, Reals m, const Block& a, Reals& acc) {
    acc = floats_fma(floats_mul(floats_from_int(sum), Kind::real(a.d)), d, acc);
    if constexpr (Format::kMinimum) acc = floats_fma(m, Kind::real(a.sum), acc);
  }

  template <class Blocks, class Kind = typename Blocks::Kind>
  static BRIM_INLINE void accumulate_one(const Blocks& block, const Block& a, typename Kind::Reals& acc) {
    typename Kind::Ints w[8];
    typename Kind::Reals d, m{};
    Format::unpack(block, w, d);
    if constexpr (Format::kMinimum) m = Format::minimum(block);
    unroll<8>([&](auto j) BRIM_INLINE_LAMBDA { One::put(w[j], w + j); });
    typename Kind::Ints sum = offset<Kind, kOffset>(a);
    add_products<Kind, One, 8, 1, 1, false>(&sum, w, nullptr, a.q, 0);
    finish<Kind>(sum, d, m, a, acc);
  }

  template <int G, class Group, class Kind = typename Group::Kind>
  static BRIM_INLINE void fill(const Group& group, int64_t first, int blocks, Tile<G>& tile, int g) {
    using Ints = typename Kind::Ints;
    for (int b = 0; b < blocks; ++b) {
      Ints w[8];
      const auto block = group.block(first + b);
      Format::unpack(block, w, *Kind::in(&tile.d[b][g]));
      if constexpr (Format::kMinimum) *Kind::in(&tile.m[b][g]) = Format::minimum(block);
      Ints rest{};
      unroll<8>([&](auto j) BRIM_INLINE_LAMBDA {
        Ints* to = Kind::in(tile.w[b] + (j * G + g) * Form::kParts);
        Form::put(w[j], to);
        if constexpr (kRaise != 0) *to = lanes_add8(*to, Kind::byte(kRaise));
        if constexpr (Form::kRest) rest = Form::rest(rest, to);
      });
      if constexpr (Form::kRest) *Kind::in(&tile.start[b][g]) = dot_plain(Ints{}, rest);
    }
  }

  template <int G, int T>
  static BRIM_INLINE void accumulate(const Tile<G>& tile, int blocks, const uint8_t* activations, size_t stride,
                                     Floats* out) {
    using Kind = KindOf<G>;
    constexpr int P = kVectors<G>;
    typename Kind::Reals acc[P * T];
    unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA { acc[i] = Kind::in(out)[i]; });
    for (int b = 0; b < blocks; ++b, activations += sizeof(Block)) {
      const auto of = [&](int t) -> const Block& { return block_of<Block>(activations, stride, t); };
      typename Kind::Ints sum[P * T];
      unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
        const auto start = offset<Kind, kOffset + kRaise>(of(t));
        unroll<P>([&](auto p)
                      BRIM_INLINE_LAMBDA { sum[t * P + p] = Form::kRest ? Kind::in(tile.start[b])[p] : start; });
      });
      const int8_t* q = of(0).q;
      add_products<Kind, Form, 8, P, T, false>(sum, Kind::in(tile.w[b]), nullptr, q, stride);
      unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA {
        finish<Kind>(sum[i], Kind::in(tile.d[b])[i % P], Kind::in(tile.m[b])[i % P], of(i / P), acc[i]);
      });
    }
    unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA { Kind::in(out)[i] = acc[i]; });
  }
};

template <class Format>
void reference(const void* weights, size_t row_bytes, int64_t row_begin, int64_t row_end, const void* prepared,
               size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride, int64_t k) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = row_begin; r < row_end; ++r) {
      const auto* p = static_cast<const uint8_t*>(weights) + static_cast<size_t>(r) * row_bytes;
      const auto* a = reinterpret_cast<const FlatActivation*>(static_cast<const uint8_t*>(prepared) +
                                                              static_cast<size_t>(t) * prepared_stride);
      float acc = 0;
      for (int64_t i = 0; i < k; i += 32, p += Format::kBytes, ++a) {
        FlatBlock b;
        Format::unpack(p, b);
        int sum = 0;
        for (int j = 0; j < 32; ++j) sum += b.code[j] * a->q[j];
        acc = fused(static_cast<float>(sum + a->start / kStartOffset * Format::kOffset) * a->d, b.d, acc);
        if (Format::kMinimum) acc = fused(b.m, a->sum, acc);
      }
      out[t * out_stride + r] = acc;
    }
  }
}

// Format's own unpack() hides the scalar one of its layout.
template <class Rows, class Layout>
struct Scalar : Rows {
  static void unpack(const uint8_t* p, FlatBlock& b) { Layout::unpack(p, b); }
};

template <class Rows, class Layout>
constexpr MatmulKernel entry() {
  return {Layout::kDtype,
          Activation::kFlat8,
          flat_activation_bytes,
          prepare_flat,
          multiply_rows8<FlatFamily<Rows>>,
          multiply_packed<FlatFamily<Rows>>,
          reference<Scalar<Rows, Layout>>};
}

constexpr MatmulKernel kKernels[] = {
    entry<Q4_0Rows, Q4_0Layout>(),   entry<Q4_1Rows, Q4_1Layout>(), entry<Q5_0Rows, Q5_0Layout>(),
    entry<Q5_1Rows, Q5_1Layout>(),   entry<Q8_0Rows, Q8_0Layout>(), entry<Iq4NlRows, Iq4NlLayout>(),
    entry<Mxfp4Rows, Mxfp4Layout>(),
};

}  // namespace

const MatmulKernel* find_flat_matmul(uint32_t dtype) {
  for (const MatmulKernel& kernel : kKernels) {
    if (kernel.dtype == dtype) return &kernel;
  }
  return nullptr;
}

}  // namespace brim_cpu
