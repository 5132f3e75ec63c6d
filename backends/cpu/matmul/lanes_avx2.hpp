// Lanes on AVX2 + FMA + F16C; with AVX-512 VL and VNNI the chain adds straight into 32 bits.
//
// AVX2 multiplies unsigned by signed bytes and adds neighbours into 16 bits (vpmaddubsw), saturating. It never
// saturates here: two products of a code <= 15 stay within 2 * 15 * 127 = 3810, so that eight steps fit; 31: four; 63:
// two. A signed code goes in as |w| with its sign moved to the activation: 2 * 128 * 127 = 32512, one step.
#pragma once

#include <immintrin.h>

#include "matmul/lanes.hpp"

namespace brim_cpu {

using Lanes = __m256i;
using Floats = __m256;

BRIM_INLINE Lanes lanes_zero() { return _mm256_setzero_si256(); }
BRIM_INLINE Lanes lanes_and(Lanes a, Lanes b) { return _mm256_and_si256(a, b); }
BRIM_INLINE Lanes lanes_or(Lanes a, Lanes b) { return _mm256_or_si256(a, b); }
BRIM_INLINE Lanes lanes_add32(Lanes a, Lanes b) { return _mm256_add_epi32(a, b); }
BRIM_INLINE Lanes lanes_sub32(Lanes a, Lanes b) { return _mm256_sub_epi32(a, b); }
BRIM_INLINE Lanes lanes_add8(Lanes a, Lanes b) { return _mm256_add_epi8(a, b); }
BRIM_INLINE Lanes splat8(uint8_t v) { return _mm256_set1_epi8(static_cast<char>(v)); }
BRIM_INLINE Lanes splat32(uint32_t v) { return _mm256_set1_epi32(static_cast<int>(v)); }
BRIM_INLINE Lanes broadcast4(const void* p) {
  int v;
  __builtin_memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}

// Shifts whole 32-bit lanes, left for n > 0 and right (logical) for n < 0; callers mask what crosses a byte.
template <int N>
BRIM_INLINE Lanes lanes_shift(Lanes v) {
  if constexpr (N > 0) {
    return _mm256_slli_epi32(v, N);
  } else if constexpr (N < 0) {
    return _mm256_srli_epi32(v, -N);
  } else {
    return v;
  }
}

// Byte i of the result is table[v's byte i]; bytes of v are 0..15.
BRIM_INLINE Lanes lanes_lookup(const int8_t* table16, Lanes v) {
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table16));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), v);
}

// Which bytes of four lanes the functions below take, in 16-bit pairs: as the low bytes, or, where they are signed, as
// the high ones, to be shifted down.
template <int J, bool Signed>
BRIM_INLINE __m128i spread_order() {
  constexpr char x = static_cast<char>(0x80);
  constexpr char a = J, b = J + 4, c = J + 8, d = J + 12;
  return Signed ? _mm_setr_epi8(x, a, x, a, x, b, x, b, x, c, x, c, x, d, x, d)
                : _mm_setr_epi8(a, x, a, x, b, x, b, x, c, x, c, x, d, x, d, x);
}
template <int J, bool Signed>
BRIM_INLINE __m128i pair_order() {
  constexpr char x = static_cast<char>(0x80);
  constexpr char a = J, b = J + 1;
  return Signed ? _mm_setr_epi8(x, a, x, b, x, a + 4, x, b + 4, x, a + 8, x, b + 8, x, a + 12, x, b + 12)
                : _mm_setr_epi8(a, x, b, x, a + 4, x, b + 4, x, a + 8, x, b + 8, x, a + 12, x, b + 12, x);
}
BRIM_INLINE __m128i low16_order() { return _mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13); }

// Byte J of every lane as the 16-bit pair (b, b).
template <int J, bool Signed>
BRIM_INLINE Lanes spread_byte(Lanes v) {
  const __m256i bytes = _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(spread_order<J, Signed>()));
  return Signed ? _mm256_srai_epi16(bytes, 8) : bytes;
}

// Bytes J and J + 1 of every lane as a 16-bit pair.
template <int J, bool Signed>
BRIM_INLINE Lanes pair_bytes(Lanes v) {
  const __m256i bytes = _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(pair_order<J, Signed>()));
  return Signed ? _mm256_srai_epi16(bytes, 8) : bytes;
}

// The low 16 bits of every lane as the pair (v, v).
BRIM_INLINE Lanes spread_low16(Lanes v) { return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(low16_order())); }

BRIM_INLINE Lanes lanes_load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
BRIM_INLINE void lanes_store(uint8_t* p, Lanes v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
// Eight 16-bit or 8-bit numbers from p on, one a lane.
BRIM_INLINE Lanes lanes_widen16(const uint8_t* p) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
BRIM_INLINE Lanes lanes_widen8(const uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

// 16 bytes of each of the eight rows, transposed: out[j] holds dword j of every row.
BRIM_INLINE void transpose16(const uint8_t* p, const RowOffsets& rows, Lanes* out) {
  __m256i v[4];
  unroll<4>([&](auto i) BRIM_INLINE_LAMBDA {
    const auto* low = reinterpret_cast<const __m128i*>(p + rows.at[i]);
    const auto* high = reinterpret_cast<const __m128i*>(p + rows.at[i + 4]);
    v[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(low)), _mm_loadu_si128(high), 1);
  });
  const __m256i a = _mm256_unpacklo_epi32(v[0], v[1]);
  const __m256i b = _mm256_unpackhi_epi32(v[0], v[1]);
  const __m256i c = _mm256_unpacklo_epi32(v[2], v[3]);
  const __m256i d = _mm256_unpackhi_epi32(v[2], v[3]);
  out[0] = _mm256_unpacklo_epi64(a, c);
  out[1] = _mm256_unpackhi_epi64(a, c);
  out[2] = _mm256_unpacklo_epi64(b, d);
  out[3] = _mm256_unpackhi_epi64(b, d);
}

// One dword of each row. Broadcast loads and blends keep off the shuffle ports, which the transposes need.
BRIM_INLINE Lanes gather4(const uint8_t* p, const RowOffsets& rows) {
  const __m256i a = _mm256_blend_epi32(broadcast4(p), broadcast4(p + rows.at[1]), 0x02);
  const __m256i b = _mm256_blend_epi32(broadcast4(p + rows.at[2]), broadcast4(p + rows.at[3]), 0x08);
  const __m256i c = _mm256_blend_epi32(broadcast4(p + rows.at[4]), broadcast4(p + rows.at[5]), 0x20);
  const __m256i d = _mm256_blend_epi32(broadcast4(p + rows.at[6]), broadcast4(p + rows.at[7]), 0x80);
  return _mm256_blend_epi32(_mm256_blend_epi32(a, b, 0x0c), _mm256_blend_epi32(c, d, 0xc0), 0xf0);
}

#if defined(__AVX512VNNI__) && defined(__AVX512VL__)

inline constexpr bool kChainIsSum = true;
template <Codes C>
inline constexpr int kChainSteps = 8;

// Of codes that are not negative: signed ones come in SignedForm (wide.hpp).
template <Codes C>
BRIM_INLINE Lanes dot_step(Lanes chain, Lanes w, Lanes a) {
  static_assert(C != Codes::kS8);
  return _mm256_dpbusd_epi32(chain, w, a);
}
template <Codes C>
BRIM_INLINE Lanes dot_first(Lanes w, Lanes a) {
  return dot_step<C>(_mm256_setzero_si256(), w, a);
}
BRIM_INLINE Lanes dot_scaled(Lanes sum, Lanes chain, Lanes scale) {
  return _mm256_add_epi32(sum, _mm256_mullo_epi32(chain, _mm256_srai_epi32(scale, 16)));
}
BRIM_INLINE Lanes dot_plain(Lanes sum, Lanes chain) { return _mm256_add_epi32(sum, chain); }

#else

inline constexpr bool kChainIsSum = false;
template <Codes C>
inline constexpr int kChainSteps = C == Codes::kU4   ? 8
                                   : C == Codes::kU5 ? 4
                                   : C == Codes::kU6 ? 2
                                                     : 1;

template <Codes C>
BRIM_INLINE Lanes dot_first(Lanes w, Lanes a) {
  if constexpr (C == Codes::kS8) return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
  return _mm256_maddubs_epi16(w, a);
}
// The empty statement keeps GCC from postponing additions, which would keep all products of a chain alive and spill
// them. The saturating addition has that effect too, but shares the ports of the multiplications.
BRIM_INLINE Lanes now(Lanes v) {
  __asm__("" : "+x"(v));
  return v;
}
template <Codes C>
BRIM_INLINE Lanes dot_step(Lanes chain, Lanes w, Lanes a) {
  return now(_mm256_add_epi16(chain, dot_first<C>(w, a)));
}
BRIM_INLINE Lanes dot_scaled(Lanes sum, Lanes chain, Lanes scale) {
  return now(_mm256_add_epi32(sum, _mm256_madd_epi16(chain, scale)));
}
BRIM_INLINE Lanes dot_plain(Lanes sum, Lanes chain) { return dot_scaled(sum, chain, _mm256_set1_epi16(1)); }

// |w| times (a ^ m), m being all ones where w < 0: that is -a - 1, so that such a product lacks |w|, which is known
// when the tile is filled. Nothing saturates: 2 * 128 * -128 is the least of 16 bits.
//
// Signed bytes, 32 products, on Zen 3: multiplications m on two of four ports (204 GMAC/s), all else on any of them
// (vpsignb on some), about 4.4 instructions a cycle with two loads. What the ports allow, and what a loop of 16 rows by
// 4 tokens alone does, GMAC/s:
//   vpsignb, m vpmaddubsw, m vpmaddwd, vpaddd: abs and sign               2 m of 4     102, 75
//   twice m vpmaddubsw, vpaddw, and all of it widened every 8: nibbles  2.25 m of 4.5   91, 81 without the widening
//   twice m vpmaddwd, vpaddd, and twice the loads: codes of 16 bits       2 m of 4     102, 78
//   vpxor, m vpmaddubsw, m vpmaddwd, vpaddd: this                         2 m of 4     102, 89
// An offset of 128 in place of the sign saturates: only pairs of codes up to 258 in all fit.
struct SignedForm {
  static constexpr int kParts = 2, kSteps = 1, kOffset = 0;
  static constexpr bool kRest = true;
  static BRIM_INLINE void put(Lanes w, Lanes* to) {
    to[0] = _mm256_abs_epi8(w);
    to[1] = _mm256_cmpgt_epi8(_mm256_setzero_si256(), w);
  }
  static BRIM_INLINE Lanes first(const Lanes* w, Lanes a) {
    return _mm256_maddubs_epi16(w[0], _mm256_xor_si256(a, w[1]));
  }
  static BRIM_INLINE Lanes step(Lanes chain, const Lanes* w, Lanes a) { return _mm256_add_epi16(chain, first(w, a)); }
  static BRIM_INLINE Lanes rest(Lanes chain, const Lanes* w) {
    return _mm256_add_epi16(chain, _mm256_maddubs_epi16(_mm256_and_si256(w[0], w[1]), splat8(1)));
  }
};

#endif

// sum += a.low16 * b.low16 + a.high16 * b.high16 per lane.
BRIM_INLINE Lanes dot_pairs(Lanes sum, Lanes a, Lanes b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }

BRIM_INLINE Floats floats_zero() { return _mm256_setzero_ps(); }
BRIM_INLINE Floats floats_splat(float v) { return _mm256_set1_ps(v); }
BRIM_INLINE Floats floats_load(const float* p) { return _mm256_loadu_ps(p); }
BRIM_INLINE void floats_store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
BRIM_INLINE Floats floats_add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
BRIM_INLINE Floats floats_mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
// a * b + c; one rounding where the variant has FMA (see fused in scalar code).
BRIM_INLINE Floats floats_fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
BRIM_INLINE float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
BRIM_INLINE Floats floats_from_int(Lanes v) { return _mm256_cvtepi32_ps(v); }
BRIM_INLINE Floats floats_from_bits(Lanes v) { return _mm256_castsi256_ps(v); }

// The F16 in the low 16 bits of every lane.
BRIM_INLINE Floats floats_from_half(Lanes v) {
  const __m256i low = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
  const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  return _mm256_cvtph_ps(packed);
}

// Eight F16 or BF16 numbers from p on, exactly.
BRIM_INLINE Floats floats_load_half(const uint8_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
BRIM_INLINE Floats floats_load_bfloat(const uint8_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

// Sum of the eight elements, always in this order.
BRIM_INLINE float floats_sum(Floats v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_movehdup_ps(s));
  return _mm_cvtss_f32(s);
}

}  // namespace brim_cpu
