// Two groups of eight rows in one vector of 512 bits: rows 0..7 of the first, then those of the second.
//
// AVX-512 multiplies on the same two ports whatever a vector's width, so that 512 bits do twice the work of 256.
#pragma once

#include "matmul/lanes.hpp"

namespace brim_cpu {

using WideLanes = __m512i;
using WideFloats = __m512;
inline constexpr int kWideGroups = 2;

struct Wide {
  using Ints = WideLanes;
  using Reals = WideFloats;
  static BRIM_INLINE Ints bytes(const void* p) {
    int v;
    __builtin_memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
  }
  static BRIM_INLINE Reals real(float v) { return _mm512_set1_ps(v); }
  // The array begins at a multiple of 64.
  static BRIM_INLINE const Ints* in(const Lanes* p) { return reinterpret_cast<const Ints*>(p); }
  static BRIM_INLINE const Reals* in(const Floats* p) { return reinterpret_cast<const Reals*>(p); }
  static BRIM_INLINE Reals* in(Floats* p) { return reinterpret_cast<Reals*>(p); }
};

template <Codes C>
BRIM_INLINE WideLanes dot_step(WideLanes chain, WideLanes w, WideLanes a) {
  static_assert(C != Codes::kS8);  // those have a form of their own
  return _mm512_dpbusd_epi32(chain, w, a);
}
template <Codes C>
BRIM_INLINE WideLanes dot_first(WideLanes w, WideLanes a) {
  return dot_step<C>(_mm512_setzero_si512(), w, a);
}
BRIM_INLINE WideLanes dot_scaled(WideLanes sum, WideLanes chain, WideLanes scale) {
  typedef int32_t Int16 __attribute__((vector_size(64)));  // GCC 12 warns falsely of the intrinsic shift
  return _mm512_add_epi32(sum, _mm512_mullo_epi32(chain, (__m512i)((Int16)scale >> 16)));
}
BRIM_INLINE WideLanes dot_plain(WideLanes sum, WideLanes chain) { return _mm512_add_epi32(sum, chain); }
BRIM_INLINE WideLanes dot_pairs(WideLanes sum, WideLanes a, WideLanes b) { return _mm512_dpwssd_epi32(sum, a, b); }

BRIM_INLINE WideFloats floats_mul(WideFloats a, WideFloats b) { return _mm512_mul_ps(a, b); }
BRIM_INLINE WideFloats floats_fma(WideFloats a, WideFloats b, WideFloats c) { return _mm512_fmadd_ps(a, b, c); }
BRIM_INLINE WideFloats floats_from_int(WideLanes v) {
  typedef int32_t Int16 __attribute__((vector_size(64)));
  typedef float Float16 __attribute__((vector_size(64)));
  return (WideFloats) __builtin_convertvector((Int16)v, Float16);
}

// The activation plus 128 is the unsigned operand, and 128 times the codes' sum the rest: one instruction for all rows
// in place of an absolute value and a sign for each.
struct SignedForm {
  static constexpr int kParts = 1, kSteps = 8;
  static constexpr bool kRest = true;
  static BRIM_INLINE void put(Lanes w, Lanes* to) { *to = w; }
  static BRIM_INLINE Lanes step(Lanes chain, const Lanes* w, Lanes a) {
    return _mm256_dpbusd_epi32(chain, _mm256_xor_si256(a, splat8(0x80)), *w);
  }
  static BRIM_INLINE WideLanes step(WideLanes chain, const WideLanes* w, WideLanes a) {
    return _mm512_dpbusd_epi32(chain, _mm512_xor_si512(a, _mm512_set1_epi8(-128)), *w);
  }
  template <class V>
  static BRIM_INLINE V first(const V* w, V a) {
    return step(V{}, w, a);
  }
  static BRIM_INLINE Lanes rest(Lanes chain, const Lanes* w) {
    const Lanes sum = _mm256_dpbusd_epi32(_mm256_setzero_si256(), splat8(1), *w);
    return _mm256_sub_epi32(chain, _mm256_slli_epi32(sum, 7));
  }
};

}  // namespace brim_cpu
