#include "blocks.hpp"

#include <brim/types.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>

namespace check {
namespace {

// Where a block has its F16 scales (types.h: the bit layout of GGUF files) and how large they are for values of 0.1.
struct BlockFormat {
  uint32_t dtype;
  int scale, minimum;  // byte offsets, -1: none
  float size;
};
constexpr BlockFormat kFormats[] = {
    {BRIM_DTYPE_Q4_0, 0, -1, 0.02f},      {BRIM_DTYPE_Q4_1, 0, 2, 0.02f},     {BRIM_DTYPE_Q5_0, 0, -1, 0.01f},
    {BRIM_DTYPE_Q5_1, 0, 2, 0.01f},       {BRIM_DTYPE_Q8_0, 0, -1, 0.0015f},  {BRIM_DTYPE_Q2_K, 80, 82, 0.004f},
    {BRIM_DTYPE_Q3_K, 108, -1, 0.002f},   {BRIM_DTYPE_Q4_K, 0, 2, 0.0004f},   {BRIM_DTYPE_Q5_K, 0, 2, 0.0002f},
    {BRIM_DTYPE_Q6_K, 208, -1, 0.00009f}, {BRIM_DTYPE_IQ4_NL, 0, -1, 0.002f}, {BRIM_DTYPE_IQ4_XS, 0, -1, 0.0001f}};

const BlockFormat* format_of(uint32_t dtype) {
  for (const BlockFormat& format : kFormats) {
    if (format.dtype == dtype) return &format;
  }
  return nullptr;
}

}  // namespace

uint16_t to_half(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const double size = std::fabs(static_cast<double>(value));
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00);
  if (size >= 65520) return static_cast<uint16_t>(sign | 0x7c00);
  // In units of the last place at this exponent; nearbyint rounds to even.
  int exponent = size == 0 ? -14 : std::max(-14, std::ilogb(size));
  double units = std::nearbyint(std::ldexp(size, 10 - exponent));
  if (units >= 2048) {
    units /= 2;
    ++exponent;
  }
  const auto fraction = static_cast<uint32_t>(units);
  const uint32_t field = fraction < 1024 ? 0u : static_cast<uint32_t>(exponent + 15);
  return static_cast<uint16_t>(sign | field << 10 | (fraction & 1023u));
}

std::vector<float> random_floats(uint64_t count, std::mt19937_64& random, float spread, float around) {
  std::normal_distribution<float> normal(around, spread);
  std::vector<float> out(count);
  for (float& v : out) v = normal(random);
  return out;
}

bool has_blocks(uint32_t dtype) {
  return dtype == BRIM_DTYPE_F32 || dtype == BRIM_DTYPE_F16 || dtype == BRIM_DTYPE_BF16 || dtype == BRIM_DTYPE_MXFP4 ||
         format_of(dtype) != nullptr;
}

std::vector<std::byte> random_blocks(uint32_t dtype, uint64_t elements, std::mt19937_64& random) {
  std::vector<std::byte> out(brim_dtype_row_bytes(dtype, elements));
  if (brim_dtype_block_elements(dtype) == 1) {
    const std::vector<float> values = random_floats(elements, random, 0.1f);
    for (uint64_t i = 0; i < elements; ++i) {
      const auto bits = std::bit_cast<uint32_t>(values[i]);
      const uint16_t narrow = dtype == BRIM_DTYPE_F16 ? to_half(values[i]) : static_cast<uint16_t>(bits >> 16);
      if (dtype == BRIM_DTYPE_F32) {
        std::memcpy(&out[4 * i], &bits, 4);
      } else {
        std::memcpy(&out[2 * i], &narrow, 2);
      }
    }
    return out;
  }
  for (std::byte& b : out) b = static_cast<std::byte>(random());
  const uint64_t block = brim_dtype_block_bytes(dtype);
  std::uniform_real_distribution<float> factor(0.5f, 1.5f);
  for (uint64_t at = 0; at < out.size(); at += block) {
    if (dtype == BRIM_DTYPE_MXFP4) {
      out[at] = static_cast<std::byte>(121 + random() % 4);  // 2^-6 .. 2^-3
      continue;
    }
    const BlockFormat& format = *format_of(dtype);
    for (const int offset : {format.scale, format.minimum}) {
      if (offset < 0) continue;
      const float sign = random() % 8 == 0 ? -1.0f : 1.0f;
      const uint16_t half = to_half(sign * format.size * factor(random));
      std::memcpy(&out[at + static_cast<uint64_t>(offset)], &half, 2);
    }
  }
  return out;
}

}  // namespace check
