// RMS_NORM, LAYER_NORM, L2_NORM and SOFTMAX: one work group a row. The output may lie where the input does: a row is
// read whole before it is written.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "reduce.glsl"

layout(constant_id = 1) const uint kOp = 51;
const uint kSoftmax = 50, kRms = 51, kLayer = 52, kL2 = 54;
ARGUMENTS(NormArguments)

void main() {
  const NormArguments a = arguments();
  const uint d1 = size(a.dim[1]), d2 = size(a.dim[2]), rows = size(a.dim[0]) * d1 * d2, n = a.width;
  for (uint row = gl_WorkGroupID.x; row < rows; row += gl_NumWorkGroups.x) {
    const uint i2 = row % d2, i1 = row / d2 % d1, i0 = row / d2 / d1;
    Floats x = Floats(address_of(a.x) + 4 * uint64_t(i0 * a.x_stride[0] + i1 * a.x_stride[1] + i2 * a.x_stride[2]));
    Floats out_row = Floats(a.result + 4 * uint64_t(row) * n);
    if (kOp == kSoftmax) {
      const bool masked = a.mask != 0;
      Floats mask = Floats(masked ? address_of(a.mask) + 4 * uint64_t(i0 * a.mask_stride[0] + i1 * a.mask_stride[1] +
                                                                      i2 * a.mask_stride[2])
                                  : address_of(a.x));
      float most = -kInfinity;
      for (uint i = gl_LocalInvocationIndex; i < n; i += gl_WorkGroupSize.x) {
        most = max(most, a.scale * x.at[i] + (masked ? mask.at[i] : 0.0));
      }
      most = work_group_max(most);
      float sum = 0;
      for (uint i = gl_LocalInvocationIndex; i < n; i += gl_WorkGroupSize.x) {
        sum += exponential(a.scale * x.at[i] + (masked ? mask.at[i] : 0.0) - most);
      }
      sum = work_group_sum(sum);
      for (uint i = gl_LocalInvocationIndex; i < n; i += gl_WorkGroupSize.x) {
        out_row.at[i] = exponential(a.scale * x.at[i] + (masked ? mask.at[i] : 0.0) - most) / sum;
      }
      continue;
    }
    float mean = 0;
    if (kOp == kLayer) {
      float sum = 0;
      for (uint i = gl_LocalInvocationIndex; i < n; i += gl_WorkGroupSize.x) sum += x.at[i];
      mean = work_group_sum(sum) / float(n);
    }
    float squares = 0;
    for (uint i = gl_LocalInvocationIndex; i < n; i += gl_WorkGroupSize.x)
      squares += (x.at[i] - mean) * (x.at[i] - mean);
    squares = work_group_sum(squares);
    const float factor = 1.0 / sqrt((kOp == kL2 ? squares : squares / float(n)) + a.eps);
    for (uint i = gl_LocalInvocationIndex; i < n; i += gl_WorkGroupSize.x) {
      float y = (x.at[i] - mean) * factor;
      if (a.weight != 0) y *= Floats(a.weight).at[i] + a.weight_offset;
      if (a.bias != 0) y += Floats(a.bias).at[i];
      out_row.at[i] = y;
    }
  }
}
