// Sums of two row groups in one vector of 512 bits: rows 0..7 of the first group, then those of the second.
//
// AVX-512 multiplies on the same two ports whatever a vector's width, so that 512 bits do twice the work of 256. The
// tiles stay what they are: a code vector of both is put together by one insertion, which T tokens share.
#pragma once

#include "matmul/lanes.hpp"

namespace brim_cpu {

inline constexpr int kTileTokens = 8;  // sums and chains of as many fill half of 32 registers

template <int T>
struct Sums<2, T> {
  typedef int32_t Int16 __attribute__((vector_size(64)));
  __m512i v[T];

  // The masked form, with all lanes: GCC 12 warns falsely of the plain one, which this compiles to.
  static BRIM_INLINE __m512i both(Lanes a, Lanes b) {
    return _mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(a), b, 1);
  }
  template <class F>
  BRIM_INLINE void start(F&& of) {
    const __m512i first = both(of(0), of(1));
    unroll<T>([&](auto t) BRIM_INLINE_LAMBDA { v[t] = first; });
  }
  template <int I>
  BRIM_INLINE Lanes at() const {
    constexpr int kFirst = I / T * 4;
    return __builtin_shufflevector(v[I % T], v[I % T], kFirst, kFirst + 1, kFirst + 2, kFirst + 3);
  }

  template <class Form>
  static BRIM_INLINE __m512i step(__m512i chain, __m512i w, __m512i a) {
    if constexpr (std::is_same_v<Form, SignedForm>) {
      return _mm512_dpbusd_epi32(chain, _mm512_xor_si512(a, _mm512_set1_epi8(-128)), w);
    } else {
      return _mm512_dpbusd_epi32(chain, w, a);
    }
  }

  // As add_products. Four steps of codes up to 15 stay within 4 * 4 * 15 * 127 = 30480, so that a multiplication of 16
  // bits, one instruction, does for their scale; one of 32 takes two, and an addition.
  template <class Form, int N, bool Scaled>
  BRIM_INLINE void add(const Lanes* const* w, const Lanes* const* scale, const int8_t* q, size_t stride) {
    static_assert(Form::kParts == 1);
    constexpr bool kShort = std::is_same_v<Form, PlainForm<Codes::kU4>>;
    constexpr int kSteps = Scaled && kShort ? 4 : N;
    __m512i factor;
    if constexpr (Scaled) {
      factor = both(*scale[0], *scale[1]);
      factor = kShort ? _mm512_and_si512(factor, _mm512_set1_epi32(0xffff)) : (__m512i)((Int16)factor >> 16);
    }
    unroll<N / kSteps>([&](auto s) BRIM_INLINE_LAMBDA {
      __m512i chain[T];
      unroll<T>([&](auto t) BRIM_INLINE_LAMBDA { chain[t] = Scaled ? _mm512_setzero_si512() : v[t]; });
      unroll<kSteps>([&](auto i) BRIM_INLINE_LAMBDA {
        constexpr int j = s * kSteps + i;
        const __m512i codes = both(w[0][j], w[1][j]);
        unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
          int a;
          __builtin_memcpy(&a, q + static_cast<size_t>(t) * stride + 4 * j, 4);
          chain[t] = step<Form>(chain[t], codes, _mm512_set1_epi32(a));
        });
      });
      unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
        if constexpr (!Scaled) {
          v[t] = chain[t];
        } else if constexpr (kShort) {
          v[t] = _mm512_dpwssd_epi32(v[t], chain[t], factor);
        } else {
          v[t] = _mm512_add_epi32(v[t], _mm512_mullo_epi32(chain[t], factor));
        }
      });
    });
  }
};

}  // namespace brim_cpu
