// cos and sin of every row and pair, times the magnitude: a table that all ROPEs with the same attributes read.
//
// Angles are counted in turns, in units of 2^-64, so that position times frequency modulo a turn is one multiplication
// of whole numbers and exact at every position. A factor divides them: 24 bits of mantissa by long division.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"

ARGUMENTS(RopeAnglesArguments)
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Longs { uint64_t at[]; };

// turns / factor modulo one turn; the factor is a normal number between 2^-40 and 2^23.
uint64_t divided(uint64_t turns, float factor) {
  const uint bits = floatBitsToUint(factor) & 0x7fffffffu, m = (bits & 0x7fffffu) | 0x800000u;
  const uint shift = uint(clamp(150 - int(bits >> 23), 1, 63));  // factor = m 2^-shift
  const uint64_t high = turns >> (64 - shift), low = turns << shift;
  uint rest = 0;
  uint64_t quotient = 0;
  for (int i = 15; i >= 0; --i) {
    const uint byte = uint(i < 8 ? low >> (8 * i) : high >> (8 * i - 64)) & 255u;
    const uint t = (rest << 8) | byte;
    rest = t % m;
    quotient = (quotient << 8) | uint64_t(t / m);
  }
  return factor < 0.0 ? 0ul - quotient : quotient;
}

void main() {
  const RopeAnglesArguments a = arguments();
  const uint total = size(a.rows) * a.pairs;
  for (uint i = gl_GlobalInvocationID.x; i < total; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    const uint row = i / a.pairs, pair = i % a.pairs;
    const int position = Ints(address_of(a.position)).at[row * a.position_stride];
    uint64_t turns = Longs(a.turns).at[pair];
    if (a.factors != 0) turns = divided(turns, Floats(address_of(a.factors)).at[pair]);
    const uint angle = uint((uint64_t(int64_t(position)) * turns) >> 32);  // of a turn, units of 2^-32
    const uint quarter = (angle + 0x20000000u) >> 30;
    const vec2 v = turned(quarter, float(int(angle - (quarter << 30))) * (6.283185307179586 / 4294967296.0));
    Floats(a.table).at[2 * i] = v.x * a.magnitude;
    Floats(a.table).at[2 * i + 1] = v.y * a.magnitude;
  }
}
