// ARGMAX and TOPK: one work group a row. Each round finds the best of what ranks behind the last one found.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "best.glsl"

ARGUMENTS(SelectArguments)

void main() {
  const SelectArguments a = arguments();
  for (uint row = gl_WorkGroupID.x; row < size(a.rows); row += gl_NumWorkGroups.x) {
    Floats x = Floats(address_of(a.x) + 4 * uint64_t(row) * a.x_stride);
    float last = 0;
    uint last_index = kNone;
    for (uint j = 0; j < a.k; ++j) {
      float value = 0;
      uint index = kNone;
      for (uint i = gl_LocalInvocationIndex; i < a.width; i += gl_WorkGroupSize.x) {
        const float v = x.at[i];
        if (j > 0 && !ranks_before(last, last_index, v, i)) continue;
        if (ranks_before(v, i, value, index)) {
          value = v;
          index = i;
        }
      }
      work_group_best(value, index);
      last = value;
      last_index = index;
      if (gl_LocalInvocationIndex == 0) {
        Words(a.index).at[row * a.k + j] = index;
        if (a.values != 0) Floats(a.values).at[row * a.k + j] = value;
      }
    }
  }
}
