// Eight neighbouring weights of a row as F32, in every stored format, exactly as the file means them: kFormat is the
// BRIM_DTYPE_* and a specialization constant, so that a pipeline holds the code of one format.
//
// In the flat formats a block has 32 weights and one scale, and elements j and j + 16 share a byte of the 4- and 5-bit
// ones. In the K formats a block has 256 weights in 16 groups with a scale each. `precise` keeps a product and the
// subtraction of a minimum apart: fused, they would round otherwise than the format's definition.
layout(constant_id = 1) const uint kFormat = 1;

const uint kF32 = 1, kF16 = 2, kBF16 = 3, kQ4_0 = 32, kQ4_1 = 33, kQ5_0 = 34, kQ5_1 = 35, kQ8_0 = 36, kQ2_K = 40,
           kQ3_K = 41, kQ4_K = 42, kQ5_K = 43, kQ6_K = 44, kIQ4_NL = 48, kIQ4_XS = 49, kMXFP4 = 64;
const bool kPlain = kFormat <= kBF16;  // rows of any length

const float kIq4[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
const float kFp4Doubled[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

float int8(uint byte) { return float(int(byte << 24) >> 24); }

// Eight bytes at an even address, or at any.
uvec2 eight(uint64_t a) { return uvec2(load32(a), load32(a + 4)); }
uvec2 eight_unaligned(uint64_t a) {
  uvec2 v = uvec2(0);
  [[unroll]] for (uint i = 0; i < 4; ++i) {
    v.x |= load8(a + i) << (8 * i);
    v.y |= load8(a + 4 + i) << (8 * i);
  }
  return v;
}
uint byte_of(uvec2 v, uint i) { return (i < 4 ? v.x >> (8 * i) : v.y >> (8 * i - 32)) & 255u; }

// Scale and minimum j of Q4_K and Q5_K: six bits each, packed into 12 bytes at s.
uvec2 packed_scale(uint64_t s, uint j) {
  if (j < 4) return uvec2(load8(s + j) & 63u, load8(s + j + 4) & 63u);
  const uint both = load8(s + j + 4);
  return uvec2((both & 15u) | ((load8(s + j - 4) >> 6) << 4), (both >> 4) | ((load8(s + j) >> 6) << 4));
}

// Weights 8 group .. 8 group + 7 of the row at `row`; those past its `k` read as 0.
void load_weights(uint64_t row, uint group, uint k, out float v[8]) {
  if (kFormat == kF32) {
    [[unroll]] for (uint i = 0; i < 8; ++i) v[i] = 8 * group + i < k ? Floats(row + 32ul * group).at[i] : 0.0;
  } else if (kFormat == kF16) {
    [[unroll]] for (uint i = 0; i < 8; ++i) {
      v[i] = 8 * group + i < k ? half_to_float(load16(row + 16ul * group + 2 * i)) : 0.0;
    }
  } else if (kFormat == kBF16) {
    [[unroll]] for (uint i = 0; i < 8; ++i) {
      v[i] = 8 * group + i < k ? bfloat_to_float(load16(row + 16ul * group + 2 * i)) : 0.0;
    }
  } else if (kFormat == kQ8_0) {
    const uint64_t p = row + 34ul * (group / 4);
    const float d = half_to_float(load16(p));
    const uvec2 q = eight(p + 2 + 8 * (group % 4));
    [[unroll]] for (uint i = 0; i < 8; ++i) v[i] = d * int8(byte_of(q, i));
  } else if (kFormat < kQ2_K || kFormat == kIQ4_NL || kFormat == kMXFP4) {
    // Nibbles: run 0 and 1 of a block are the low ones, 2 and 3 the high ones of the same bytes.
    const uint run = group % 4, shift = 4 * (run / 2), at = 8 * (run % 2);
    const uint bytes = kFormat == kQ4_0 || kFormat == kIQ4_NL ? 18
                       : kFormat == kQ4_1                     ? 20
                       : kFormat == kQ5_0                     ? 22
                       : kFormat == kQ5_1                     ? 24
                                                              : 17;
    const uint64_t p = row + uint64_t(bytes) * (group / 4);
    if (kFormat == kMXFP4) {
      // The scale is half of 2^(e - 127), as the values are doubled; in two factors, of which none is subnormal.
      const uint e = load8(p), first = e >> 1;
      const float d = uintBitsToFloat((first + 64u) << 23) * uintBitsToFloat((e - first + 62u) << 23);
      const uvec2 q = eight_unaligned(p + 1 + at);
      [[unroll]] for (uint i = 0; i < 8; ++i) v[i] = d * kFp4Doubled[(byte_of(q, i) >> shift) & 15u];
      return;
    }
    const float d = half_to_float(load16(p));
    const uvec2 q = eight(p + bytes - 16 + at);
    if (kFormat == kQ4_0) {
      [[unroll]] for (uint i = 0; i < 8; ++i) v[i] = d * (float((byte_of(q, i) >> shift) & 15u) - 8.0);
    } else if (kFormat == kIQ4_NL) {
      [[unroll]] for (uint i = 0; i < 8; ++i) v[i] = d * kIq4[(byte_of(q, i) >> shift) & 15u];
    } else {
      const bool fifth = kFormat == kQ5_0 || kFormat == kQ5_1;
      const bool offset = kFormat == kQ4_1 || kFormat == kQ5_1;
      const uint high = fifth ? load32(p + (offset ? 4 : 2)) >> (8 * run) : 0;
      const float m = offset ? half_to_float(load16(p + 2)) : 0.0;
      [[unroll]] for (uint i = 0; i < 8; ++i) {
        const float code = float(((byte_of(q, i) >> shift) & 15u) | (((high >> i) & 1u) << 4));
        precise const float product = d * (offset ? code : code - 16.0);
        precise const float sum = product + m;
        v[i] = offset ? sum : product;
      }
    }
  } else {
    const uint inner = group % 32, half_block = inner / 16, run = inner / 4 % 4, at = 8 * (inner % 4), pair = inner / 2;
    if (kFormat == kQ2_K) {
      const uint64_t p = row + 84ul * (group / 32);
      const uint scale = load8(p + pair);
      precise const float d = half_to_float(load16(p + 80)) * float(scale & 15u);
      precise const float m = half_to_float(load16(p + 82)) * float(scale >> 4);
      const uvec2 q = eight(p + 16 + 32 * half_block + at);
      [[unroll]] for (uint i = 0; i < 8; ++i) {
        precise const float product = d * float((byte_of(q, i) >> (2 * run)) & 3u);
        precise const float value = product - m;
        v[i] = value;
      }
    } else if (kFormat == kQ3_K) {
      const uint64_t p = row + 110ul * (group / 32);
      const uint low = pair < 8 ? load8(p + 96 + pair) & 15u : load8(p + 88 + pair) >> 4;
      const uint high = (load8(p + 104 + pair % 4) >> (2 * (pair / 4))) & 3u;
      precise const float d = half_to_float(load16(p + 108)) * (float(low | (high << 4)) - 32.0);
      const uvec2 q = eight(p + 32 + 32 * half_block + at), top = eight(p + at);
      [[unroll]] for (uint i = 0; i < 8; ++i) {
        const uint code =
            ((byte_of(q, i) >> (2 * run)) & 3u) | (((byte_of(top, i) >> (4 * half_block + run)) & 1u) << 2);
        v[i] = d * (float(code) - 4.0);
      }
    } else if (kFormat == kQ4_K || kFormat == kQ5_K) {
      const bool fifth = kFormat == kQ5_K;
      const uint chunk = inner / 8, upper = run % 2;  // 64 weights share 32 bytes
      const uint64_t p = row + (fifth ? 176ul : 144ul) * (group / 32);
      const uvec2 scale = packed_scale(p + 4, inner / 4);
      precise const float d = half_to_float(load16(p)) * float(scale.x);
      precise const float m = half_to_float(load16(p + 2)) * float(scale.y);
      const uvec2 q = eight(p + (fifth ? 48 : 16) + 32 * chunk + at), top = fifth ? eight(p + 16 + at) : uvec2(0);
      [[unroll]] for (uint i = 0; i < 8; ++i) {
        const uint high = (byte_of(top, i) >> (2 * chunk + upper)) & 1u;
        precise const float product = d * float(((byte_of(q, i) >> (4 * upper)) & 15u) | (high << 4));
        precise const float value = product - m;
        v[i] = value;
      }
    } else if (kFormat == kQ6_K) {
      const uint64_t p = row + 210ul * (group / 32);
      precise const float d = half_to_float(load16(p + 208)) * int8(load8(p + 192 + pair));
      const uvec2 q = eight(p + 64 * half_block + 32 * (run % 2) + at), top = eight(p + 128 + 32 * half_block + at);
      [[unroll]] for (uint i = 0; i < 8; ++i) {
        const uint code = ((byte_of(q, i) >> (4 * (run / 2))) & 15u) | (((byte_of(top, i) >> (2 * run)) & 3u) << 4);
        v[i] = d * (float(code) - 32.0);
      }
    } else {  // IQ4_XS
      const uint64_t p = row + 136ul * (group / 32);
      const uint j = inner / 4, part = inner % 4;
      const uint scale = ((load32(p + 4) >> (4 * j)) & 15u) | (((load16(p + 2) >> (2 * j)) & 3u) << 4);
      precise const float d = half_to_float(load16(p)) * (float(scale) - 32.0);
      const uvec2 q = eight(p + 8 + 16 * j + 8 * (part % 2));
      [[unroll]] for (uint i = 0; i < 8; ++i) v[i] = d * kIq4[(byte_of(q, i) >> (4 * (part / 2))) & 15u];
    }
  }
}
