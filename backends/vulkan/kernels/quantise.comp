// Rows of F32 to blocks of 32 signed bytes with a scale, for matvec_dot: x[i] ~ scale * code[i], |code| <= 127. A block
// with a NaN or an Inf gets the scale NaN, so that it shows in every product. Eight threads a block, four values each.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "quantised.glsl"

ARGUMENTS(QuantiseArguments)

shared uint magnitudes[gl_WorkGroupSize.x];  // bits of the largest magnitude of each thread's values
shared int sums[gl_WorkGroupSize.x];         // of each thread's codes

void main() {
  const QuantiseArguments a = arguments();
  const uint me = gl_LocalInvocationIndex, first_of_block = me / 8 * 8, in_row = a.k / 32;
  const uint blocks = size(a.outer) * a.inner * in_row, at_once = gl_WorkGroupSize.x / 8;
  const uint64_t x = address_of(a.x);
  for (uint first = gl_WorkGroupID.x * at_once; first < blocks; first += gl_NumWorkGroups.x * at_once) {
    const uint block = first + me / 8, row = min(block, blocks - 1) / in_row;
    const uint64_t at = uint64_t(row / a.inner * a.x_outer + row % a.inner * a.x_inner);
    Floats from = Floats(x + 4 * (at + min(block, blocks - 1) % in_row * 32 + me % 8 * 4));
    float v[4];
    uint mine = 0;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
      v[i] = from.at[i];
      mine = max(mine, floatBitsToUint(v[i]) & 0x7fffffffu);  // those of NaN are the largest
    }
    magnitudes[me] = mine;
    barrier();
    uint largest = 0;
    [[unroll]] for (uint i = 0; i < 8; ++i) largest = max(largest, magnitudes[first_of_block + i]);
    // Of values so small that the inverse of the scale overflows all codes are zero.
    const bool finite = largest < 0x7f800000u, some = finite && uintBitsToFloat(largest) > 1e-36;
    const float inverse = some ? 127.0 / uintBitsToFloat(largest) : 0.0;
    uint codes = 0;
    int sum = 0;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
      const int code = some ? int(roundEven(v[i] * inverse)) : 0;
      codes |= (uint(code) & 255u) << (8 * i);
      sum += code;
    }
    sums[me] = sum;
    barrier();
    if (block < blocks) {
      Words(a.codes).at[8 * block + me % 8] = codes;
      if (me % 8 == 0) {
        [[unroll]] for (uint i = 1; i < 8; ++i) sum += sums[me + i];
        const float scale = finite ? (some ? uintBitsToFloat(largest) / 127.0 : 0.0) : uintBitsToFloat(0x7fc00000u);
        Scales(a.scales).at[block] = vec2(scale, scale * float(sum));
      }
    }
    barrier();
  }
}
