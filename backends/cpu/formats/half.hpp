// 16-bit floats to and from F32, one value at a time.
//
// F16 uses the processor's conversion where the variant has one (F16C, aarch64) and integer arithmetic elsewhere; both
// round to nearest even and give the same bits. BF16 is the upper half of an F32. A NaN stays a NaN in every direction.
// Rows are converted by decode.hpp and encode.hpp.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace brim_cpu {

// Unaligned little-endian loads: rows of a mapped file start at any even (or odd) address.
inline uint16_t load_u16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline uint32_t load_u32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// The integer-only F16 to F32: what the hardware conversion must equal.
inline float half_to_float_soft(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7fffu) << 13;
  if (magnitude >= (0x7c00u << 13)) {  // Inf and NaN: the exponent becomes all ones, a NaN becomes quiet
    const uint32_t quiet = magnitude > (0x7c00u << 13) ? 0x00400000u : 0u;
    return std::bit_cast<float>(sign | (magnitude + ((255u - 31u) << 23)) | quiet);
  }
  // Scaling by 2^112 rebases the exponent and normalises subnormals in one exact multiplication.
  return std::bit_cast<float>(std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f) | sign);
}

// The integer-only F32 to F16, round to nearest even.
inline uint16_t float_to_half_soft(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // from 65520 on: Inf
  if (magnitude < 0x38800000u) {                                               // below 2^-14: an F16 subnormal
    // Adding 0.5 makes the float adder round the value to a multiple of 2^-24, the F16 subnormal step.
    const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(rounded) - 0x3f000000u));
  }
  magnitude += 0x0fffu + ((magnitude >> 13) & 1u);  // nearest even; a carry moves into the exponent as it should
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u) >> 13));
}

inline float half_to_float(uint16_t h) {
#if defined(__F16C__)
  return _cvtsh_ss(h);
#elif defined(__aarch64__)
  __fp16 v;
  std::memcpy(&v, &h, sizeof v);
  return static_cast<float>(v);
#else
  return half_to_float_soft(h);
#endif
}

inline uint16_t float_to_half(float x) {
#if defined(__F16C__)
  return static_cast<uint16_t>(_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__aarch64__)
  const __fp16 v = static_cast<__fp16>(x);
  uint16_t h;
  std::memcpy(&h, &v, sizeof h);
  return h;
#else
  return float_to_half_soft(x);
#endif
}

inline float bfloat_to_float(uint16_t h) { return std::bit_cast<float>(static_cast<uint32_t>(h) << 16); }

inline uint16_t float_to_bfloat(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace brim_cpu
