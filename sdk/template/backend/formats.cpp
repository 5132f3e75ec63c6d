#include "formats.hpp"

#include <bit>
#include <cmath>
#include <cstring>

namespace plain {
namespace {

uint16_t word_at(const std::byte* at) {
  uint16_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

void decode_f32(const std::byte* from, float* to, uint64_t n) { std::memcpy(to, from, n * sizeof(float)); }

void decode_f16(const std::byte* from, float* to, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) to[i] = half_to_float(word_at(from + 2 * i));
}

// The upper half of an F32.
void decode_bf16(const std::byte* from, float* to, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) to[i] = std::bit_cast<float>(static_cast<uint32_t>(word_at(from + 2 * i)) << 16);
}

// Blocks of 32: an F16 scale, then 16 bytes; byte i holds value i in its lower and value i + 16 in its upper four bits,
// both + 8.
void decode_q4_0(const std::byte* from, float* to, uint64_t n) {
  for (; n != 0; n -= 32, from += 18, to += 32) {
    const float scale = half_to_float(word_at(from));
    for (int i = 0; i < 16; ++i) {
      const int pair = static_cast<int>(from[2 + i]);
      to[i] = scale * static_cast<float>((pair & 15) - 8);
      to[i + 16] = scale * static_cast<float>((pair >> 4) - 8);
    }
  }
}

// Blocks of 32: an F16 scale, then 32 signed bytes.
void decode_q8_0(const std::byte* from, float* to, uint64_t n) {
  for (; n != 0; n -= 32, from += 34, to += 32) {
    const float scale = half_to_float(word_at(from));
    for (int i = 0; i < 32; ++i) to[i] = scale * static_cast<float>(static_cast<int8_t>(from[2 + i]));
  }
}

}  // namespace

DecodeFn decoder(uint32_t dtype) {
  switch (dtype) {
    case BRIM_DTYPE_F32:
      return decode_f32;
    case BRIM_DTYPE_F16:
      return decode_f16;
    case BRIM_DTYPE_BF16:
      return decode_bf16;
    case BRIM_DTYPE_Q4_0:
      return decode_q4_0;
    case BRIM_DTYPE_Q8_0:
      return decode_q8_0;
    default:
      return nullptr;
  }
}

float half_to_float(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  float value;
  if (exponent == 31) {
    value = fraction == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {  // subnormal: steps of 2^-24
    value = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    value = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

uint16_t float_to_half(float value) {
  const auto sign = static_cast<uint16_t>(std::signbit(value) ? 0x8000 : 0);
  const float size = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7e00;
  if (size >= 65520) return sign | 0x7c00;  // halfway to the number after the largest, and up: infinity
  // In units of the last place of the result: 2^-24 below 2^-14, else 2^(e - 10) for a number from 2^e on.
  const int e = size < 0x1p-14f ? -14 : std::ilogb(size);
  const auto steps = static_cast<int>(std::nearbyint(std::ldexp(size, 10 - e)));
  // From 2^-14 on the leading bit is not stored, but counts as one step of the exponent; a carry does the same.
  return static_cast<uint16_t>(sign | (((e + 14) << 10) + steps));
}

void write_values(uint32_t dtype, const float* from, std::byte* to, uint64_t n) {
  if (dtype == BRIM_DTYPE_F32) {
    std::memcpy(to, from, n * sizeof(float));
    return;
  }
  for (uint64_t i = 0; i < n; ++i) {
    const uint16_t half = float_to_half(from[i]);
    std::memcpy(to + 2 * i, &half, sizeof half);
  }
}

}  // namespace plain
