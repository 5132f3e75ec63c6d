#include "weights.hpp"

#include <cmath>

namespace brim_async {
namespace {

uint16_t read16(const std::byte* at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return bits;
}

}  // namespace

float half_to_float(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  float value = 0;
  if (exponent == 31) {
    value = fraction ? NAN : INFINITY;
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    value = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  }
  return bits >> 15 ? -value : value;
}

uint16_t float_to_half(float value) {
  const auto sign = static_cast<uint16_t>(std::signbit(value) ? 0x8000 : 0);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 65520.0f) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 6.103515625e-05f) {  // subnormal: steps of 2^-24
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(magnitude, 24))));
  }
  int exponent = 0;
  const float fraction = std::frexp(magnitude, &exponent);  // [0.5, 1)
  // 11 bits; a carry runs over into the exponent, as it should.
  const int bits = static_cast<int>(std::nearbyint(std::ldexp(fraction, 11))) - 1024;
  return static_cast<uint16_t>(sign | (((exponent + 14) << 10) + bits));
}

bool decodes(uint32_t dtype) { return dtype == BRIM_DTYPE_F32 || dtype == BRIM_DTYPE_F16 || dtype == BRIM_DTYPE_Q8_0; }

void decode_row(uint32_t dtype, uint64_t layout, const std::byte* data, uint64_t n, float* out) {
  if (dtype == BRIM_DTYPE_F32) {
    std::memcpy(out, data, n * sizeof(float));
  } else if (dtype == BRIM_DTYPE_F16) {
    for (uint64_t i = 0; i < n; ++i) out[i] = half_to_float(read16(data + 2 * i));
  } else {
    for (uint64_t i = 0; i < n; ++i) {
      const std::byte* block = data + i / 32 * 34;
      const bool packed = layout == kPackedLayout;
      const float scale = half_to_float(read16(packed ? data + n + i / 32 * 2 : block));
      out[i] = scale * static_cast<float>(static_cast<int8_t>(packed ? data[i] : block[2 + i % 32]));
    }
  }
}

void pack_row(const std::byte* from, uint64_t n, std::byte* to) {
  for (uint64_t b = 0; b < n / 32; ++b) {
    std::memcpy(to + b * 32, from + b * 34 + 2, 32);
    std::memcpy(to + n + b * 2, from + b * 34, 2);
  }
}

}  // namespace brim_async
