// Super-block formats times 8-bit activations of 256 elements.
//
// Per block and row, with integer scales and minima per group g of 16:
//   acc += d_a * (d_w * sum_g scale[g] * (dot(code[g], q[g]) - offset * sums_a[g]) - dmin * sum_g min[g] * sums_a[g])
// Where there are no minima the former is acc += (d_w * d_a) * sum. Both sums over g are exact in 32 bits: the largest,
// Q6_K's, is 256 * 63 * 127 * 128 < 2^28.1. An offset's part is what a chain of products starts with where the chain is
// a sum of 32 bits; elsewhere it is taken off at the end, the scales being its minima. `reference` below is the
// definition in scalar code.
#include "matmul/super.hpp"

#include <bit>

#include "formats/blocks.hpp"
#include "matmul/activation.hpp"
#include "matmul/blocks8.hpp"
#include "matmul/rows8.hpp"

namespace brim_cpu {
namespace {

// Scales and minima of a block, a Single or Wide one. Layouts with one scale per 32 elements fill scale[0..7].
template <class K>
struct Header {
  using Ints = typename K::Ints;
  Ints scale[16];  // 16-bit pairs (s, s)
  Ints min[8];     // 16-bit pairs (min 2j, min 2j + 1): four where eight scales are, else eight
  typename K::Reals d;
  typename K::Reals minus_dmin;

  BRIM_INLINE void set_dmin(typename K::Reals dmin) { minus_dmin = floats_mul(dmin, K::real(-1)); }
};

// Sixteen signed 8-bit scales, four dwords per row, of a format whose codes are offset.
template <class K>
BRIM_INLINE void spread_centred_scales(const typename K::Ints* bytes, Header<K>& h) {
  unroll<16>([&](auto g) BRIM_INLINE_LAMBDA { h.scale[g] = spread_byte<g % 4, true>(bytes[g / 4]); });
  unroll<8>([&](auto j) BRIM_INLINE_LAMBDA { h.min[j] = pair_bytes<j % 2 * 2, true>(bytes[j / 2]); });
}

// header(): scales and minima of one block of eight rows, with d and dmin where they stand before the codes.
// tail(): d and dmin where they stand behind the codes: a block is read forward (blocks8.hpp).
// step<i>(), i < kSteps: calls sink(g, w) for some of the groups g of 16 elements, w[4] being its codes; together for
// all.

// What Q4_K and Q5_K share: d, dmin and 6-bit scales and minima, in the first 16 bytes.
struct SixBitRows {
  static constexpr int kScaleVectors = 8;  // code vectors that share a scale
  static constexpr bool kMinimum = true;
  template <class Blocks, class K = typename Blocks::Kind, class Ints = typename K::Ints>
  static BRIM_INLINE void header(const Blocks& block, Header<K>& h) {
    Ints v[4];
    block.quad(0, v);
    h.d = floats_from_half(v[0]);
    h.set_dmin(floats_from_half(lanes_shift<-16>(v[0])));
    const Ints six = K::byte(0x3f), four = K::byte(0x0f), upper = K::byte(0x30);
    const Ints scale[2] = {lanes_and(v[1], six),
                           lanes_or(lanes_and(v[3], four), lanes_and(lanes_shift<-2>(v[1]), upper))};
    const Ints min[2] = {lanes_and(v[2], six),
                         lanes_or(lanes_and(lanes_shift<-4>(v[3]), four), lanes_and(lanes_shift<-2>(v[2]), upper))};
    unroll<8>([&](auto j) BRIM_INLINE_LAMBDA { h.scale[j] = spread_byte<j % 4, false>(scale[j / 4]); });
    unroll<4>([&](auto j) BRIM_INLINE_LAMBDA { h.min[j] = pair_bytes<j % 2 * 2, false>(min[j / 2]); });
  }
  template <class Blocks, class H>
  static BRIM_INLINE void tail(const Blocks&, H&) {}
};

struct Q4KRows : Q4KLayout, SixBitRows {
  static constexpr Codes kCodes = Codes::kU4;
  static constexpr int kSteps = 8;
  template <int I, class Blocks, class Sink, class K = typename Blocks::Kind, class Ints = typename K::Ints>
  static BRIM_INLINE void step(const Blocks& block, Sink&& sink) {
    constexpr int kGroup = I / 2 * 4 + I % 2;
    Ints v[4], w[4];
    block.quad(16 + 16 * I, v);
    const Ints low = K::byte(15);
    unroll<4>([&](auto j) BRIM_INLINE_LAMBDA { w[j] = lanes_and(v[j], low); });
    sink(std::integral_constant<int, kGroup>{}, w);
    unroll<4>([&](auto j) BRIM_INLINE_LAMBDA { w[j] = lanes_and(lanes_shift<-4>(v[j]), low); });
    sink(std::integral_constant<int, kGroup + 2>{}, w);
  }
};

struct Q5KRows : Q5KLayout, SixBitRows {
  static constexpr Codes kCodes = Codes::kU5;
  static constexpr int kSteps = 2;
  template <int I, class Blocks, class Sink, class K = typename Blocks::Kind, class Ints = typename K::Ints>
  static BRIM_INLINE void step(const Blocks& block, Sink&& sink) {
    Ints high[4];
    block.quad(16 + 16 * I, high);
    unroll<4>([&](auto i) BRIM_INLINE_LAMBDA {
      constexpr int kBit = 2 * i, kGroup = 4 * i + I;
      Ints v[4], w[4];
      block.quad(48 + 32 * i + 16 * I, v);
      const Ints low = K::byte(15), fifth = K::byte(16);
      unroll<4>([&](auto j) BRIM_INLINE_LAMBDA {
        w[j] = lanes_or(lanes_and(v[j], low), lanes_and(lanes_shift<4 - kBit>(high[j]), fifth));
      });
      sink(std::integral_constant<int, kGroup>{}, w);
      unroll<4>([&](auto j) BRIM_INLINE_LAMBDA {
        w[j] = lanes_or(lanes_and(lanes_shift<-4>(v[j]), low), lanes_and(lanes_shift<3 - kBit>(high[j]), fifth));
      });
      sink(std::integral_constant<int, kGroup + 2>{}, w);
    });
  }
};

struct Q6KRows : Q6KLayout {
  static constexpr Codes kCodes = Codes::kU6;
  static constexpr int kScaleVectors = 4;
  static constexpr int kSteps = 4;
  static constexpr bool kMinimum = false;
  template <class Blocks, class K = typename Blocks::Kind, class Ints = typename K::Ints>
  static BRIM_INLINE void header(const Blocks& block, Header<K>& h) {
    Ints bytes[4];
    block.quad(192, bytes);
    spread_centred_scales(bytes, h);
  }
  template <class Blocks, class H>
  static BRIM_INLINE void tail(const Blocks& block, H& h) {
    h.d = floats_from_half(block.odd());
  }
  template <int I, class Blocks, class Sink, class K = typename Blocks::Kind, class Ints = typename K::Ints>
  static BRIM_INLINE void step(const Blocks& block, Sink&& sink) {
    constexpr int kHalf = I / 2, kSub = I % 2;
    constexpr int kGroup = 8 * kHalf + kSub;
    Ints a[4], b[4], high[4], w[4];
    block.quad(128 + 32 * kHalf + 16 * kSub, high);
    block.quad(64 * kHalf + 16 * kSub, a);
    const Ints low = K::byte(15), upper = K::byte(0x30);
    unroll<4>([&](auto j) BRIM_INLINE_LAMBDA {
      w[j] = lanes_or(lanes_and(a[j], low), lanes_and(lanes_shift<4>(high[j]), upper));
    });
    sink(std::integral_constant<int, kGroup>{}, w);
    unroll<4>([&](auto j) BRIM_INLINE_LAMBDA {
      w[j] = lanes_or(lanes_and(lanes_shift<-4>(a[j]), low), lanes_and(high[j], upper));
    });
    sink(std::integral_constant<int, kGroup + 4>{}, w);
    block.quad(64 * kHalf + 32 + 16 * kSub, b);
    unroll<4>([&](auto j) BRIM_INLINE_LAMBDA {
      w[j] = lanes_or(lanes_and(b[j], low), lanes_and(lanes_shift<2>(high[j]), upper));
    });
    sink(std::integral_constant<int, kGroup + 2>{}, w);
    unroll<4>([&](auto j) BRIM_INLINE_LAMBDA {
      w[j] = lanes_or(lanes_and(lanes_shift<-4>(b[j]), low), lanes_and(lanes_shift<-2>(high[j]), upper));
    });
    sink(std::integral_constant<int, kGroup + 6>{}, w);
  }
};

struct Q3KRows : Q3KLayout {
  static constexpr Codes kCodes = Codes::kU4;
  static constexpr int kScaleVectors = 4;
  static constexpr int kSteps = 2;
  static constexpr bool kMinimum = false;
  template <class Blocks, class K = typename Blocks::Kind, class Ints = typename K::Ints>
  static BRIM_INLINE void header(const Blocks& block, Header<K>& h) {
    const Ints a = block.dword(96), b = block.dword(100), c = block.dword(104);
    const Ints low = K::byte(15), upper = K::byte(0x30), minus32 = K::byte(0xe0);
    const Ints bytes[4] = {
        lanes_add8(lanes_or(lanes_and(a, low), lanes_and(lanes_shift<4>(c), upper)), minus32),
        lanes_add8(lanes_or(lanes_and(b, low), lanes_and(lanes_shift<2>(c), upper)), minus32),
        lanes_add8(lanes_or(lanes_and(lanes_shift<-4>(a), low), lanes_and(c, upper)), minus32),
        lanes_add8(lanes_or(lanes_and(lanes_shift<-4>(b), low), lanes_and(lanes_shift<-2>(c), upper)), minus32),
    };
    spread_centred_scales(bytes, h);
  }
  template <class Blocks, class H>
  static BRIM_INLINE void tail(const Blocks& block, H& h) {
    h.d = floats_from_half(block.odd());
  }
  template <int I, class Blocks, class Sink, class K = typename Blocks::Kind, class Ints = typename K::Ints>
  static BRIM_INLINE void step(const Blocks& block, Sink&& sink) {
    Ints high[4];
    block.quad(16 * I, high);
    unroll<2>([&](auto half) BRIM_INLINE_LAMBDA {
      Ints v[4];
      block.quad(32 + 32 * half + 16 * I, v);
      unroll<4>([&](auto s) BRIM_INLINE_LAMBDA {
        constexpr int kShift = s, kBit = 4 * half + s;
        Ints w[4];
        unroll<4>([&](auto j) BRIM_INLINE_LAMBDA {
          w[j] = lanes_or(lanes_and(lanes_shift<-2 * kShift>(v[j]), K::byte(3)),
                          lanes_and(lanes_shift<2 - kBit>(high[j]), K::byte(4)));
        });
        sink(std::integral_constant<int, 8 * half + 2 * s + I>{}, w);
      });
    });
  }
};

struct Q2KRows : Q2KLayout {
  static constexpr Codes kCodes = Codes::kU4;
  static constexpr int kScaleVectors = 4;
  static constexpr int kSteps = 4;
  static constexpr bool kMinimum = true;
  template <class Blocks, class K = typename Blocks::Kind, class Ints = typename K::Ints>
  static BRIM_INLINE void header(const Blocks& block, Header<K>& h) {
    Ints bytes[4];
    block.quad(0, bytes);
    const Ints low = K::byte(15);
    unroll<4>([&](auto i) BRIM_INLINE_LAMBDA {
      const Ints scale = lanes_and(bytes[i], low);
      const Ints min = lanes_and(lanes_shift<-4>(bytes[i]), low);
      unroll<4>([&](auto j) BRIM_INLINE_LAMBDA { h.scale[4 * i + j] = spread_byte<j, false>(scale); });
      unroll<2>([&](auto j) BRIM_INLINE_LAMBDA { h.min[2 * i + j] = pair_bytes<2 * j, false>(min); });
    });
  }
  template <class Blocks, class H>
  static BRIM_INLINE void tail(const Blocks& block, H& h) {
    const auto halves = block.dword(80);
    h.d = floats_from_half(halves);
    h.set_dmin(floats_from_half(lanes_shift<-16>(halves)));
  }
  template <int I, class Blocks, class Sink, class K = typename Blocks::Kind, class Ints = typename K::Ints>
  static BRIM_INLINE void step(const Blocks& block, Sink&& sink) {
    constexpr int kGroup = I / 2 * 8 + I % 2;
    Ints v[4];
    block.quad(16 + 16 * I, v);
    unroll<4>([&](auto s) BRIM_INLINE_LAMBDA {
      Ints w[4];
      unroll<4>([&](auto j) BRIM_INLINE_LAMBDA { w[j] = lanes_and(lanes_shift<-2 * s>(v[j]), K::byte(3)); });
      sink(std::integral_constant<int, kGroup + 2 * s>{}, w);
    });
  }
};

struct Iq4XsRows : Iq4XsLayout {
  static constexpr Codes kCodes = Codes::kS8;
  static constexpr int kScaleVectors = 8;
  static constexpr int kSteps = 8;
  static constexpr bool kMinimum = false;
  template <class Blocks, class K = typename Blocks::Kind, class Ints = typename K::Ints>
  static BRIM_INLINE void header(const Blocks& block, Header<K>& h) {
    const Ints head = block.dword(0), low = block.dword(4);
    unroll<8>([&](auto j) BRIM_INLINE_LAMBDA {
      const Ints scale = lanes_or(lanes_and(lanes_shift<-4 * j>(low), K::integer(15)),
                                  lanes_and(lanes_shift<-12 - 2 * j>(head), K::integer(0x30)));
      h.scale[j] = spread_low16(lanes_sub32(scale, K::integer(32)));
    });
    h.d = floats_from_half(head);
  }
  template <class Blocks, class H>
  static BRIM_INLINE void tail(const Blocks&, H&) {}
  template <int I, class Blocks, class Sink, class K = typename Blocks::Kind, class Ints = typename K::Ints>
  static BRIM_INLINE void step(const Blocks& block, Sink&& sink) {
    Ints v[4], w[4];
    block.quad(8 + 16 * I, v);
    const Ints low = K::byte(15);
    unroll<4>([&](auto j) BRIM_INLINE_LAMBDA { w[j] = lanes_lookup(kIq4Values, lanes_and(v[j], low)); });
    sink(std::integral_constant<int, 2 * I>{}, w);
    unroll<4>([&](auto j)
                  BRIM_INLINE_LAMBDA { w[j] = lanes_lookup(kIq4Values, lanes_and(lanes_shift<-4>(v[j]), low)); });
    sink(std::integral_constant<int, 2 * I + 1>{}, w);
  }
};

template <class Format>
struct SuperFamily {
  using Layout = Format;
  using Block = SuperActivation;
  static constexpr int kStreams = 2;
  static constexpr int kChunkBlocks = 1;
  static constexpr int kPassTokens = kIntegerTokens;
  static constexpr int kScales = 64 / Format::kScaleVectors;
  static constexpr int kMinima = kScales / 2;  // pairs
  static constexpr size_t kAhead = 300;        // bytes

  using Form = TileForm<Format::kCodes>;
  using One = OneForm<Format::kCodes>;

  static constexpr int kOffset = Format::kOffset + Form::kOffset;
  static_assert(kOffset == 0 || (!Format::kMinimum && !Form::kRest && (kOffset & (kOffset - 1)) == 0));
  static_assert(kOffset == 0 || kChainIsSum || kScales == 16);
  static constexpr bool kStarts = kOffset != 0 && kChainIsSum;
  static constexpr bool kHasMinima = Format::kMinimum || (kOffset != 0 && !kChainIsSum);

  // The products of N codes with the activations of group g and, where N is more than four, of those behind it.
  template <class Kind, class Form, int N, int P, int T, class Ints = typename Kind::Ints>
  static BRIM_INLINE void add(Ints* sum, const Ints* w, const Ints* scale, const uint8_t* activations, size_t stride,
                              int g) {
    const int8_t* q = block_of<Block>(activations, stride, 0).q + 16 * g;
    if constexpr (kStarts) {
      const auto start = [&](int t) BRIM_INLINE_LAMBDA {
        const Block& a = block_of<Block>(activations, stride, t);
        return Kind::integer(static_cast<uint32_t>(-kOffset * (N == 4 ? a.sums[g] : a.sums32[g / 2])));
      };
      add_products<Kind, Form, N, P, T, true>(sum, w, scale, q, stride, start);
    } else {
      add_products<Kind, Form, N, P, T, true>(sum, w, scale, q, stride);
    }
  }

  template <int G>
  struct alignas(64) Tile {
    Lanes w[64 * G * Form::kParts];
    Lanes scale[kScales * G];
    Lanes min[kMinima * G];
    Lanes start[G];  // of the sum: what the form's products lack
    Floats d[G];
    Floats minus_dmin[G];
  };

  // The sums of P vectors and T tokens. min(j, p) are the j-th minima of vector p.
  template <class Kind, int P, int T, class Reals = typename Kind::Reals, class Min>
  static BRIM_INLINE void finish(const typename Kind::Ints* sum, const Reals* d, const Reals* minus_dmin,
                                 const Min& min, const uint8_t* block, size_t stride, Reals* acc) {
    unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
      const Block& a = block_of<Block>(block, stride, t);
      const Reals scale = Kind::real(a.d);
      typename Kind::Ints minima[P] = {};
      if constexpr (kHasMinima) {
        unroll<kMinima>([&](auto j) BRIM_INLINE_LAMBDA {
          const auto sums = Kind::bytes((kScales == 8 ? a.sums32 : a.sums) + 2 * j);
          unroll<P>([&](auto p) BRIM_INLINE_LAMBDA { minima[p] = dot_pairs(minima[p], min(j, p), sums); });
        });
      }
      unroll<P>([&](auto p) BRIM_INLINE_LAMBDA {
        Reals& to = acc[t * P + p];
        auto whole = sum[t * P + p];
        if constexpr (Format::kMinimum) {
          const Reals scaled = floats_mul(floats_from_int(whole), d[p]);
          to = floats_fma(floats_fma(floats_from_int(minima[p]), minus_dmin[p], scaled), scale, to);
        } else {
          if constexpr (kHasMinima)
            whole = lanes_sub32(whole, lanes_shift<std::countr_zero(static_cast<unsigned>(kOffset))>(minima[p]));
          to = floats_fma(floats_from_int(whole), floats_mul(d[p], scale), to);
        }
      });
    });
  }

  template <class Blocks, class Kind = typename Blocks::Kind, class Ints = typename Kind::Ints>
  static BRIM_INLINE void accumulate_one(const Blocks& block, const Block& a, typename Kind::Reals& acc) {
    Header<Kind> h;
    Format::header(block, h);
    Ints sum{};
    unroll<Format::kSteps>([&](auto i) BRIM_INLINE_LAMBDA {
      Format::template step<i>(block, [&](auto g, const Ints* w) BRIM_INLINE_LAMBDA {
        const Ints* scale = &h.scale[g * kScales / 16];
        if constexpr (!Blocks::kPacked) {
          // Two lines a row and block, a little before they come: helps where a stream enters a new page.
          constexpr size_t kPart = Format::kBytes / 4, kFirst = 2 * (g % 2) * kPart;
          const uint8_t* ahead = block.p + block.rows.at[g / 2] + kAhead + kFirst;
          __builtin_prefetch(ahead);
          if constexpr (Format::kBytes > 200) __builtin_prefetch(ahead + kPart);
        }
        Ints codes[4];
        unroll<4>([&](auto j) BRIM_INLINE_LAMBDA { One::put(w[j], codes + j); });
        add<Kind, One, 4, 1, 1>(&sum, codes, scale, reinterpret_cast<const uint8_t*>(&a), 0, g);
      });
    });
    Format::tail(block, h);
    const auto min = [&](int j, int) BRIM_INLINE_LAMBDA { return h.min[j]; };
    finish<Kind, 1, 1>(&sum, &h.d, &h.minus_dmin, min, reinterpret_cast<const uint8_t*>(&a), 0, &acc);
  }

  template <int G, class Group, class Kind = typename Group::Kind>
  static BRIM_INLINE void fill(const Group& group, int64_t first, int, Tile<G>& tile, int g) {
    using Ints = typename Kind::Ints;
    const auto block = group.block(first);
    Header<Kind> h;
    Format::header(block, h);
    Ints start{};
    unroll<Format::kSteps>([&](auto i) BRIM_INLINE_LAMBDA {
      Format::template step<i>(block, [&](auto column, const Ints* w) BRIM_INLINE_LAMBDA {
        Ints rest{};
        unroll<4>([&](auto j) BRIM_INLINE_LAMBDA {
          Ints* to = Kind::in(tile.w + ((4 * column + j) * G + g) * Form::kParts);
          Form::put(w[j], to);
          if constexpr (Form::kRest) rest = Form::rest(rest, to);
        });
        if constexpr (Form::kRest) start = dot_scaled(start, rest, h.scale[column * kScales / 16]);
      });
    });
    Format::tail(block, h);
    unroll<kScales>([&](auto s) BRIM_INLINE_LAMBDA { *Kind::in(tile.scale + s * G + g) = h.scale[s]; });
    if constexpr (kHasMinima) {
      unroll<kMinima>([&](auto j) BRIM_INLINE_LAMBDA { *Kind::in(tile.min + j * G + g) = h.min[j]; });
    }
    if constexpr (Form::kRest) *Kind::in(tile.start + g) = start;
    *Kind::in(tile.d + g) = h.d;
    if constexpr (Format::kMinimum) *Kind::in(tile.minus_dmin + g) = h.minus_dmin;
  }

  template <int G, int T>
  static BRIM_INLINE void accumulate(const Tile<G>& tile, int, const uint8_t* activations, size_t stride, Floats* acc) {
    using Kind = KindOf<G>;
    constexpr int P = kVectors<G>, kCodeVectors = Format::kScaleVectors;
    typename Kind::Ints sum[P * T] = {};
    if constexpr (Form::kRest) unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA { sum[i] = Kind::in(tile.start)[i % P]; });
    for (int s = 0; s < kScales; ++s) {
      add<Kind, Form, kCodeVectors, P, T>(sum, Kind::in(tile.w) + s * kCodeVectors * P * Form::kParts,
                                          Kind::in(tile.scale) + s * P, activations, stride, s * kCodeVectors / 4);
    }
    const auto min = [&](int j, int p) BRIM_INLINE_LAMBDA { return Kind::in(tile.min)[j * P + p]; };
    finish<Kind, P, T>(sum, Kind::in(tile.d), Kind::in(tile.minus_dmin), min, activations, stride, Kind::in(acc));
  }
};

template <class Format, class Layout>
void reference(const void* weights, size_t row_bytes, int64_t row_begin, int64_t row_end, const void* prepared,
               size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride, int64_t k) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = row_begin; r < row_end; ++r) {
      const auto* p = static_cast<const uint8_t*>(weights) + static_cast<size_t>(r) * row_bytes;
      const auto* a = reinterpret_cast<const SuperActivation*>(static_cast<const uint8_t*>(prepared) +
                                                               static_cast<size_t>(t) * prepared_stride);
      float acc = 0;
      for (int64_t i = 0; i < k; i += 256, p += Layout::kBytes, ++a) {
        SuperBlock b;
        Layout::unpack(p, b);
        int sum = 0, minima = 0;
        for (int g = 0; g < 16; ++g) {
          int dot = 0;
          for (int j = 0; j < 16; ++j) dot += b.code[16 * g + j] * a->q[16 * g + j];
          sum += b.scale[g] * (dot - Layout::kOffset * a->sums[g]);
          minima += b.min[g] * a->sums[g];
        }
        const auto whole = static_cast<float>(sum);
        if (Format::kMinimum) {
          acc = fused(fused(static_cast<float>(minima), -b.dmin, whole * b.d), a->d, acc);
        } else {
          acc = fused(whole, b.d * a->d, acc);
        }
      }
      out[t * out_stride + r] = acc;
    }
  }
}

template <class Rows, class Layout>
constexpr MatmulKernel entry() {
  return {Layout::kDtype,
          Activation::kSuper8,
          super_activation_bytes,
          prepare_super,
          multiply_rows8<SuperFamily<Rows>>,
          multiply_packed<SuperFamily<Rows>>,
          reference<Rows, Layout>};
}

constexpr MatmulKernel kKernels[] = {
    entry<Q2KRows, Q2KLayout>(), entry<Q3KRows, Q3KLayout>(), entry<Q4KRows, Q4KLayout>(),
    entry<Q5KRows, Q5KLayout>(), entry<Q6KRows, Q6KLayout>(), entry<Iq4XsRows, Iq4XsLayout>(),
};

}  // namespace

const MatmulKernel* find_super_matmul(uint32_t dtype) {
  for (const MatmulKernel& kernel : kKernels) {
    if (kernel.dtype == dtype) return &kernel;
  }
  return nullptr;
}

}  // namespace brim_cpu
