// MOE_ROUTE: one work group a row. Scores and what decides lie in shared memory; a chosen expert, and one of a group
// that may not be used, is closed.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "reduce.glsl"
#include "best.glsl"

const uint kMost = 512;  // experts
const uint kSoftmaxGate = 1, kSigmoidGate = 2;
shared float score[kMost], deciding[kMost], worth[kMost];
shared uint closed[kMost], group_closed[kMost];
shared float chosen[kMost];
ARGUMENTS(RouteArguments)

// The best of the open ones among [first, first + n).
void find(uint first, uint n, out float value, out uint index) {
  value = 0.0;
  index = kNone;
  for (uint i = first + gl_LocalInvocationIndex; i < first + n; i += gl_WorkGroupSize.x) {
    if (closed[i] == 0 && ranks_before(deciding[i], i, value, index)) {
      value = deciding[i];
      index = i;
    }
  }
  work_group_best(value, index);
}

void main() {
  const RouteArguments a = arguments();
  const uint me = gl_LocalInvocationIndex, threads = gl_WorkGroupSize.x, n = a.experts;
  for (uint row = gl_WorkGroupID.x; row < size(a.rows); row += gl_NumWorkGroups.x) {
    Floats x = Floats(address_of(a.logits) + 4 * uint64_t(row) * a.row_stride);
    float most = -kInfinity, whole = 1.0;
    if (a.gate == kSoftmaxGate) {
      for (uint i = me; i < n; i += threads) most = max(most, x.at[i]);
      most = work_group_max(most);
      float sum = 0.0;
      for (uint i = me; i < n; i += threads) sum += exponential(x.at[i] - most);
      whole = work_group_sum(sum);
    }
    barrier();
    for (uint i = me; i < n; i += threads) {
      const float v = x.at[i];
      score[i] = a.gate == kSoftmaxGate ? exponential(v - most) / whole : a.gate == kSigmoidGate ? sigmoid(v) : v;
      deciding[i] = score[i] + (a.bias != 0 ? Floats(address_of(a.bias)).at[i] : 0.0);
      closed[i] = 0;
    }
    barrier();
    if (a.n_group > 1) {
      const uint each = n / a.n_group;
      for (uint g = me; g < a.n_group; g += threads) {
        uint first = g * each, second = kNone;
        for (uint i = g * each + 1; i < (g + 1) * each; ++i) {
          if (ranks_before(deciding[i], i, deciding[first], first)) {
            second = first;
            first = i;
          } else if (second == kNone || ranks_before(deciding[i], i, deciding[second], second)) {
            second = i;
          }
        }
        worth[g] = deciding[first] + (second == kNone ? 0.0 : deciding[second]);
        group_closed[g] = 1;
      }
      barrier();
      float last = 0.0;
      uint last_index = kNone;
      for (uint j = 0; j < a.n_group_used; ++j) {
        float value = 0.0;
        uint index = kNone;
        for (uint g = me; g < a.n_group; g += threads) {
          if (j > 0 && !ranks_before(last, last_index, worth[g], g)) continue;
          if (ranks_before(worth[g], g, value, index)) {
            value = worth[g];
            index = g;
          }
        }
        work_group_best(value, index);
        last = value;
        last_index = index;
        if (me == 0) group_closed[index] = 0;
        barrier();
      }
      for (uint i = me; i < n; i += threads) closed[i] = group_closed[i / each];
      barrier();
    }
    float total = 0.0;
    for (uint j = 0; j < a.k; ++j) {
      float value;
      uint index;
      find(0, n, value, index);
      total += score[index];
      if (me == 0) {
        closed[index] = 1;
        chosen[j] = score[index];
        Words(a.index).at[row * a.k + j] = index;
      }
      barrier();
    }
    if (a.gate != kSoftmaxGate && a.gate != kSigmoidGate) {  // a softmax over the chosen
      float top = chosen[0];
      for (uint j = 1; j < a.k; ++j) top = max(top, chosen[j]);
      total = 0.0;
      for (uint j = 0; j < a.k; ++j) total += exponential(chosen[j] - top);
      for (uint j = me; j < a.k; j += threads) {
        Floats(a.weight).at[row * a.k + j] = exponential(chosen[j] - top) / total * a.scale;
      }
    } else {
      const float divisor = a.normalise != 0 ? (total < 0.00006103515625 ? 0.00006103515625 : total) : 1.0;  // 2^-14
      for (uint j = me; j < a.k; j += threads) Floats(a.weight).at[row * a.k + j] = chosen[j] / divisor * a.scale;
    }
    barrier();
  }
}
