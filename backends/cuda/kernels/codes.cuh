// Weights of a row as signed bytes, for products of bytes: what each block format stores, times scales, less minima.
//
// A unit is 32 weights whose bytes in the file lie together: two runs of 16, which are neighbours in the flat formats
// and 32 or 64 weights apart in most K formats, where bits of one byte belong to both. Each run has its codes and its
// scale. Minima are counted by blocks of 32, as the sums of quantised rows are, so a unit sees to one of the blocks
// that it has a half of; only Q2_K has a minimum for each run.
#pragma once

#include "weights.cuh"

namespace brim_gpu {

struct Unit {
  uint4 code[2];     // of each run, four to a word
  float scale[2];    // of each run
  float minimum[2];  // what is subtracted from the weights of unit_place's block; of each run of Q2_K
};

// Where unit u's runs lie in its row, in runs of 16, and which block of 32 it sees to: that of run 0 or of run 1.
struct Place {
  uint run[2], half;
  __device__ __forceinline__ uint block() const { return (half == 0 ? run[0] : run[1]) / 2; }
};

// Formats with a scale for each run of 16; the others have one for 32.
__host__ __device__ constexpr bool scales_runs(uint format) {
  return format == kQ2_K || format == kQ3_K || format == kQ6_K;
}
// Runs that are 32 weights apart: low and high bits of the same bytes.
__host__ __device__ constexpr bool splits_bytes(uint format) {
  return format == kQ2_K || format == kQ3_K || format == kQ4_K || format == kQ5_K;
}
// Codes without sign that stand for themselves less a constant.
__host__ __device__ constexpr bool has_offset(uint format) { return format == kQ4_0 || format == kQ5_0; }
// `centred`: the constant is taken from the codes, which is dear for one row of x and cheap for many; else it is a
// minimum.
__host__ __device__ constexpr bool has_minimum(uint format, bool centred) {
  return format == kQ4_1 || format == kQ5_1 || format == kQ2_K || format == kQ4_K || format == kQ5_K ||
         (has_offset(format) && !centred);
}

template <uint kFormat>
__device__ __forceinline__ Place unit_place(uint u) {
  if constexpr (splits_bytes(kFormat)) {
    const uint low = u / 2 * 4 + u % 2;
    return {{low, low + 2}, u % 2};
  } else if constexpr (kFormat == kQ6_K) {
    const uint low = u / 4 * 8 + u % 4;
    return {{low, low + 4}, 0};
  } else {
    return {{2 * u, 2 * u + 1}, 0};
  }
}

// 16 bytes at an address of that alignment. Where it is less than a word's, words where they lie, put together; none
// that goes beyond the bytes.
template <uint kAlign>
__device__ __forceinline__ uint4 quad_at(uint64_t a) {
  if constexpr (kAlign == 16) {
    return *pointer<const uint4>(a);
  } else if constexpr (kAlign == 8) {
    const uint2 low = pointer<const uint2>(a)[0], high = pointer<const uint2>(a)[1];
    return {low.x, low.y, high.x, high.y};
  } else {
    const uint off = kAlign < 4 ? static_cast<uint>(a) & 3u : 0;
    const uint* from = pointer<const uint>(a - off);
    const uint4 v = {from[0], from[1], from[2], from[3]};
    if constexpr (kAlign == 4) return v;
    uint last = (off & 2u) != 0 ? load16(a - off + 16) : 0;
    if (kAlign == 1 && (off & 1u) != 0) last |= load8(a + 15) << 8 * (off & 2u);
    return {__funnelshift_r(v.x, v.y, 8 * off), __funnelshift_r(v.y, v.z, 8 * off), __funnelshift_r(v.z, v.w, 8 * off),
            __funnelshift_r(v.w, last, 8 * off)};
  }
}

template <class F>
__device__ __forceinline__ uint4 each(uint4 v, F f) {
  return {f(v.x), f(v.y), f(v.z), f(v.w)};
}
template <class F>
__device__ __forceinline__ uint4 each(uint4 v, uint4 w, F f) {
  return {f(v.x, w.x), f(v.y, w.y), f(v.z, w.z), f(v.w, w.w)};
}
// Bits `shift` and up of each byte, as many as `mask` has, moved to the bottom.
__device__ __forceinline__ uint4 bits_of(uint4 v, uint shift, uint mask) {
  return each(v, [=](uint x) { return x >> shift & mask * 0x01010101u; });
}
// Each byte, of less than 128, less kOffset: no sum goes into the next byte.
template <uint kOffset>
__device__ __forceinline__ uint4 less(uint4 v) {
  return each(v, [](uint x) { return (x + (128u - kOffset) * 0x01010101u) ^ 0x80808080u; });
}
// The low 16 bits of `bits` as the bytes' bit 4: a bit a byte.
__device__ __forceinline__ uint4 fifth_bits(uint bits) {
  const auto spread = [](uint four) { return (four & 15u) * 0x00204081u << 4 & 0x10101010u; };
  return {spread(bits), spread(bits >> 4), spread(bits >> 8), spread(bits >> 12)};
}

// Sixteen signed bytes in four words, looked up by nibbles: the low ones of each byte of q, and the high ones. A nibble
// picks from the lower eight and from the upper eight, then its bit 3 from the two.
struct Table {
  uint word[4];
  __device__ __forceinline__ void look_up(uint q, uint& low, uint& high) const {
    const auto four = [&](uint n) {
      const uint which = n & 0x7777u;
      return __byte_perm(__byte_perm(word[0], word[1], which), __byte_perm(word[2], word[3], which),
                         0x3210u | (n >> 1 & 0x4444u));
    };
    const uint first = four(q), second = four(q >> 16);
    low = __byte_perm(first, second, 0x6420u);
    high = __byte_perm(first, second, 0x7531u);
  }
  __device__ __forceinline__ void look_up(uint4 q, uint4 (&code)[2]) const {
    look_up(q.x, code[0].x, code[1].x);
    look_up(q.y, code[0].y, code[1].y);
    look_up(q.z, code[0].z, code[1].z);
    look_up(q.w, code[0].w, code[1].w);
  }
};
// kIq4 and kFp4Doubled of weights.cuh.
__device__ constexpr Table kIq4Codes{{0xbfad9881, 0xf6eaddcf, 0x26190d01, 0x71594535}};
__device__ constexpr Table kFp4Codes{{0x03020100, 0x0c080604, 0xfdfeff00, 0xf4f8fafc}};

// Scale and minimum j of Q4_K and Q5_K, of the 12 bytes that hold all of a block.
__device__ __forceinline__ uint2 packed_scale(uint3 packed, uint j) {
  const uint shift = 8 * (j % 4), x = packed.x >> shift, y = packed.y >> shift, z = packed.z >> shift;
  if (j < 4) return {x & 63u, y & 63u};
  return {(z & 15u) | (x >> 2 & 48u), (z >> 4 & 15u) | (y >> 2 & 48u)};
}

// Unit u of a format of blocks of 32.
template <uint kFormat, bool kCentred>
__device__ __forceinline__ Unit load_flat_unit(uint64_t row, uint u) {
  Unit unit;
  const uint64_t p = row + uint64_t{block_bytes(kFormat)} * u;
  float d = 0, minimum = 0;
  if constexpr (kFormat == kMXFP4) {
    // As in weights.cuh: half of 2^(e - 127), in two factors of which none is subnormal.
    const uint e = load8(p), first = e >> 1;
    d = __uint_as_float((first + 64u) << 23) * __uint_as_float((e - first + 62u) << 23);
    kFp4Codes.look_up(quad_at<1>(p + 1), unit.code);
  } else {
    d = half_to_float(load16(p));
    if constexpr (kFormat == kQ8_0) {
      unit.code[0] = quad_at<2>(p + 2);
      unit.code[1] = quad_at<2>(p + 18);
    } else if constexpr (kFormat == kIQ4_NL) {
      kIq4Codes.look_up(quad_at<2>(p + 2), unit.code);
    } else {
      constexpr bool kFifth = kFormat == kQ5_0 || kFormat == kQ5_1, kOwnMinimum = kFormat == kQ4_1 || kFormat == kQ5_1;
      const uint4 q = quad_at < kFormat == kQ4_1 ? 4 : kFormat == kQ5_1 ? 8 : 2 > (p + block_bytes(kFormat) - 16);
      const uint fifth = kFifth ? load32(p + (kOwnMinimum ? 4 : 2)) : 0;
      if (kOwnMinimum) minimum = -half_to_float(load16(p + 2));
#pragma unroll
      for (uint i = 0; i < 2; ++i) {
        unit.code[i] = bits_of(q, 4 * i, 15u);
        if (kFifth)
          unit.code[i] = each(unit.code[i], fifth_bits(fifth >> 16 * i), [](uint x, uint y) { return x | y; });
        constexpr uint kOffset = kFifth ? 16 : 8;
        if (has_offset(kFormat) && kCentred) unit.code[i] = less<kOffset>(unit.code[i]);
        if (has_offset(kFormat) && !kCentred) minimum = static_cast<float>(kOffset) * d;
      }
    }
  }
  unit.scale[0] = unit.scale[1] = d;
  unit.minimum[0] = unit.minimum[1] = minimum;
  return unit;
}

// Unit u of a format of blocks of 256, eight units each. kBoth: of Q4_K and Q5_K the minimum of each run, not of the
// block that the unit sees to.
template <uint kFormat, bool kBoth>
__device__ __forceinline__ Unit load_k_unit(uint64_t row, uint u) {
  Unit unit;
  const uint64_t p = row + uint64_t{block_bytes(kFormat)} * (u / 8);
  const uint inner = u % 8, half_block = inner / 4, pair = inner / 2 % 2, half = inner % 2;
  unit.minimum[0] = unit.minimum[1] = 0;
  if constexpr (kFormat == kQ4_K || kFormat == kQ5_K) {
    const uint4 head = *pointer<const uint4>(p), q = pointer<const uint4>(p + (kFormat == kQ5_K ? 48 : 16))[inner];
    const float d = half_to_float(head.x & 0xffffu), m = half_to_float(head.x >> 16);
    const uint3 packed = {head.y, head.z, head.w};
    const uint2 low = packed_scale(packed, inner / 2 * 2), high = packed_scale(packed, inner / 2 * 2 + 1);
    unit.scale[0] = d * whole(low.x);
    unit.scale[1] = d * whole(high.x);
    unit.minimum[0] = m * whole(kBoth || half == 0 ? low.y : high.y);
    if (kBoth) unit.minimum[1] = m * whole(high.y);
    unit.code[0] = bits_of(q, 0, 15u);
    unit.code[1] = bits_of(q, 4, 15u);
    if constexpr (kFormat == kQ5_K) {
      const uint4 top = pointer<const uint4>(p + 16)[half];
#pragma unroll
      for (uint i = 0; i < 2; ++i) {
        unit.code[i] =
            each(unit.code[i], bits_of(top, inner / 2 * 2 + i, 1u), [](uint x, uint y) { return x | y << 4; });
      }
    }
  } else if constexpr (kFormat == kQ2_K) {
    const uint scales = load8(p + 8 * half_block + 4 * pair + half) | load8(p + 8 * half_block + 4 * pair + half + 2)
                                                                          << 8;
    const uint both = *pointer<const uint>(p + 80);
    const float d = half_to_float(both & 0xffffu), m = half_to_float(both >> 16);
    const uint4 q = quad_at<4>(p + 16 + 32 * half_block + 16 * half);
#pragma unroll
    for (uint i = 0; i < 2; ++i) {
      unit.code[i] = bits_of(q, 4 * pair + 2 * i, 3u);
      unit.scale[i] = d * whole(scales >> 8 * i & 15u);
      unit.minimum[i] = m * whole(scales >> (8 * i + 4) & 15u);
    }
  } else if constexpr (kFormat == kQ3_K) {
    const float d = half_to_float(load16(p + 108));
    const uint4 q = quad_at<2>(p + 32 + 32 * half_block + 16 * half), top = quad_at<2>(p + 16 * half);
#pragma unroll
    for (uint i = 0; i < 2; ++i) {
      const uint run = 4 * pair + 2 * i + half;  // of a half block
      const uint low = load8(p + 96 + run) >> 4 * half_block & 15u;
      const uint high = load8(p + 104 + run % 4) >> 2 * (2 * half_block + pair) & 3u;
      unit.scale[i] = d * (whole(low | high << 4) - 32.0f);
      unit.code[i] = less<4>(each(bits_of(q, 4 * pair + 2 * i, 3u), bits_of(top, 4 * half_block + 2 * pair + i, 1u),
                                  [](uint x, uint y) { return x | y << 2; }));
    }
  } else if constexpr (kFormat == kQ6_K) {
    const float d = half_to_float(load16(p + 208));
    const uint4 q = quad_at<2>(p + 16 * inner), top = quad_at<2>(p + 128 + 32 * half_block + 16 * half);
#pragma unroll
    for (uint i = 0; i < 2; ++i) {
      unit.scale[i] = d * signed_byte(load8(p + 192 + 8 * half_block + 4 * i + inner % 4));
      unit.code[i] = less<32>(
          each(bits_of(q, 4 * i, 15u), bits_of(top, 4 * i + 2 * pair, 3u), [](uint x, uint y) { return x | y << 4; }));
    }
  } else {  // IQ4_XS
    const uint scale = (load8(p + 4 + inner / 2) >> 4 * half & 15u) | (load16(p + 2) >> 2 * inner & 3u) << 4;
    unit.scale[0] = unit.scale[1] = half_to_float(load16(p)) * (whole(scale) - 32.0f);
    kIq4Codes.look_up(quad_at<8>(p + 8 + 16 * inner), unit.code);
  }
  return unit;
}

template <uint kFormat, bool kCentred>
__device__ __forceinline__ Unit load_unit(uint64_t row, uint u) {
  if constexpr (block_weights(kFormat) == 32) {
    return load_flat_unit<kFormat, kCentred>(row, u);
  } else {
    return load_k_unit<kFormat, false>(row, u);
  }
}

// The same for those who go along a row by 64 weights: two units have all of them. Of Q6_K, whose units are spread over
// 128, runs 2 u and 2 u + 1 instead. Each run has its minimum, and codes are centred.
template <uint kFormat>
__device__ __forceinline__ Place neighbour_place(uint u) {
  return splits_bytes(kFormat) ? Place{{u, u + 2}, u} : Place{{2 * u, 2 * u + 1}, 0};
}
template <uint kFormat>
__device__ __forceinline__ Unit load_neighbours(uint64_t row, uint u) {
  if constexpr (block_weights(kFormat) == 32) {
    return load_flat_unit<kFormat, true>(row, u);
  } else if constexpr (kFormat != kQ6_K) {
    return load_k_unit<kFormat, true>(row, u);
  } else {
    Unit unit;
    const uint64_t p = row + uint64_t{block_bytes(kFormat)} * (u / 8);
    const uint half_block = u / 4 % 2, quarter = u % 4;  // 128 weights share bytes: 32 have one part of each
    const float d = half_to_float(load16(p + 208));
#pragma unroll
    for (uint i = 0; i < 2; ++i) {
      const uint4 q = quad_at<2>(p + 64 * half_block + 32 * (quarter % 2) + 16 * i);
      const uint4 top = quad_at<2>(p + 128 + 32 * half_block + 16 * i);
      unit.code[i] = less<32>(each(bits_of(q, 4 * (quarter / 2), 15u), bits_of(top, 2 * quarter, 3u),
                                   [](uint x, uint y) { return x | y << 4; }));
      unit.scale[i] = d * signed_byte(load8(p + 192 + 8 * half_block + 2 * quarter + i));
      unit.minimum[i] = 0;
    }
    return unit;
  }
}

}  // namespace brim_gpu
