// How the K-quants pack their 6-bit scales into 12 bytes.
#pragma once

#include <cstdint>

namespace brim::model {

// Q3_K: scale s of 16, less the 32 that is added for storage. Four low bits in nibbles of bytes 0..7 (s and s + 8 share
// a byte), two high bits in bytes 8..11 (s, s + 4, s + 8, s + 12 share a byte).
inline int q3k_scale(const uint8_t (&packed)[12], int s) {
  const int low = packed[s % 8] >> (s / 8 * 4) & 0xF;
  const int high = packed[8 + s % 4] >> (s / 4 * 2) & 3;
  return (low | high << 4) - 32;
}

// `scales` are -32..31.
inline void pack_q3k_scales(const int (&scales)[16], uint8_t (&packed)[12]) {
  for (uint8_t& byte : packed) byte = 0;
  for (int s = 0; s < 16; ++s) {
    const int value = scales[s] + 32;
    packed[s % 8] = static_cast<uint8_t>(packed[s % 8] | (value & 0xF) << (s / 8 * 4));
    packed[8 + s % 4] = static_cast<uint8_t>(packed[8 + s % 4] | (value >> 4) << (s / 4 * 2));
  }
}

struct ScaleMin {
  int scale, min;
};

// Q4_K and Q5_K: scale and minimum s of 8. The first four stand in the low six bits of bytes 0..3 and 4..7; the others
// have four bits in the nibbles of bytes 8..11 and two in the top bits of the first eight.
inline ScaleMin q4k_scale_min(const uint8_t (&packed)[12], int s) {
  if (s < 4) return {packed[s] & 63, packed[s + 4] & 63};
  return {(packed[s + 4] & 0xF) | (packed[s - 4] >> 6) << 4, (packed[s + 4] >> 4) | (packed[s] >> 6) << 4};
}

// Scales and minimums are 0..63.
inline void pack_q4k_scales(const ScaleMin (&values)[8], uint8_t (&packed)[12]) {
  for (int s = 0; s < 4; ++s) {
    packed[s] = static_cast<uint8_t>(values[s].scale | (values[s + 4].scale >> 4) << 6);
    packed[s + 4] = static_cast<uint8_t>(values[s].min | (values[s + 4].min >> 4) << 6);
    packed[s + 8] = static_cast<uint8_t>((values[s + 4].scale & 0xF) | (values[s + 4].min & 0xF) << 4);
  }
}

}  // namespace brim::model
