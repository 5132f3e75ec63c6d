// The block-quantised layouts, written out plainly: bytes of one block to small integers and scales.
//
// This file is the specification of the layouts; decoding, the strict kernels and the scalar references of the integer
// kernels are built on it. There are two families:
//   flat   32 elements, one scale:          y[i] = d * (code[i] - kOffset) + m
//   super  256 elements, 16 groups of 16:   y[i] = (d * scale[g]) * (code[i] - kOffset) - dmin * min[g],  g = i / 16
// d, m and dmin are exact conversions of what the file stores. Layouts with a scale per 32 elements write it to both
// groups of 16. All codes fit in int8_t; those of a layout with kOffset != 0 or with minima are not negative.
#pragma once

#include <brim/types.h>

#include <bit>
#include <cstdint>
#include <cstring>

#include "formats/half.hpp"

namespace brim_cpu {

struct FlatBlock {
  int8_t code[32];
  float d;
  float m;
};

struct SuperBlock {
  int8_t code[256];
  int8_t scale[16];
  uint8_t min[16];
  float d;
  float dmin;
};

// The 16 values of IQ4_NL and IQ4_XS.
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// The 16 values of FP4 E2M1, doubled so that they are integers.
inline constexpr int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
inline constexpr int kFp4Max = 12;

// Half of an E8M0 scale, 2^(e - 128): the other half went into kFp4Values. A product of two normal floats, so that the
// two smallest scales come out as the F32 subnormals they are.
inline float e8m0_half(uint8_t e) {
  const uint32_t a = e >> 1;
  const uint32_t b = e - a;
  return std::bit_cast<float>((a + 64u) << 23) * std::bit_cast<float>((b + 62u) << 23);
}

// Elements j and j + 16 share a byte in every flat 4- and 5-bit layout. Eight bytes at a time.
inline void split_nibbles(const uint8_t* q, int8_t* code) {
  constexpr uint64_t kLow = 0x0f0f0f0f0f0f0f0f;
  for (int j = 0; j < 16; j += 8) {
    uint64_t bytes;
    std::memcpy(&bytes, q + j, 8);
    const uint64_t low = bytes & kLow, high = (bytes >> 4) & kLow;
    std::memcpy(code + j, &low, 8);
    std::memcpy(code + j + 16, &high, 8);
  }
}

// Bit i of `high` is bit 4 of element i. Eight elements at a time: every byte keeps one of eight copies' bits, and the
// addition carries a set bit, wherever it is, into the byte's top.
inline void add_fifth_bits(uint32_t high, int8_t* code) {
  for (int i = 0; i < 32; i += 8) {
    const uint64_t copies = ((high >> i) & 0xffu) * 0x0101010101010101u;
    const uint64_t top = ((copies & 0x8040201008040201u) + 0x7f7f7f7f7f7f7f7fu) & 0x8080808080808080u;
    uint64_t codes;
    std::memcpy(&codes, code + i, 8);
    codes |= top >> 3;
    std::memcpy(code + i, &codes, 8);
  }
}

struct Q4_0Layout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_Q4_0;
  static constexpr uint32_t kBytes = 18;
  static constexpr int kElements = 32;
  static constexpr int kOffset = 8;
  static void unpack(const uint8_t* p, FlatBlock& b) {
    b.d = half_to_float(load_u16(p));
    b.m = 0;
    split_nibbles(p + 2, b.code);
  }
};

struct Q4_1Layout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_Q4_1;
  static constexpr uint32_t kBytes = 20;
  static constexpr int kElements = 32;
  static constexpr int kOffset = 0;
  static void unpack(const uint8_t* p, FlatBlock& b) {
    b.d = half_to_float(load_u16(p));
    b.m = half_to_float(load_u16(p + 2));
    split_nibbles(p + 4, b.code);
  }
};

struct Q5_0Layout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_Q5_0;
  static constexpr uint32_t kBytes = 22;
  static constexpr int kElements = 32;
  static constexpr int kOffset = 16;
  static void unpack(const uint8_t* p, FlatBlock& b) {
    b.d = half_to_float(load_u16(p));
    b.m = 0;
    split_nibbles(p + 6, b.code);
    add_fifth_bits(load_u32(p + 2), b.code);
  }
};

struct Q5_1Layout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_Q5_1;
  static constexpr uint32_t kBytes = 24;
  static constexpr int kElements = 32;
  static constexpr int kOffset = 0;
  static void unpack(const uint8_t* p, FlatBlock& b) {
    b.d = half_to_float(load_u16(p));
    b.m = half_to_float(load_u16(p + 2));
    split_nibbles(p + 8, b.code);
    add_fifth_bits(load_u32(p + 4), b.code);
  }
};

struct Q8_0Layout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_Q8_0;
  static constexpr uint32_t kBytes = 34;
  static constexpr int kElements = 32;
  static constexpr int kOffset = 0;
  static void unpack(const uint8_t* p, FlatBlock& b) {
    b.d = half_to_float(load_u16(p));
    b.m = 0;
    std::memcpy(b.code, p + 2, 32);
  }
};

struct Iq4NlLayout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_IQ4_NL;
  static constexpr uint32_t kBytes = 18;
  static constexpr int kElements = 32;
  static constexpr int kOffset = 0;
  static void unpack(const uint8_t* p, FlatBlock& b) {
    b.d = half_to_float(load_u16(p));
    b.m = 0;
    split_nibbles(p + 2, b.code);
    for (int8_t& c : b.code) c = kIq4Values[c];
  }
};

struct Mxfp4Layout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_MXFP4;
  static constexpr uint32_t kBytes = 17;
  static constexpr int kElements = 32;
  static constexpr int kOffset = kFp4Max;
  static void unpack(const uint8_t* p, FlatBlock& b) {
    b.d = e8m0_half(p[0]);
    b.m = 0;
    split_nibbles(p + 1, b.code);
    for (int8_t& c : b.code) c = static_cast<int8_t>(kFp4Values[c] + kFp4Max);
  }
};

struct Q2KLayout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_Q2_K;
  static constexpr uint32_t kBytes = 84;
  static constexpr int kElements = 256;
  static constexpr int kOffset = 0;
  static void unpack(const uint8_t* p, SuperBlock& b) {  // scales[16] qs[64] d dmin
    b.d = half_to_float(load_u16(p + 80));
    b.dmin = half_to_float(load_u16(p + 82));
    for (int g = 0; g < 16; ++g) {
      b.scale[g] = static_cast<int8_t>(p[g] & 15);
      b.min[g] = p[g] >> 4;
    }
    for (int half = 0; half < 2; ++half)
      for (int j = 0; j < 4; ++j)
        for (int l = 0; l < 32; ++l)
          b.code[128 * half + 32 * j + l] = static_cast<int8_t>((p[16 + 32 * half + l] >> (2 * j)) & 3);
  }
};

struct Q3KLayout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_Q3_K;
  static constexpr uint32_t kBytes = 110;
  static constexpr int kElements = 256;
  static constexpr int kOffset = 4;
  static void unpack(const uint8_t* p, SuperBlock& b) {  // hmask[32] qs[64] scales[12] d
    b.d = half_to_float(load_u16(p + 108));
    b.dmin = 0;
    // 16 scales of 6 bits: the low nibbles in bytes 0..7, the upper two bits of scale g in byte 8 + g % 4.
    for (int g = 0; g < 16; ++g) {
      const int low = g < 8 ? p[96 + g] & 15 : p[96 + g - 8] >> 4;
      const int high = (p[104 + g % 4] >> (2 * (g / 4))) & 3;
      b.scale[g] = static_cast<int8_t>((low | (high << 4)) - 32);
      b.min[g] = 0;
    }
    for (int half = 0; half < 2; ++half)
      for (int j = 0; j < 4; ++j)
        for (int l = 0; l < 32; ++l) {
          const int low = (p[32 + 32 * half + l] >> (2 * j)) & 3;
          const int high = (p[l] >> (4 * half + j)) & 1;
          b.code[128 * half + 32 * j + l] = static_cast<int8_t>(low | (high << 2));
        }
  }
};

// The eight 6-bit scales and minima of Q4_K and Q5_K, packed into 12 bytes.
inline void unpack_scales_6bit(const uint8_t* s, SuperBlock& b) {
  for (int j = 0; j < 8; ++j) {
    const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4);
    const int min = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | ((s[j] >> 6) << 4);
    b.scale[2 * j] = b.scale[2 * j + 1] = static_cast<int8_t>(scale);
    b.min[2 * j] = b.min[2 * j + 1] = static_cast<uint8_t>(min);
  }
}

struct Q4KLayout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_Q4_K;
  static constexpr uint32_t kBytes = 144;
  static constexpr int kElements = 256;
  static constexpr int kOffset = 0;
  static void unpack(const uint8_t* p, SuperBlock& b) {  // d dmin scales[12] qs[128]
    b.d = half_to_float(load_u16(p));
    b.dmin = half_to_float(load_u16(p + 2));
    unpack_scales_6bit(p + 4, b);
    for (int c = 0; c < 4; ++c)
      for (int l = 0; l < 32; ++l) {
        b.code[64 * c + l] = static_cast<int8_t>(p[16 + 32 * c + l] & 15);
        b.code[64 * c + 32 + l] = static_cast<int8_t>(p[16 + 32 * c + l] >> 4);
      }
  }
};

struct Q5KLayout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_Q5_K;
  static constexpr uint32_t kBytes = 176;
  static constexpr int kElements = 256;
  static constexpr int kOffset = 0;
  static void unpack(const uint8_t* p, SuperBlock& b) {  // d dmin scales[12] qh[32] qs[128]
    b.d = half_to_float(load_u16(p));
    b.dmin = half_to_float(load_u16(p + 2));
    unpack_scales_6bit(p + 4, b);
    for (int c = 0; c < 4; ++c)
      for (int l = 0; l < 32; ++l) {
        const int q = p[48 + 32 * c + l];
        const int high = p[16 + l] >> (2 * c);
        b.code[64 * c + l] = static_cast<int8_t>((q & 15) | ((high & 1) << 4));
        b.code[64 * c + 32 + l] = static_cast<int8_t>((q >> 4) | ((high & 2) << 3));
      }
  }
};

struct Q6KLayout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_Q6_K;
  static constexpr uint32_t kBytes = 210;
  static constexpr int kElements = 256;
  static constexpr int kOffset = 32;
  static void unpack(const uint8_t* p, SuperBlock& b) {  // ql[128] qh[64] scales[16] d
    b.d = half_to_float(load_u16(p + 208));
    b.dmin = 0;
    for (int g = 0; g < 16; ++g) {
      b.scale[g] = static_cast<int8_t>(p[192 + g]);
      b.min[g] = 0;
    }
    for (int half = 0; half < 2; ++half)
      for (int l = 0; l < 32; ++l) {
        const int a = p[64 * half + l];
        const int c = p[64 * half + 32 + l];
        const int high = p[128 + 32 * half + l];
        int8_t* code = b.code + 128 * half + l;
        code[0] = static_cast<int8_t>((a & 15) | ((high & 3) << 4));
        code[32] = static_cast<int8_t>((c & 15) | (((high >> 2) & 3) << 4));
        code[64] = static_cast<int8_t>((a >> 4) | (((high >> 4) & 3) << 4));
        code[96] = static_cast<int8_t>((c >> 4) | ((high >> 6) << 4));
      }
  }
};

struct Iq4XsLayout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_IQ4_XS;
  static constexpr uint32_t kBytes = 136;
  static constexpr int kElements = 256;
  static constexpr int kOffset = 0;
  static void unpack(const uint8_t* p, SuperBlock& b) {  // d scales_h(16 bit) scales_l[4] qs[128]
    b.d = half_to_float(load_u16(p));
    b.dmin = 0;
    const uint32_t high = load_u16(p + 2);
    const uint32_t low = load_u32(p + 4);
    for (int j = 0; j < 8; ++j) {
      const uint32_t scale = ((low >> (4 * j)) & 15u) | (((high >> (2 * j)) & 3u) << 4);
      b.scale[2 * j] = b.scale[2 * j + 1] = static_cast<int8_t>(static_cast<int>(scale) - 32);
      b.min[2 * j] = b.min[2 * j + 1] = 0;
      for (int l = 0; l < 16; ++l) {
        b.code[32 * j + l] = kIq4Values[p[8 + 16 * j + l] & 15];
        b.code[32 * j + 16 + l] = kIq4Values[p[8 + 16 * j + l] >> 4];
      }
    }
  }
};

}  // namespace brim_cpu
