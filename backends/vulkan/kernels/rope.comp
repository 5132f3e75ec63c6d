// ROPE by the table of rope_angles.comp: one thread a pair, or one of the values behind n_rot that are copied. The
// output may lie where the input does.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

ARGUMENTS(RopeArguments)

void main() {
  const RopeArguments a = arguments();
  const uint pairs = a.n_rot / 2, items = a.width - pairs, total = size(a.rows) * a.heads * items;
  for (uint i = gl_GlobalInvocationID.x; i < total; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    const uint item = i % items, head = i / items % a.heads, row = i / items / a.heads;
    Floats x = Floats(address_of(a.x) + 4 * uint64_t(row * a.x_row + head * a.x_head));
    Floats to = Floats(a.result + 4 * uint64_t(row * a.heads + head) * a.width);
    if (item >= pairs) {
      to.at[item + pairs] = x.at[item + pairs];
      continue;
    }
    const float c = Floats(a.table).at[2 * (row * pairs + item)], s = Floats(a.table).at[2 * (row * pairs + item) + 1];
    const uint first = a.halves != 0 ? item : 2 * item, second = a.halves != 0 ? item + pairs : 2 * item + 1;
    const float p = x.at[first], q = x.at[second];
    to.at[first] = p * c - q * s;
    to.at[second] = p * s + q * c;
  }
}
