// SCATTER_ROWS: one thread an element of the output, which meets the sources of its row in their order. The output may
// lie where `into` does.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

ARGUMENTS(ScatterArguments)

void main() {
  const ScatterArguments a = arguments();
  const uint total = size(a.rows) * a.width, sources = size(a.sources);
  Ints index = Ints(address_of(a.index));
  for (uint i = gl_GlobalInvocationID.x; i < total; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    const uint row = i / a.width, column = i % a.width;
    float v = Floats(address_of(a.into)).at[row * a.into_stride + column];
    for (uint j = 0; j < sources; ++j) {
      if (index.at[j * a.index_stride] != int(row)) continue;
      const float x = Floats(address_of(a.x)).at[j * a.x_stride + column];
      v = a.add != 0 ? v + x : x;
    }
    Floats(a.result).at[i] = v;
  }
}
