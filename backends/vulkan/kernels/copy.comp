// COPY and the two halves of CONCAT: one thread moves eight neighbouring elements of a row. kFormat is the input's
// type, kTo the output's.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "weights.glsl"

layout(constant_id = 2) const uint kTo = 1;
const uint kI32 = 7;
ARGUMENTS(CopyArguments)

int whole(float v) {
  if (!(v > -2147483648.0)) return v <= -2147483648.0 ? int(0x80000000u) : 0;  // NaN: 0
  return v >= 2147483648.0 ? 0x7fffffff : int(v);
}

// Elements of one size move as they are.
uint bits_at(uint64_t at) { return kFormat == kF32 || kFormat == kI32 ? Words(at).at[0] : load16(at); }
float value_of(uint bits) {
  return kFormat == kF32   ? uintBitsToFloat(bits)
         : kFormat == kI32 ? float(int(bits))
         : kFormat == kF16 ? half_to_float(bits)
                           : bfloat_to_float(bits);
}

void store(uint64_t at, float v) {
  if (kTo == kF32) {
    Floats(at).at[0] = v;
  } else if (kTo == kI32) {
    Words(at).at[0] = uint(whole(v));
  } else {
    Halves(at).at[0] = uint16_t(kTo == kF16 ? float_to_half(v) : float_to_bfloat(v));
  }
}

void main() {
  const CopyArguments a = arguments();
  const uint d1 = size(a.dim[1]), d2 = size(a.dim[2]), d3 = size(a.dim[3]), groups = (d3 + 7) / 8;
  const uint total = size(a.dim[0]) * d1 * d2 * groups;
  const uint64_t from = address_of(a.x);
  const uint to_bytes = kTo == kF32 || kTo == kI32 ? 4 : 2, from_bytes = kFormat == kF32 || kFormat == kI32 ? 4 : 2;
  const bool blocks = !kPlain && kFormat != kI32;
  const uint block = kFormat >= kQ2_K && kFormat != kIQ4_NL && kFormat != kMXFP4 ? 256 : 32;
  const uint bytes[] = {18, 20, 22, 24, 34};
  const uint block_bytes = kFormat == kIQ4_NL   ? 18
                           : kFormat == kIQ4_XS ? 136
                           : kFormat == kMXFP4  ? 17
                           : kFormat == kQ2_K   ? 84
                           : kFormat == kQ3_K   ? 110
                           : kFormat == kQ4_K   ? 144
                           : kFormat == kQ5_K   ? 176
                           : kFormat == kQ6_K   ? 210
                                                : bytes[min(kFormat - 32u, 4u)];
  for (uint i = gl_GlobalInvocationID.x; i < total; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    const uint g = i % groups, rest = i / groups, i2 = rest % d2, i1 = rest / d2 % d1, i0 = rest / d2 / d1;
    const uint64_t in_at = uint64_t(i0 * a.x_stride[0] + i1 * a.x_stride[1] + i2 * a.x_stride[2]);
    const uint64_t out_at = uint64_t(i0 * a.result_stride[0] + i1 * a.result_stride[1] + i2 * a.result_stride[2]);
    float v[8];
    if (blocks) load_weights(from + in_at / block * block_bytes, g, d3, v);
    for (uint j = 0; j < 8 && 8 * g + j < d3; ++j) {
      const uint64_t to = a.result + (out_at + (8 * g + j) * a.result_stride[3]) * to_bytes;
      if (blocks) {
        store(to, v[j]);
        continue;
      }
      const uint bits = bits_at(from + (in_at + (8 * g + j) * a.x_stride[3]) * from_bytes);
      if (kFormat != kTo) {
        store(to, value_of(bits));
      } else if (to_bytes == 4) {
        Words(to).at[0] = bits;
      } else {
        Halves(to).at[0] = uint16_t(bits);
      }
    }
  }
}
