// Integer sums of G row groups by T tokens, and what adds to them.
#pragma once

#include <algorithm>

#include "matmul/lanes.hpp"

namespace brim_cpu {

// sum[g * T + t] += the products of N consecutive codes of tile g, in their form, with 4 * N activations of token t,
// times scale[g] where Scaled.
template <class Form, int N, int G, int T, bool Scaled>
BRIM_INLINE void add_products(Lanes* sum, const Lanes* const* w, const Lanes* const* scale, const int8_t* q,
                              size_t stride) {
  constexpr int kSteps = std::min(N, Form::kSteps);
  const auto add = [&](Lanes& to, Lanes chain, int g)
                       BRIM_INLINE_LAMBDA { to = Scaled ? dot_scaled(to, chain, *scale[g]) : dot_plain(to, chain); };
  unroll<N / kSteps>([&](auto s) BRIM_INLINE_LAMBDA {
    Lanes chain[G * T];
    unroll<kSteps>([&](auto i) BRIM_INLINE_LAMBDA {
      const int j = s * kSteps + i;
      unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
        const Lanes a = broadcast4(q + static_cast<size_t>(t) * stride + 4 * j);
        unroll<G>([&](auto g) BRIM_INLINE_LAMBDA {
          Lanes& c = chain[g * T + t];
          const Lanes* codes = w[g] + j * Form::kParts;
          c = i == 0 ? Form::first(codes, a) : Form::step(c, codes, a);
          if constexpr (kSteps == 1) add(sum[g * T + t], c, g);
        });
      });
    });
    if constexpr (kSteps > 1) unroll<G * T>([&](auto i) BRIM_INLINE_LAMBDA { add(sum[i], chain[i], i / T); });
  });
}

template <int G, int T>
struct Sums {
  Lanes v[G * T];

  // of(g) is where the sums of group g begin.
  template <class F>
  BRIM_INLINE void start(F&& of) {
    unroll<G * T>([&](auto i) BRIM_INLINE_LAMBDA { v[i] = of(i / T); });
  }
  template <int I>  // g * T + t
  BRIM_INLINE Lanes at() const {
    return v[I];
  }
  template <class Form, int N, bool Scaled>
  BRIM_INLINE void add(const Lanes* const* w, const Lanes* const* scale, const int8_t* q, size_t stride) {
    add_products<Form, N, G, T, Scaled>(v, w, scale, q, stride);
  }
};

}  // namespace brim_cpu

#if defined(__AVX512F__) && defined(__AVX512VNNI__) && defined(__AVX512VL__)
#include "matmul/sums_avx512.hpp"
#else
namespace brim_cpu {
inline constexpr int kTileTokens = 4;  // of one pass over a tile
}  // namespace brim_cpu
#endif
