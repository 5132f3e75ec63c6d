// What every kernel shares: extensions, how it finds its arguments, loads by address, reductions over the work group.
//
// No kernel assumes a subgroup size: sums are taken over whatever subgroups there are, then over their results in
// shared memory. Bytes of at least 2-byte alignment are read in halves, since blocks of most formats have no better
// one.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_EXT_control_flow_attributes : require

#include "gpu/arguments.h"

layout(local_size_x_id = 0) in;

layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Floats { float at[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) readonly buffer Ints { int at[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Words { uint at[]; };
layout(buffer_reference, scalar, buffer_reference_align = 2) buffer Halves { uint16_t at[]; };
layout(buffer_reference, scalar, buffer_reference_align = 1) buffer Bytes { uint8_t at[]; };
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Runs { Run run; };

layout(push_constant, scalar) uniform Launch { uint64_t arguments, run; }
launch;

#define ARGUMENTS(type)                                                                                  \
  layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer TheArguments { type a; }; \
  type arguments() { return TheArguments(launch.arguments).a; }

uint count(uint symbol) { return symbol == 0 ? 1 : Runs(launch.run).run.count[symbol]; }
uint size(Size s) { return s.factor * count(s.symbol); }

const uint kTokens = 1, kSequences = 3;  // BRIM_SYM_*

uint64_t step_block() { return Runs(launch.run).run.step; }
uint64_t address_of(uint64_t place) {
  return (place >> 63) == 0 ? place : step_block() + (place & 0x7ffffffffffffffful);
}
// Element i of an array of the step block.
int step_int(uint offset, uint i) { return Ints(step_block() + offset).at[i]; }

uint load8(uint64_t a) { return uint(Bytes(a).at[0]); }
uint load16(uint64_t a) { return uint(Halves(a).at[0]); }
uint load32(uint64_t a) { return load16(a) | (load16(a + 2) << 16); }
float half_to_float(uint bits) { return unpackHalf2x16(bits).x; }
float bfloat_to_float(uint bits) { return uintBitsToFloat(bits << 16); }

#define kInfinity uintBitsToFloat(0x7f800000u)
bool is_nan(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }

// Nearest F16, ties to even; NaN stays NaN.
uint float_to_half(float x) {
  const uint bits = floatBitsToUint(x), magnitude = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // 65520 and more
  if (magnitude >= 0x38800000u) {
    return sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13);
  }
  // Subnormal: units of 2^-24.
  const uint shift = 126u - (magnitude >> 23);
  if (shift > 24u) return sign;
  const uint whole = (magnitude & 0x7fffffu) | 0x800000u, kept = whole >> shift;
  const uint rest = whole & ((1u << shift) - 1u), middle = 1u << (shift - 1u);
  return sign | (kept + (rest > middle || (rest == middle && (kept & 1u) != 0) ? 1u : 0u));
}
uint float_to_bfloat(float x) {
  const uint bits = floatBitsToUint(x);
  if (is_nan(x)) return (bits >> 16) | 0x40u;
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}
