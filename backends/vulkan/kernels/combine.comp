// MOE_COMBINE: one thread an element of the output.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

ARGUMENTS(CombineArguments)

void main() {
  const CombineArguments a = arguments();
  const uint total = size(a.rows) * a.width;
  for (uint i = gl_GlobalInvocationID.x; i < total; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    const uint row = i / a.width, column = i % a.width;
    float sum = 0.0;
    for (uint j = 0; j < a.k; ++j) {
      sum += Floats(address_of(a.weight)).at[row * a.weight_row + j * a.weight_choice] *
             Floats(address_of(a.x)).at[row * a.x_row + j * a.x_choice + column];
    }
    Floats(a.result).at[i] = sum;
  }
}
