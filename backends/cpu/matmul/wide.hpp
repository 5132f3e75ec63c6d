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
  static constexpr int kGroups = kWideGroups;
  static BRIM_INLINE Ints bytes(const void* p) {
    int v;
    __builtin_memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
  }
  static BRIM_INLINE Ints byte(uint8_t v) { return _mm512_set1_epi8(static_cast<char>(v)); }
  static BRIM_INLINE Ints integer(uint32_t v) { return _mm512_set1_epi32(static_cast<int>(v)); }
  static BRIM_INLINE Reals real(float v) { return _mm512_set1_ps(v); }
  template <class F>
  static BRIM_INLINE Ints each(F&& group) {
    return _mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(group(0)), group(1), 1);
  }
  // The second group's to `apart` elements behind the first's.
  static BRIM_INLINE void store(float* out, int64_t apart, Reals v) {
    const Floats first = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
    const Floats second = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    floats_store(out, first);
    floats_store(out + apart, second);
  }
  // The array begins at a multiple of 64.
  static BRIM_INLINE Ints* in(Lanes* p) { return reinterpret_cast<Ints*>(p); }
  static BRIM_INLINE const Ints* in(const Lanes* p) { return reinterpret_cast<const Ints*>(p); }
  static BRIM_INLINE const Reals* in(const Floats* p) { return reinterpret_cast<const Reals*>(p); }
  static BRIM_INLINE Reals* in(Floats* p) { return reinterpret_cast<Reals*>(p); }
};

BRIM_INLINE WideLanes lanes_and(WideLanes a, WideLanes b) { return _mm512_and_si512(a, b); }
BRIM_INLINE WideLanes lanes_or(WideLanes a, WideLanes b) { return _mm512_or_si512(a, b); }
BRIM_INLINE WideLanes lanes_add32(WideLanes a, WideLanes b) { return _mm512_add_epi32(a, b); }
BRIM_INLINE WideLanes lanes_sub32(WideLanes a, WideLanes b) { return _mm512_sub_epi32(a, b); }
BRIM_INLINE WideLanes lanes_add8(WideLanes a, WideLanes b) { return _mm512_add_epi8(a, b); }
template <int N>
BRIM_INLINE WideLanes lanes_shift(WideLanes v) {
  typedef uint32_t UInt16 __attribute__((vector_size(64)));  // GCC 12 warns falsely of the intrinsic shifts
  if constexpr (N > 0) {
    return (__m512i)((UInt16)v << N);
  } else {
    return (__m512i)((UInt16)v >> -N);
  }
}
BRIM_INLINE WideLanes wide_bytes(__m128i v) { return _mm512_maskz_broadcast_i32x4(0xffff, v); }
BRIM_INLINE WideLanes high_bytes(WideLanes v) {  // of 16-bit lanes, their sign extended
  typedef int16_t Short32 __attribute__((vector_size(64)));
  return (__m512i)((Short32)v >> 8);
}
BRIM_INLINE WideLanes lanes_lookup(const int8_t* table16, WideLanes v) {
  return _mm512_shuffle_epi8(wide_bytes(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table16))), v);
}
template <int J, bool Signed>
BRIM_INLINE WideLanes spread_byte(WideLanes v) {
  const WideLanes bytes = _mm512_shuffle_epi8(v, wide_bytes(spread_order<J, Signed>()));
  return Signed ? high_bytes(bytes) : bytes;
}
template <int J, bool Signed>
BRIM_INLINE WideLanes pair_bytes(WideLanes v) {
  const WideLanes bytes = _mm512_shuffle_epi8(v, wide_bytes(pair_order<J, Signed>()));
  return Signed ? high_bytes(bytes) : bytes;
}
BRIM_INLINE WideLanes spread_low16(WideLanes v) { return _mm512_shuffle_epi8(v, wide_bytes(low16_order())); }

template <Codes C>
BRIM_INLINE WideLanes dot_step(WideLanes chain, WideLanes w, WideLanes a) {
  static_assert(C != Codes::kS8);
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

BRIM_INLINE WideFloats floats_add(WideFloats a, WideFloats b) { return _mm512_add_ps(a, b); }
BRIM_INLINE WideFloats floats_mul(WideFloats a, WideFloats b) { return _mm512_mul_ps(a, b); }
BRIM_INLINE WideFloats floats_fma(WideFloats a, WideFloats b, WideFloats c) { return _mm512_fmadd_ps(a, b, c); }
BRIM_INLINE WideFloats floats_from_int(WideLanes v) {
  typedef int32_t Int16 __attribute__((vector_size(64)));
  typedef float Float16 __attribute__((vector_size(64)));
  return (WideFloats) __builtin_convertvector((Int16)v, Float16);
}

BRIM_INLINE WideFloats floats_from_bits(WideLanes v) { return _mm512_castsi512_ps(v); }
BRIM_INLINE WideFloats floats_from_half(WideLanes v) {  // the F16 in the low 16 bits of every lane
  return _mm512_maskz_cvtph_ps(0xffff, _mm512_maskz_cvtepi32_epi16(0xffff, v));
}

// Codes plus 128 are the unsigned operand: one instruction for all rows in place of an absolute value and a sign for
// each.
struct SignedForm {
  static constexpr int kParts = 1, kSteps = 8, kOffset = 128;
  static constexpr bool kRest = false;
  static BRIM_INLINE void put(Lanes w, Lanes* to) { *to = _mm256_xor_si256(w, splat8(0x80)); }
  static BRIM_INLINE void put(WideLanes w, WideLanes* to) { *to = _mm512_xor_si512(w, _mm512_set1_epi8(-128)); }
  template <class V>
  static BRIM_INLINE V first(const V* w, V a) {
    return step(V{}, w, a);
  }
  template <class V>
  static BRIM_INLINE V step(V chain, const V* w, V a) {
    return dot_step<Codes::kU4>(chain, *w, a);
  }
};

}  // namespace brim_cpu
