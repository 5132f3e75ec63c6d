// One F32 vector as wide as the variant has it, and what the ops need of it.
//
// Written with the compilers' vector extension, so that + - * / and comparisons are the plain operators; only fused
// multiplication, square roots and conversions name instructions. Files that use it are compiled without contraction
// (-ffp-contract=off): a * b + c rounds twice everywhere, fma(a, b, c) once where the variant has FMA. So an element's
// bits do not depend on whether a full vector or a tail held it.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "formats/half.hpp"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace brim_cpu {

#if defined(__AVX512F__) && defined(__AVX512BW__)
inline constexpr int kWidth = 16;
// All lanes: the masked forms of some instructions compile to the plain ones without GCC 12's false warnings about
// them.
inline constexpr __mmask16 kAll = 0xffff;
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
inline constexpr int kWidth = 8;
#else
inline constexpr int kWidth = 4;
#endif

typedef float Vec __attribute__((vector_size(kWidth * 4)));
typedef int32_t IntVec __attribute__((vector_size(kWidth * 4)));

inline Vec splat(float v) { return v - Vec{}; }  // - 0 changes no value, not even -0

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

// The first n < kWidth elements; the rest of the vector is `rest`.
inline Vec load_first(const float* p, int64_t n, float rest = 0) {
  Vec v = splat(rest);
  std::memcpy(&v, p, static_cast<size_t>(n) * sizeof(float));
  return v;
}
inline void store_first(float* p, Vec v, int64_t n) { std::memcpy(p, &v, static_cast<size_t>(n) * sizeof(float)); }

inline Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

inline Vec square_root(Vec a) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
  return (Vec)_mm512_maskz_sqrt_ps(kAll, (__m512)a);
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  return (Vec)_mm256_sqrt_ps((__m256)a);
#else
  for (int i = 0; i < kWidth; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
#endif
}

// The larger or smaller; `b` where one is NaN.
#if defined(__AVX512F__) && defined(__AVX512BW__)
inline Vec larger(Vec a, Vec b) { return (Vec)_mm512_maskz_max_ps(kAll, (__m512)a, (__m512)b); }
inline Vec smaller(Vec a, Vec b) { return (Vec)_mm512_maskz_min_ps(kAll, (__m512)a, (__m512)b); }
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
inline Vec larger(Vec a, Vec b) { return (Vec)_mm256_max_ps((__m256)a, (__m256)b); }
inline Vec smaller(Vec a, Vec b) { return (Vec)_mm256_min_ps((__m256)a, (__m256)b); }
#else
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }
inline Vec smaller(Vec a, Vec b) { return a < b ? a : b; }
#endif
inline Vec magnitude(Vec a) { return (Vec)((IntVec)a & 0x7fffffff); }

inline Vec to_float(IntVec v) { return __builtin_convertvector(v, Vec); }
inline IntVec to_int(Vec v) { return __builtin_convertvector(v, IntVec); }

// a * 2^n, n being whole and within +-254.
inline Vec times_power_of_two(Vec a, Vec n) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
  return (Vec)_mm512_maskz_scalef_ps(kAll, (__m512)a, (__m512)n);
#else
  // In two factors, so that neither leaves the range of normal numbers.
  const IntVec whole = to_int(n), first = whole >> 1;
  return a * (Vec)((first + 127) << 23) * (Vec)((whole - first + 127) << 23);
#endif
}

// kWidth F16 values, exactly.
inline Vec load_half(const uint16_t* p) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
  return (Vec)_mm512_maskz_cvtph_ps(kAll, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__aarch64__)
  return (Vec)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
  // half_to_float_soft for four lanes at once.
  IntVec h = {p[0], p[1], p[2], p[3]};
  const IntVec sign = (h & 0x8000) << 16;
  const IntVec bits = (h & 0x7fff) << 13;
  const IntVec finite = (IntVec)((Vec)bits * splat(0x1p112f));
  const IntVec special = (bits + ((255 - 31) << 23)) | (bits > (0x7c00 << 13) ? IntVec{} + 0x00400000 : IntVec{});
  return (Vec)(sign | (bits >= (0x7c00 << 13) ? special : finite));
#endif
}

// kWidth signed bytes, exactly.
inline Vec load_bytes(const int8_t* p) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
  return (Vec)_mm512_maskz_cvtepi32_ps(
      kAll, _mm512_maskz_cvtepi8_epi32(kAll, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  return (Vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
  return to_float(IntVec{p[0], p[1], p[2], p[3]});
#endif
}

// Sum and maximum of all lanes: halves are folded onto each other, always in this order.
template <int kBy>
inline Vec rotated(Vec v) {
  return [&]<int... I>(std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(v, v, ((I + kBy) % kWidth)...);
  }
  (std::make_integer_sequence<int, kWidth>{});
}
template <class F>
inline float folded(Vec v, F&& f) {
  if constexpr (kWidth > 8) v = f(v, rotated<8>(v));
  if constexpr (kWidth > 4) v = f(v, rotated<4>(v));
  v = f(v, rotated<2>(v));
  return f(v, rotated<1>(v))[0];
}
inline float sum(Vec v) {
  return folded(v, [](Vec a, Vec b) { return a + b; });
}
inline float maximum(Vec v) { return folded(v, larger); }

// f(i, n) for i in steps of kWidth over [0, count), n being the elements that are there; n is a constant in all but the
// last call, so that a body may branch on n == kWidth.
template <class F>
inline void each_vector(int64_t count, F&& f) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) f(i, static_cast<int64_t>(kWidth));
  if (i < count) f(i, count - i);
}
inline Vec load_up_to(const float* p, int64_t n, float rest = 0) {
  return n == kWidth ? load(p) : load_first(p, n, rest);
}
inline void store_up_to(float* p, Vec v, int64_t n) {
  if (n == kWidth) {
    store(p, v);
  } else {
    store_first(p, v, n);
  }
}

}  // namespace brim_cpu
