// Material of the kernel tests: random weight rows of every format, and an independent reading of them.
//
// element() decodes one weight at a time in float64, straight from the description of the formats: it shares no code
// and no shape of code with the backend.
#pragma once

#include <brim/types.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace kernel_test {

inline double half_at(const uint8_t* p) {
  const int bits = p[0] | p[1] << 8;
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31) return fraction != 0 ? std::nan("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

inline int nibble(const uint8_t* q, int i) { return i < 16 ? q[i] & 15 : q[i - 16] >> 4; }
inline int bit(const uint8_t* q, int i) { return q[i / 8] >> i % 8 & 1; }
inline int signed8(uint8_t b) { return b < 128 ? b : b - 256; }

// The scale (first) or minimum (second) of sub-block j of Q4_K and Q5_K.
inline int six_bits(const uint8_t* s, int j, bool minimum) {
  if (j < 4) return s[minimum ? j + 4 : j] & 63;
  const int low = minimum ? s[j + 4] >> 4 : s[j + 4] & 15;
  return low + 16 * (s[minimum ? j : j - 4] >> 6);
}

// Weight i of a row.
inline double element(uint32_t dtype, const uint8_t* row, int64_t i) {
  static const int kNl[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  static const double kFp4[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6};
  const int64_t per = brim_dtype_block_elements(dtype);
  const uint8_t* b = row + i / per * brim_dtype_block_bytes(dtype);
  const int e = static_cast<int>(i % per);
  switch (dtype) {
    case BRIM_DTYPE_F32: {
      float v;
      std::memcpy(&v, b, 4);
      return v;
    }
    case BRIM_DTYPE_F16:
      return half_at(b);
    case BRIM_DTYPE_BF16: {
      const uint32_t bits = static_cast<uint32_t>(b[0] << 16 | b[1] << 24);
      float v;
      std::memcpy(&v, &bits, 4);
      return v;
    }
    case BRIM_DTYPE_Q4_0:
      return half_at(b) * (nibble(b + 2, e) - 8);
    case BRIM_DTYPE_Q4_1:
      return half_at(b) * nibble(b + 4, e) + half_at(b + 2);
    case BRIM_DTYPE_Q5_0:
      return half_at(b) * (nibble(b + 6, e) + 16 * bit(b + 2, e) - 16);
    case BRIM_DTYPE_Q5_1:
      return half_at(b) * (nibble(b + 8, e) + 16 * bit(b + 4, e)) + half_at(b + 2);
    case BRIM_DTYPE_Q8_0:
      return half_at(b) * signed8(b[2 + e]);
    case BRIM_DTYPE_IQ4_NL:
      return half_at(b) * kNl[nibble(b + 2, e)];
    case BRIM_DTYPE_MXFP4:
      return std::ldexp(kFp4[nibble(b + 1, e)], b[0] - 127);
    case BRIM_DTYPE_Q2_K: {
      const int q = b[16 + e / 128 * 32 + e % 32] >> e % 128 / 32 * 2 & 3;
      return half_at(b + 80) * (b[e / 16] & 15) * q - half_at(b + 82) * (b[e / 16] >> 4);
    }
    case BRIM_DTYPE_Q3_K: {
      const int q = b[32 + e / 128 * 32 + e % 32] >> e % 128 / 32 * 2 & 3;
      const int high = b[e % 32] >> e / 32 & 1;
      const int g = e / 16;
      const int scale = (b[96 + g % 8] >> (g < 8 ? 0 : 4) & 15) + (b[104 + g % 4] >> g / 4 * 2 & 3) * 16 - 32;
      return half_at(b + 108) * scale * (q - (high ? 0 : 4));
    }
    case BRIM_DTYPE_Q4_K: {
      const int q = b[16 + e / 64 * 32 + e % 32] >> (e % 64 < 32 ? 0 : 4) & 15;
      return half_at(b) * six_bits(b + 4, e / 32, false) * q - half_at(b + 2) * six_bits(b + 4, e / 32, true);
    }
    case BRIM_DTYPE_Q5_K: {
      const int q = (b[48 + e / 64 * 32 + e % 32] >> (e % 64 < 32 ? 0 : 4) & 15) + (b[16 + e % 32] >> e / 32 & 1) * 16;
      return half_at(b) * six_bits(b + 4, e / 32, false) * q - half_at(b + 2) * six_bits(b + 4, e / 32, true);
    }
    case BRIM_DTYPE_Q6_K: {
      const int low = b[e / 128 * 64 + e % 64] >> (e % 128 < 64 ? 0 : 4) & 15;
      const int high = b[128 + e / 128 * 32 + e % 32] >> e % 128 / 32 * 2 & 3;
      return half_at(b + 208) * signed8(b[192 + e / 16]) * (low + 16 * high - 32);
    }
    case BRIM_DTYPE_IQ4_XS: {
      const int j = e / 32;
      const int scale = (b[4 + j / 2] >> j % 2 * 4 & 15) + ((b[2] | b[3] << 8) >> 2 * j & 3) * 16 - 32;
      return half_at(b) * scale * kNl[nibble(b + 8 + 16 * j, e % 32)];
    }
    default:
      return std::nan("");
  }
}

inline std::vector<uint32_t> all_dtypes() {
  return {BRIM_DTYPE_F32,  BRIM_DTYPE_F16,   BRIM_DTYPE_BF16,   BRIM_DTYPE_Q4_0,  BRIM_DTYPE_Q4_1, BRIM_DTYPE_Q5_0,
          BRIM_DTYPE_Q5_1, BRIM_DTYPE_Q8_0,  BRIM_DTYPE_Q2_K,   BRIM_DTYPE_Q3_K,  BRIM_DTYPE_Q4_K, BRIM_DTYPE_Q5_K,
          BRIM_DTYPE_Q6_K, BRIM_DTYPE_MXFP4, BRIM_DTYPE_IQ4_NL, BRIM_DTYPE_IQ4_XS};
}

inline std::vector<uint32_t> quantised_dtypes() {
  std::vector<uint32_t> all = all_dtypes();
  all.erase(all.begin(), all.begin() + 3);
  return all;
}

// Where a block keeps its F16 scales.
inline std::vector<int> scale_offsets(uint32_t dtype) {
  switch (dtype) {
    case BRIM_DTYPE_Q4_0:
    case BRIM_DTYPE_Q5_0:
    case BRIM_DTYPE_Q8_0:
    case BRIM_DTYPE_IQ4_NL:
    case BRIM_DTYPE_IQ4_XS:
      return {0};
    case BRIM_DTYPE_Q4_1:
    case BRIM_DTYPE_Q5_1:
    case BRIM_DTYPE_Q4_K:
    case BRIM_DTYPE_Q5_K:
      return {0, 2};
    case BRIM_DTYPE_Q2_K:
      return {80, 82};
    case BRIM_DTYPE_Q3_K:
      return {108};
    case BRIM_DTYPE_Q6_K:
      return {208};
    default:
      return {};
  }
}

// Random rows [rows, k]: every code and scale bit random, F16 scales around +-0.01.
inline std::vector<uint8_t> random_weights(uint32_t dtype, int64_t rows, int64_t k, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> data(static_cast<size_t>(rows) * brim_dtype_row_bytes(dtype, static_cast<uint64_t>(k)));
  for (uint8_t& b : data) b = static_cast<uint8_t>(random());
  const size_t step = brim_dtype_block_bytes(dtype);
  for (size_t at = 0; at < data.size(); at += step) {
    uint8_t* b = data.data() + at;
    if (dtype == BRIM_DTYPE_F32) {
      const float v = std::normal_distribution<float>()(random);
      std::memcpy(b, &v, 4);
    } else if (dtype == BRIM_DTYPE_F16) {
      b[1] = static_cast<uint8_t>((b[1] & 0x83) | 0x30 | (random() & 8));
    } else if (dtype == BRIM_DTYPE_BF16) {
      b[1] = static_cast<uint8_t>((b[1] & 0x80) | 0x3f);
    } else if (dtype == BRIM_DTYPE_MXFP4) {
      b[0] = static_cast<uint8_t>(120 + random() % 6);
    }
    for (const int offset : scale_offsets(dtype)) b[offset + 1] = static_cast<uint8_t>((b[offset + 1] & 0x83) | 0x20);
  }
  return data;
}

inline std::vector<float> random_floats(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> v(n);
  for (float& x : v) x = normal(random);
  return v;
}

// Does this processor run the variant that the test was built for? Says so where it does not.
bool host_runs_variant();

}  // namespace kernel_test
