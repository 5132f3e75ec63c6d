// Flat formats times 8-bit activations of 32 elements.
//
// Per block and row: acc += (d_w * d_a) * dot(code, q), and for formats whose codes are not centred
// acc += m * sum_a, where m is the stored minimum or -offset * d_w. The dot products are exact integers; the two
// additions are fused where the variant has FMA. `reference` below is the definition in scalar code.
#include "matmul/flat.hpp"

#include "formats/blocks.hpp"
#include "matmul/activation.hpp"
#include "matmul/blocks8.hpp"
#include "matmul/rows8.hpp"

namespace brim_cpu {
namespace {

// 16 bytes of nibbles per row: w[0..3] are elements 0..15, w[4..7] elements 16..31.
template <class Blocks>
BRIM_INLINE void load_nibbles(const Blocks& block, size_t at, Lanes* w) {
  block.quad(at, w);
  const Lanes low = splat8(15);
  unroll<4>([&](auto j) BRIM_INLINE_LAMBDA {
    w[j + 4] = lanes_and(lanes_shift<-4>(w[j]), low);
    w[j] = lanes_and(w[j], low);
  });
}

// Bit i of each row's dword becomes bit 4 of element i.
BRIM_INLINE void or_fifth_bits(Lanes high, Lanes* w) {
  unroll<8>([&](auto j) BRIM_INLINE_LAMBDA {
    // Four bits to bit 4 of four bytes: bit n of the nibble moves to bit 8 * n + 4.
    constexpr int kFirst = 4 * decltype(j)::value;
    Lanes bits = lanes_and(lanes_shift<4 - kFirst>(high), splat32(1u << 4));
    bits = lanes_or(bits, lanes_and(lanes_shift<11 - kFirst>(high), splat32(1u << 12)));
    bits = lanes_or(bits, lanes_and(lanes_shift<18 - kFirst>(high), splat32(1u << 20)));
    bits = lanes_or(bits, lanes_and(lanes_shift<25 - kFirst>(high), splat32(1u << 28)));
    w[j] = lanes_or(w[j], bits);
  });
}

BRIM_INLINE Floats offset_minimum(Floats d, int offset) {
  return floats_mul(d, floats_splat(static_cast<float>(-offset)));
}

// unpack(): the codes of one block of eight rows, its scales, and its minima where kMinimum.
struct Q4_0Rows : Q4_0Layout {
  static constexpr Codes kCodes = Codes::kU4;
  static constexpr bool kMinimum = true;
  template <class Blocks>
  static BRIM_INLINE void unpack(const Blocks& block, Lanes* w, Floats& d, Floats& m) {
    load_nibbles(block, 2, w);
    d = floats_from_half(block.odd());
    m = offset_minimum(d, kOffset);
  }
};

struct Q4_1Rows : Q4_1Layout {
  static constexpr Codes kCodes = Codes::kU4;
  static constexpr bool kMinimum = true;
  template <class Blocks>
  static BRIM_INLINE void unpack(const Blocks& block, Lanes* w, Floats& d, Floats& m) {
    const Lanes scales = block.dword(0);
    load_nibbles(block, 4, w);
    d = floats_from_half(scales);
    m = floats_from_half(lanes_shift<-16>(scales));
  }
};

struct Q5_0Rows : Q5_0Layout {
  static constexpr Codes kCodes = Codes::kU5;
  static constexpr bool kMinimum = true;
  template <class Blocks>
  static BRIM_INLINE void unpack(const Blocks& block, Lanes* w, Floats& d, Floats& m) {
    const Lanes high = block.dword(2);
    load_nibbles(block, 6, w);
    or_fifth_bits(high, w);
    d = floats_from_half(block.odd());
    m = offset_minimum(d, kOffset);
  }
};

struct Q5_1Rows : Q5_1Layout {
  static constexpr Codes kCodes = Codes::kU5;
  static constexpr bool kMinimum = true;
  template <class Blocks>
  static BRIM_INLINE void unpack(const Blocks& block, Lanes* w, Floats& d, Floats& m) {
    const Lanes scales = block.dword(0), high = block.dword(4);
    load_nibbles(block, 8, w);
    or_fifth_bits(high, w);
    d = floats_from_half(scales);
    m = floats_from_half(lanes_shift<-16>(scales));
  }
};

struct Q8_0Rows : Q8_0Layout {
  static constexpr Codes kCodes = Codes::kS8;
  static constexpr bool kMinimum = false;
  template <class Blocks>
  static BRIM_INLINE void unpack(const Blocks& block, Lanes* w, Floats& d, Floats& m) {
    block.quad(2, w);
    block.quad(18, w + 4);
    d = floats_from_half(block.odd());
    m = floats_zero();
  }
};

struct Iq4NlRows : Iq4NlLayout {
  static constexpr Codes kCodes = Codes::kS8;
  static constexpr bool kMinimum = false;
  template <class Blocks>
  static BRIM_INLINE void unpack(const Blocks& block, Lanes* w, Floats& d, Floats& m) {
    load_nibbles(block, 2, w);
    unroll<8>([&](auto j) BRIM_INLINE_LAMBDA { w[j] = lanes_lookup(kIq4Values, w[j]); });
    d = floats_from_half(block.odd());
    m = floats_zero();
  }
};

struct Mxfp4Rows : Mxfp4Layout {
  static constexpr Codes kCodes = Codes::kU5;
  static constexpr bool kMinimum = true;
  template <class Blocks>
  static BRIM_INLINE void unpack(const Blocks& block, Lanes* w, Floats& d, Floats& m) {
    load_nibbles(block, 1, w);
    const Lanes centre = splat8(kOffset);
    unroll<8>([&](auto j) BRIM_INLINE_LAMBDA { w[j] = lanes_add8(lanes_lookup(kFp4Values, w[j]), centre); });
    const Lanes e = block.odd();  // as e8m0_half()
    const Lanes a = lanes_shift<-1>(e);
    const Lanes b = lanes_sub32(e, a);
    d = floats_mul(floats_from_bits(lanes_shift<23>(lanes_add32(a, splat32(64)))),
                   floats_from_bits(lanes_shift<23>(lanes_add32(b, splat32(62)))));
    m = offset_minimum(d, kOffset);
  }
};

template <class Format>
struct FlatFamily {
  using Layout = Format;
  using Block = FlatActivation;
  using Form = TileForm<Format::kCodes>;
  static constexpr int kChunkBlocks = 8;
  static constexpr int64_t kPassTokens = kIntegerTokens;

  template <int G>
  struct alignas(64) Tile {
    Lanes w[kChunkBlocks][8 * G * Form::kParts];
    Lanes start[kChunkBlocks][G];  // of the sums: what the form's products lack
    Floats d[kChunkBlocks][G];
    Floats m[kChunkBlocks][G];
  };

  template <class Kind, class Reals = typename Kind::Reals>
  static BRIM_INLINE void finish(typename Kind::Ints sum, Reals d, Reals m, const Block& a, Reals& acc) {
    acc = floats_fma(floats_from_int(sum), floats_mul(d, Kind::real(a.d)), acc);
    if constexpr (Format::kMinimum) acc = floats_fma(m, Kind::real(a.sum), acc);
  }

  template <class Blocks>
  static BRIM_INLINE void accumulate_one(const Blocks& block, const Block& a, Floats& acc) {
    Lanes w[8];
    Floats d, m;
    Format::unpack(block, w, d, m);
    Lanes sum = lanes_zero();
    add_products<Single, PlainForm<Format::kCodes>, 8, 1, 1, false>(&sum, w, nullptr, a.q, 0);
    finish<Single>(sum, d, m, a, acc);
  }

  template <int G, class Group>
  static BRIM_INLINE void fill(const Group& group, int64_t first, int blocks, Tile<G>& tile, int g) {
    for (int b = 0; b < blocks; ++b) {
      Lanes w[8];
      Format::unpack(group.block(first + b), w, tile.d[b][g], tile.m[b][g]);
      Lanes rest = lanes_zero();
      unroll<8>([&](auto j) BRIM_INLINE_LAMBDA {
        Lanes* to = tile.w[b] + (j * G + g) * Form::kParts;
        Form::put(w[j], to);
        if constexpr (Form::kRest) rest = Form::rest(rest, to);
      });
      tile.start[b][g] = dot_plain(lanes_zero(), rest);
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
      typename Kind::Ints sum[P * T] = {};
      if constexpr (Form::kRest) {
        unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA { sum[i] = Kind::in(tile.start[b])[i % P]; });
      }
      const int8_t* q = reinterpret_cast<const Block*>(activations)->q;
      add_products<Kind, Form, 8, P, T, false>(sum, Kind::in(tile.w[b]), nullptr, q, stride);
      unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA {
        const auto* a = reinterpret_cast<const Block*>(activations + static_cast<size_t>(i / P) * stride);
        finish<Kind>(sum[i], Kind::in(tile.d[b])[i % P], Kind::in(tile.m[b])[i % P], *a, acc[i]);
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
        const float m = Format::kOffset != 0 ? b.d * static_cast<float>(-Format::kOffset) : b.m;
        acc = fused(static_cast<float>(sum), b.d * a->d, acc);
        if (Format::kMinimum) acc = fused(m, a->sum, acc);
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
