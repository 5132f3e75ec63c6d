// GATHER_ROWS: one thread decodes eight neighbouring elements of a row.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "weights.glsl"

ARGUMENTS(GatherArguments)

void main() {
  const GatherArguments a = arguments();
  const uint groups = (a.width + 7) / 8, total = size(a.rows) * groups;
  Ints index = Ints(address_of(a.index));
  for (uint i = gl_GlobalInvocationID.x; i < total; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    const uint row = i / groups, g = i % groups;
    const int from = index.at[row * a.index_stride];
    float v[8];
    if (from < 0 || uint(from) >= size(a.table_rows)) {
      if (a.first_row != 0) continue;  // the first piece's launch sees to what lies outside
      for (uint j = 0; j < 8; ++j) v[j] = 0.0;
    } else {
      if (uint(from) - a.first_row >= a.n_rows) continue;
      load_weights(a.table + uint64_t(uint(from) - a.first_row) * a.row_bytes, g, a.width, v);
    }
    for (uint j = 0; j < 8 && 8 * g + j < a.width; ++j)
      Floats(a.result + 4 * uint64_t(row) * a.width).at[8 * g + j] = v[j];
  }
}
