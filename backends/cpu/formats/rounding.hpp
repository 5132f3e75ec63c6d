// Small exact helpers of the 8-bit quantisers: the largest magnitude of a block and rounding to an integer.
#pragma once

#include <bit>
#include <cstdint>

namespace brim_cpu {

// Bits of the largest |x[i]|. As unsigned integers, magnitudes order like the numbers, Inf above them and NaN above
// Inf, so one comparison with kNotFinite tells whether every value is finite.
inline constexpr uint32_t kNotFinite = 0x7f800000u;
inline uint32_t largest_magnitude_bits(const float* x, int n) {
  int32_t largest = 0;
  for (int i = 0; i < n; ++i) {
    const int32_t bits = std::bit_cast<int32_t>(x[i]) & 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  return static_cast<uint32_t>(largest);
}

// Nearest integer, ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves the integer in the low bits of the mantissa.
// Vectorises everywhere and gives the same bits in every variant.
inline int32_t round_to_int(float x) { return std::bit_cast<int32_t>(x + 0x1.8p23f) - 0x4b400000; }

}  // namespace brim_cpu
