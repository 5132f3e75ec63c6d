// Lanes as two 128-bit halves: aarch64 (NEON, with the dot-product instructions where the variant has them) and any
// other processor, SSE2 included, through the compiler's vector types.
//
// Plain shifts, masks and permutations are written once with vector types; what NEON or SSE2 does better is chosen
// inside the function. The 16-bit chain of the generic path has the bounds that lanes_avx2.hpp explains.
#pragma once

#include "matmul/lanes.hpp"

#if defined(__aarch64__)
#include <arm_neon.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "formats/half.hpp"

namespace brim_cpu {

typedef int32_t Int4 __attribute__((vector_size(16)));
typedef uint32_t UInt4 __attribute__((vector_size(16)));
typedef int16_t Short8 __attribute__((vector_size(16)));
typedef uint8_t Byte16 __attribute__((vector_size(16)));
typedef float Float4 __attribute__((vector_size(16)));

struct Lanes {
  UInt4 half[2];  // rows 0..3, rows 4..7
};
struct Floats {
  Float4 half[2];
};

template <class F>
BRIM_INLINE Lanes each_half(F&& f) {
  return {{f(0), f(1)}};
}

BRIM_INLINE UInt4 splat4(uint32_t v) { return UInt4{v, v, v, v}; }
BRIM_INLINE Lanes splat32(uint32_t v) { return {{splat4(v), splat4(v)}}; }
BRIM_INLINE Lanes splat8(uint8_t v) { return splat32(0x01010101u * v); }
BRIM_INLINE Lanes lanes_zero() { return splat32(0); }
BRIM_INLINE Lanes lanes_and(Lanes a, Lanes b) { return {{a.half[0] & b.half[0], a.half[1] & b.half[1]}}; }
BRIM_INLINE Lanes lanes_or(Lanes a, Lanes b) { return {{a.half[0] | b.half[0], a.half[1] | b.half[1]}}; }
BRIM_INLINE Lanes lanes_add32(Lanes a, Lanes b) { return {{a.half[0] + b.half[0], a.half[1] + b.half[1]}}; }
BRIM_INLINE Lanes lanes_sub32(Lanes a, Lanes b) { return {{a.half[0] - b.half[0], a.half[1] - b.half[1]}}; }
BRIM_INLINE Lanes lanes_add8(Lanes a, Lanes b) {
  return each_half([&](int i) BRIM_INLINE_LAMBDA { return (UInt4)((Byte16)a.half[i] + (Byte16)b.half[i]); });
}
BRIM_INLINE Lanes broadcast4(const void* p) { return splat32(load_u32(static_cast<const uint8_t*>(p))); }

template <int N>
BRIM_INLINE Lanes lanes_shift(Lanes v) {
  if constexpr (N > 0) {
    return {{v.half[0] << N, v.half[1] << N}};
  } else if constexpr (N < 0) {
    return {{v.half[0] >> -N, v.half[1] >> -N}};
  } else {
    return v;
  }
}

BRIM_INLINE Lanes lanes_lookup(const int8_t* table16, Lanes v) {
#if defined(__aarch64__)
  const int8x16_t table = vld1q_s8(table16);
  return each_half([&](int i) BRIM_INLINE_LAMBDA { return (UInt4)vqtbl1q_s8(table, (uint8x16_t)v.half[i]); });
#else
  return each_half([&](int i) BRIM_INLINE_LAMBDA {
    const Byte16 index = (Byte16)v.half[i];
    Byte16 found{};
    for (int j = 0; j < 16; ++j) found[j] = static_cast<uint8_t>(table16[index[j]]);
    return (UInt4)found;
  });
#endif
}

// The low 16 bits of every lane as the pair (v, v).
BRIM_INLINE Lanes spread_low16(Lanes v) {
  return each_half([&](int i) BRIM_INLINE_LAMBDA { return (v.half[i] & 0xffffu) | (v.half[i] << 16); });
}

template <int J, bool Signed>
BRIM_INLINE Lanes spread_byte(Lanes v) {
  return each_half([&](int i) BRIM_INLINE_LAMBDA {
    if constexpr (Signed) {
      const UInt4 wide = (UInt4)((Int4)(v.half[i] << (24 - 8 * J)) >> 24);
      return (wide & 0xffffu) | (wide << 16);
    } else {
      const UInt4 low = (v.half[i] >> (8 * J)) & 0xffu;
      return low | (low << 16);
    }
  });
}

template <int J, bool Signed>
BRIM_INLINE Lanes pair_bytes(Lanes v) {
  return each_half([&](int i) BRIM_INLINE_LAMBDA {
    const UInt4 pair = v.half[i] >> (8 * J);
    const UInt4 high = ((pair & 0xffu) << 8) | ((pair & 0xff00u) << 16);  // each byte on top of its 16 bits
    if constexpr (Signed) {
      return (UInt4)((Short8)high >> 8);
    } else {
      return high >> 8;
    }
  });
}

BRIM_INLINE Lanes lanes_load(const uint8_t* p) {
  Lanes v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
BRIM_INLINE void lanes_store(uint8_t* p, Lanes v) { std::memcpy(p, &v, sizeof v); }
// Eight 16-bit or 8-bit numbers from p on, one a lane.
BRIM_INLINE Lanes lanes_widen16(const uint8_t* p) {
  return each_half([&](int i) BRIM_INLINE_LAMBDA {
    uint16_t h[4];
    std::memcpy(h, p + 8 * i, 8);
    return UInt4{h[0], h[1], h[2], h[3]};
  });
}
BRIM_INLINE Lanes lanes_widen8(const uint8_t* p) {
  return each_half([&](int i) BRIM_INLINE_LAMBDA {
    const uint8_t* b = p + 4 * i;
    return UInt4{b[0], b[1], b[2], b[3]};
  });
}

BRIM_INLINE void transpose16(const uint8_t* p, const RowOffsets& rows, Lanes* out) {
  unroll<2>([&](auto h) BRIM_INLINE_LAMBDA {
    UInt4 v[4];
    unroll<4>([&](auto i) BRIM_INLINE_LAMBDA { std::memcpy(&v[i], p + rows.at[4 * h + i], 16); });
    const UInt4 a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
    const UInt4 b = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    const UInt4 c = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
    const UInt4 d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    out[0].half[h] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    out[1].half[h] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    out[2].half[h] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    out[3].half[h] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
  });
}

BRIM_INLINE Lanes gather4(const uint8_t* p, const RowOffsets& rows) {
  return each_half([&](int i) BRIM_INLINE_LAMBDA {
    const size_t* at = rows.at + 4 * i;
    return UInt4{load_u32(p + at[0]), load_u32(p + at[1]), load_u32(p + at[2]), load_u32(p + at[3])};
  });
}

// sum += a.low16 * b.low16 + a.high16 * b.high16 per lane.
BRIM_INLINE UInt4 dot_pairs4(UInt4 sum, UInt4 a, UInt4 b) {
#if defined(__aarch64__)
  const int32x4_t low = vmull_s16(vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b));
  const int32x4_t high = vmull_high_s16((int16x8_t)a, (int16x8_t)b);
  return sum + (UInt4)vpaddq_s32(low, high);
#elif defined(__SSE2__)
  return sum + (UInt4)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  const Int4 low = ((Int4)(a << 16) >> 16) * ((Int4)(b << 16) >> 16);
  const Int4 high = ((Int4)a >> 16) * ((Int4)b >> 16);
  return sum + (UInt4)(low + high);
#endif
}
BRIM_INLINE Lanes dot_pairs(Lanes sum, Lanes a, Lanes b) {
  return each_half([&](int i) BRIM_INLINE_LAMBDA { return dot_pairs4(sum.half[i], a.half[i], b.half[i]); });
}

#if defined(__aarch64__)

// NEON multiplies signed by signed bytes, which all codes are, and adds into 32 bits.
inline constexpr bool kChainIsSum = true;
template <Codes C>
inline constexpr int kChainSteps = 8;

template <Codes C>
BRIM_INLINE Lanes dot_step(Lanes chain, Lanes w, Lanes a) {
  return each_half([&](int i) BRIM_INLINE_LAMBDA {
    const int8x16_t codes = (int8x16_t)w.half[i];
    const int8x16_t values = (int8x16_t)a.half[i];
#if defined(__ARM_FEATURE_DOTPROD)
    return (UInt4)vdotq_s32((int32x4_t)chain.half[i], codes, values);
#else
    const int16x8_t low = vmull_s8(vget_low_s8(codes), vget_low_s8(values));
    const int16x8_t high = vmull_high_s8(codes, values);
    return (UInt4)vpadalq_s16((int32x4_t)chain.half[i], vpaddq_s16(low, high));
#endif
  });
}
BRIM_INLINE Lanes dot_scaled(Lanes sum, Lanes chain, Lanes scale) {
  return each_half([&](int i) BRIM_INLINE_LAMBDA {
    return (UInt4)vmlaq_s32((int32x4_t)sum.half[i], (int32x4_t)chain.half[i],
                            vshrq_n_s32((int32x4_t)scale.half[i], 16));
  });
}
BRIM_INLINE Lanes dot_plain(Lanes sum, Lanes chain) { return lanes_add32(sum, chain); }

#else

inline constexpr bool kChainIsSum = false;
template <Codes C>
inline constexpr int kChainSteps = C == Codes::kU4 ? 8
                                   : C == Codes::kU5 ? 4
                                   : C == Codes::kU6 ? 2
                                                     : 1;

// Even and odd bytes multiply as 16-bit numbers; every product and their sum fit.
template <Codes C>
BRIM_INLINE Lanes dot_step(Lanes chain, Lanes w, Lanes a) {
  return each_half([&](int i) BRIM_INLINE_LAMBDA {
    const Short8 even = ((Short8)w.half[i] << 8 >> 8) * ((Short8)a.half[i] << 8 >> 8);
    const Short8 odd = ((Short8)w.half[i] >> 8) * ((Short8)a.half[i] >> 8);
    return (UInt4)((Short8)chain.half[i] + even + odd);
  });
}
BRIM_INLINE Lanes dot_scaled(Lanes sum, Lanes chain, Lanes scale) { return dot_pairs(sum, chain, scale); }
BRIM_INLINE Lanes dot_plain(Lanes sum, Lanes chain) { return dot_pairs(sum, chain, splat32(0x00010001u)); }

#endif

template <Codes C>
BRIM_INLINE Lanes dot_first(Lanes w, Lanes a) {
  return dot_step<C>(lanes_zero(), w, a);
}

using SignedForm = void;

BRIM_INLINE Floats floats_splat(float v) { return {{Float4{v, v, v, v}, Float4{v, v, v, v}}}; }
BRIM_INLINE Floats floats_zero() { return floats_splat(0.0f); }
BRIM_INLINE Floats floats_load(const float* p) {
  Floats v;
  std::memcpy(&v.half[0], p, 16);
  std::memcpy(&v.half[1], p + 4, 16);
  return v;
}
BRIM_INLINE void floats_store(float* p, Floats v) {
  std::memcpy(p, &v.half[0], 16);
  std::memcpy(p + 4, &v.half[1], 16);
}
BRIM_INLINE Floats floats_add(Floats a, Floats b) { return {{a.half[0] + b.half[0], a.half[1] + b.half[1]}}; }
BRIM_INLINE Floats floats_mul(Floats a, Floats b) { return {{a.half[0] * b.half[0], a.half[1] * b.half[1]}}; }

// a * b + c; one rounding where the variant has FMA, two elsewhere, in vectors and scalars alike.
#if defined(__aarch64__)
BRIM_INLINE Floats floats_fma(Floats a, Floats b, Floats c) {
  return {{(Float4)vfmaq_f32((float32x4_t)c.half[0], (float32x4_t)a.half[0], (float32x4_t)b.half[0]),
           (Float4)vfmaq_f32((float32x4_t)c.half[1], (float32x4_t)a.half[1], (float32x4_t)b.half[1])}};
}
BRIM_INLINE float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
BRIM_INLINE Floats floats_fma(Floats a, Floats b, Floats c) { return floats_add(floats_mul(a, b), c); }
BRIM_INLINE float fused(float a, float b, float c) { return a * b + c; }
#endif

BRIM_INLINE Floats floats_from_int(Lanes v) {
  return {{__builtin_convertvector((Int4)v.half[0], Float4), __builtin_convertvector((Int4)v.half[1], Float4)}};
}
BRIM_INLINE Floats floats_from_bits(Lanes v) { return {{(Float4)v.half[0], (Float4)v.half[1]}}; }

BRIM_INLINE Floats floats_from_half(Lanes v) {
  Floats out;
  unroll<2>([&](auto i) BRIM_INLINE_LAMBDA {
#if defined(__aarch64__)
    out.half[i] = (Float4)vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32((uint32x4_t)v.half[i])));
#else
    for (int j = 0; j < 4; ++j) out.half[i][j] = half_to_float(static_cast<uint16_t>(v.half[i][j]));
#endif
  });
  return out;
}

// Eight F16 or BF16 numbers from p on, exactly.
BRIM_INLINE Floats floats_load_half(const uint8_t* p) {
  Floats out;
  unroll<2>([&](auto i) BRIM_INLINE_LAMBDA {
    uint16_t h[4];
    std::memcpy(h, p + 8 * i, 8);
#if defined(__aarch64__)
    out.half[i] = (Float4)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
#else
    for (int j = 0; j < 4; ++j) out.half[i][j] = half_to_float(h[j]);
#endif
  });
  return out;
}
BRIM_INLINE Floats floats_load_bfloat(const uint8_t* p) {
  Floats out;
  unroll<2>([&](auto i) BRIM_INLINE_LAMBDA {
    uint16_t h[4];
    std::memcpy(h, p + 8 * i, 8);
    out.half[i] = (Float4)(UInt4{h[0], h[1], h[2], h[3]} << 16);
  });
  return out;
}

BRIM_INLINE float floats_sum(Floats v) {
  const Float4 s = v.half[0] + v.half[1];
  return (s[0] + s[2]) + (s[1] + s[3]);
}

}  // namespace brim_cpu
