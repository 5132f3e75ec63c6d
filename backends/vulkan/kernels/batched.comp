// MATMUL of batches of F32 matrices: one thread an output.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

ARGUMENTS(BatchedArguments)

void main() {
  const BatchedArguments a = arguments();
  const uint d1 = size(a.dim[1]), m = size(a.dim[2]), n = size(a.dim[3]), total = size(a.dim[0]) * d1 * m * n;
  for (uint i = gl_GlobalInvocationID.x; i < total; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    const uint column = i % n, row = i / n % m, i1 = i / n / m % d1, i0 = i / n / m / d1;
    Floats w = Floats(address_of(a.w) + 4 * uint64_t(i0 * a.w_stride[0] + i1 * a.w_stride[1] + column * a.w_stride[2]));
    Floats x = Floats(address_of(a.x) + 4 * uint64_t(i0 * a.x_stride[0] + i1 * a.x_stride[1] + row * a.x_stride[2]));
    float sum = 0.0;
    for (uint k = 0; k < a.k; ++k) sum += w.at[k] * x.at[k];
    Floats(a.result).at[i] = sum;
  }
}
