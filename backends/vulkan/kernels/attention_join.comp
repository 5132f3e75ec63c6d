// Joins the splits of attention.comp: one work group a row and head, a thread the elements of V.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"

ARGUMENTS(AttentionArguments)

void main() {
  const AttentionArguments a = arguments();
  const KvStore s = a.store;
  const uint head = gl_WorkGroupID.x, row = gl_WorkGroupID.y;
  if (row >= count(kTokens)) return;
  const int sequence = step_int(s.sequence, row);
  if (sequence < 0 || sequence >= int(count(kSequences))) return;
  const int length = step_int(s.kv_len, uint(sequence)), rows_end = step_int(s.q_begin, uint(sequence) + 1);
  const int to = a.causal != 0 ? length - (rows_end - int(row)) + 1 : length;
  const int from = a.window != 0 ? max(0, to - int(a.window)) : 0;
  const uint first = uint(from) / a.split, last = to > from ? min((uint(to) - 1) / a.split + 1, a.n_splits) : first;
  const uint64_t item = uint64_t(row) * a.n_head + head, pitch = a.v_width + 2;
  Floats part = Floats(a.partial + 4 * item * a.n_splits * pitch);
  float top = a.sinks != 0 ? Floats(address_of(a.sinks)).at[head] : -kInfinity;
  for (uint i = first; i < last; ++i) top = max(top, part.at[i * (a.v_width + 2)]);
  float whole = a.sinks != 0 ? exponential(Floats(address_of(a.sinks)).at[head] - top) : 0.0;
  for (uint i = first; i < last; ++i) {
    const float m = part.at[i * (a.v_width + 2)];
    if (m != -kInfinity) whole += part.at[i * (a.v_width + 2) + 1] * exponential(m - top);
  }
  for (uint element = gl_LocalInvocationIndex; element < a.v_width; element += gl_WorkGroupSize.x) {
    float y = 0.0;
    for (uint i = first; i < last; ++i) {
      const float m = part.at[i * (a.v_width + 2)];
      if (m != -kInfinity) y += part.at[i * (a.v_width + 2) + 2 + element] * exponential(m - top);
    }
    Floats(a.result + 4 * item * a.v_width).at[element] = whole == 0.0 ? 0.0 : y / whole;
  }
}
