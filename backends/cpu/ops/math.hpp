// Vector exp, tanh and sigmoid in F32: polynomials of Cephes (Moshier, netlib.org/cephes: expf, tanhf), branch-free.
//
// exponential is within 2 ulp over the whole range, subnormal results included; exp(0) is exactly 1, exp(-inf) 0,
// exp(inf) inf. tangens_h is within 4 ulp. NaN stays NaN everywhere.
#pragma once

#include "formats/simd.hpp"

namespace brim_cpu {

inline Vec exponential(Vec x) {
  x = smaller(splat(89.0f), x);  // overflows to infinity below
  x = larger(splat(-104.0f), x);
  const Vec magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  const Vec n = fma(x, splat(1.44269504088896341f), magic) - magic;
  Vec r = fma(n, splat(-0.693359375f), x);
  r = fma(n, splat(2.12194440e-4f), r);
  Vec p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r) + 1.0f;
  return times_power_of_two(p, n);
}

inline float exponential(float x) { return exponential(splat(x))[0]; }

inline Vec tangens_h(Vec x) {
  const Vec size = magnitude(x);
  const Vec z = x * x;
  Vec p = splat(-5.70498872745e-3f);
  p = fma(p, z, splat(2.06390887954e-2f));
  p = fma(p, z, splat(-5.37397155531e-2f));
  p = fma(p, z, splat(1.33314422036e-1f));
  p = fma(p, z, splat(-3.33332819422e-1f));
  const Vec small = fma(p * z, x, x);
  const Vec large = 1.0f - 2.0f / (exponential(size + size) + 1.0f);
  const Vec signed_large = (Vec)((IntVec)large | ((IntVec)x & static_cast<int32_t>(0x80000000u)));
  return size < 0.625f ? small : signed_large;
}

inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exponential(-x)); }
inline Vec silu(Vec x) { return x / (1.0f + exponential(-x)); }

// x / 2 * (1 + tanh(u)) is x * sigmoid(2 u), which loses nothing where tanh is near -1.
inline Vec gelu_tanh(Vec x) {
  constexpr float kTwiceRootTwoOverPi = 1.59576912160573f;
  return x * sigmoid(kTwiceRootTwoOverPi * (x + 0.044715f * x * x * x));
}

// cap * tanh(x / cap)
inline Vec soft_cap(Vec x, float cap) { return cap * tangens_h(x / cap); }

}  // namespace brim_cpu
