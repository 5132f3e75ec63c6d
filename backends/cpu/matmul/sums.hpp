// What adds products of a tile's codes to integer sums.
#pragma once

#include <algorithm>

#include "matmul/lanes.hpp"

namespace brim_cpu {

// sum[t * P + p] += the products of N consecutive codes of P vectors, in their form, with 4 * N activations of token t,
// times scale[p] where Scaled. Code j of vector p is w[(j * P + p) * kParts]. Where the variant's chain is a sum, it
// may begin with start(t) of a token.
template <class Kind, class Form, int N, int P, int T, bool Scaled, class Start = std::nullptr_t>
BRIM_INLINE void add_products(typename Kind::Ints* sum, const typename Kind::Ints* w,
                              [[maybe_unused]] const typename Kind::Ints* scale, const int8_t* q, size_t stride,
                              [[maybe_unused]] Start&& start = nullptr) {
  using Ints = typename Kind::Ints;
  constexpr int kSteps = std::min(N, Form::kSteps);
  constexpr bool kStraight = !Scaled && kChainIsSum;
  const auto add = [&](Ints& to, Ints chain, [[maybe_unused]] int p) BRIM_INLINE_LAMBDA {
    if constexpr (kStraight) {
      to = chain;
    } else if constexpr (Scaled) {
      to = dot_scaled(to, chain, scale[p]);
    } else {
      to = dot_plain(to, chain);
    }
  };
  constexpr bool kStarts = !std::is_null_pointer_v<std::remove_cvref_t<Start>>;
  static_assert(!kStarts || (Scaled && kChainIsSum && N == kSteps));
  unroll<N / kSteps>([&](auto s) BRIM_INLINE_LAMBDA {
    Ints chain[P * T];
    if constexpr (kStarts) unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA { chain[i] = start(i / P); });
    unroll<kSteps>([&](auto i) BRIM_INLINE_LAMBDA {
      const int j = s * kSteps + i;
      unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
        const Ints a = Kind::bytes(q + static_cast<size_t>(t) * stride + 4 * j);
        unroll<P>([&](auto p) BRIM_INLINE_LAMBDA {
          Ints &c = chain[t * P + p], &to = sum[t * P + p];
          const Ints* codes = w + (j * P + p) * Form::kParts;
          if constexpr (i == 0 && !kStraight && !kStarts) {
            c = Form::first(codes, a);
          } else {
            c = Form::step(i == 0 && kStraight ? to : c, codes, a);
          }
          if constexpr (kSteps == 1) add(to, c, p);
        });
      });
    });
    if constexpr (kSteps > 1) unroll<P * T>([&](auto i) BRIM_INLINE_LAMBDA { add(sum[i], chain[i], i % P); });
  });
}

}  // namespace brim_cpu
