// Fast numerics of the matrix-vector products: x as signed bytes (quantise.comp), multiplied with the weights' stored
// codes by dot products of four bytes at a time. Each thread takes every so-manieth unit of 32 weights: two halves of
// 16 that share what is loaded, with a scale each.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_spirv_intrinsics : require
#include "common.glsl"
#include "matvec.glsl"
#include "quantised.glsl"
#include "weights.glsl"

// OpSDot of SPV_KHR_integer_dot_product (capabilities DotProduct, DotProductInput4x8BitPacked); Debian 12's glslc does
// not know the GLSL extension for it. Format 0: each word is four bytes.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int packed_dot(uint a, uint b, spirv_literal uint format);

int dot_of_16(uvec4 a, uvec4 b) {
  return packed_dot(a.x, b.x, 0u) + packed_dot(a.y, b.y, 0u) + packed_dot(a.z, b.z, 0u) + packed_dot(a.w, b.w, 0u);
}

layout(buffer_reference, scalar, buffer_reference_align = 16) readonly buffer Quads { uvec4 at[]; };

const bool kFifth = kFormat == kQ5_K;
const bool kMinima = kFormat == kQ4_K || kFifth;
const bool kFlat = kFormat == kQ4_0 || kFormat == kQ8_0;  // one scale for both halves; else Q6_K or one with minima

struct Unit {
  uvec4 code[2];
  float scale[2];
  float minimum;  // what is subtracted from the weights of one block of x
};

// Where unit u's halves lie in a row, in runs of 16, and the block whose minimum it sees to.
uvec3 place_of(uint u) {
  if (kFlat) return uvec3(2 * u, 2 * u + 1, u);
  const uint inner = u % 8;
  if (kMinima) {  // low and high nibbles of the same bytes are neighbouring blocks
    const uint low = u / 8 * 16 + inner / 2 * 4 + inner % 2;
    return uvec3(low, low + 2, u / 8 * 8 + inner);
  }
  const uint low = u / 8 * 16 + inner / 4 * 8 + inner % 4;  // and here two blocks apart
  return uvec3(low, low + 4, 0);
}

// 16 bytes at an even address, by words where they lie; reads no word that goes beyond them.
uvec4 load_quad(uint64_t a) {
  Words from = Words(a & ~3ul);
  const uvec4 v = uvec4(from.at[0], from.at[1], from.at[2], from.at[3]);
  return (uint(a) & 2u) == 0 ? v : (v >> 16) | (uvec4(v.yzw, load16(a + 14)) << 16);
}

// Scale and minimum j of Q4_K and Q5_K: packed_scale() of what is loaded already.
uvec2 scale_of(uvec3 packed, uint j) {
  const uvec3 s = (packed >> (8 * (j % 4))) & 255u;
  return j < 4 ? s.xy & 63u : uvec2((s.z & 15u) | (s.x >> 6 << 4), (s.z >> 4) | (s.y >> 6 << 4));
}

Unit load_unit(uint64_t row, uint u) {
  Unit unit;
  unit.minimum = 0.0;
  const uint inner = u % 8;
  if (kFlat) {
    const uint64_t p = row + (kFormat == kQ8_0 ? 34ul : 18ul) * u;
    const float d = half_to_float(load16(p));
    const uvec4 q = load_quad(p + 2);
    unit.scale[0] = unit.scale[1] = d;
    if (kFormat == kQ8_0) {
      unit.code[0] = q;
      unit.code[1] = load_quad(p + 18);
    } else {
      unit.code[0] = q & 0x0f0f0f0fu;
      unit.code[1] = (q >> 4) & 0x0f0f0f0fu;
      unit.minimum = 8.0 * d;
    }
  } else if (kMinima) {
    const uint64_t p = row + (kFifth ? 176ul : 144ul) * (u / 8);
    const uvec4 head = Quads(p).at[0];
    const uvec4 q = Quads(p + (kFifth ? 48 : 16)).at[inner];
    const uint chunk = inner / 2;
    const vec2 d = unpackHalf2x16(head.x);
    const uvec2 low = scale_of(head.yzw, 2 * chunk), high = scale_of(head.yzw, 2 * chunk + 1);
    unit.scale[0] = d.x * float(low.x);
    unit.scale[1] = d.x * float(high.x);
    unit.minimum = d.y * float(inner % 2 == 0 ? low.y : high.y);
    unit.code[0] = q & 0x0f0f0f0fu;
    unit.code[1] = (q >> 4) & 0x0f0f0f0fu;
    if (kFifth) {
      const uvec4 top = Quads(p + 16).at[inner % 2] >> (2 * chunk);
      unit.code[0] |= (top & 0x01010101u) << 4;
      unit.code[1] |= ((top >> 1) & 0x01010101u) << 4;
    }
  } else {  // Q6_K
    const uint64_t p = row + 210ul * (u / 8);
    const uint half_block = inner / 4, run = inner / 2 % 2, pair = 8 * half_block + inner % 4;
    const float d = half_to_float(load16(p + 208));
    const uvec4 q = load_quad(p + 16 * inner),
                top = load_quad(p + 128 + 32 * half_block + 16 * (inner % 2)) >> (2 * run);
    unit.scale[0] = d * int8(load8(p + 192 + pair));
    unit.scale[1] = d * int8(load8(p + 196 + pair));
    unit.code[0] = (q & 0x0f0f0f0fu) | ((top & 0x03030303u) << 4);
    unit.code[1] = ((q >> 4) & 0x0f0f0f0fu) | (((top >> 4) & 0x03030303u) << 4);
    // Each byte less 32: no sum goes into the next byte.
    [[unroll]] for (uint i = 0; i < 2; ++i) unit.code[i] = (unit.code[i] + 0x60606060u) ^ 0x80808080u;
  }
  return unit;
}

void add_products(const ProductArguments a, uint64_t w, uint first, uint row, uint rows, inout float sum[kSums]) {
  Scales scales = Scales(a.x + a.x_scales);
  for (uint u = gl_LocalInvocationIndex; u < a.k / 32; u += gl_WorkGroupSize.x) {
    const uvec3 place = place_of(u);
    uvec4 x[2 * kColumns];
    vec3 xs[kColumns];  // scales of the halves, the sum
    [[unroll]] for (uint c = 0; c < kColumns; ++c) {
      const uint64_t at = x_offset(a, min(row + c, rows - 1));
      x[2 * c] = Quads(a.x + at).at[place.x];
      x[2 * c + 1] = Quads(a.x + at).at[place.y];
      const uint block = uint(at / 32);
      xs[c] = vec3(scales.at[block + place.x / 2].x, scales.at[block + place.y / 2].x, scales.at[block + place.z].y);
    }
    [[unroll]] for (uint r = 0; r < kRows; ++r) {
      const Unit unit = load_unit(w + uint64_t(min(first + r, a.n - 1)) * a.row_bytes, u);
      [[unroll]] for (uint c = 0; c < kColumns; ++c) {
        const int low = dot_of_16(unit.code[0], x[2 * c]), high = dot_of_16(unit.code[1], x[2 * c + 1]);
        float y = kFlat ? unit.scale[0] * (xs[c].x * float(low + high))
                        : unit.scale[0] * (xs[c].x * float(low)) + unit.scale[1] * (xs[c].y * float(high));
        if (kFormat == kQ4_0 || kMinima) y -= unit.minimum * xs[c].z;
        sum[r * kColumns + c] += y;
      }
    }
  }
}
