// LINEAR_ATTENTION: a work group has one sequence, one value head and as many columns of S as it has threads. They lie
// in shared memory from the first row of the step to its last; a thread goes through a column alone.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "slots.glsl"

layout(constant_id = 1) const uint kKeys = 64;  // d_k
ARGUMENTS(LinearAttentionArguments)

shared float state[kKeys * gl_WorkGroupSize.x];

void main() {
  const LinearAttentionArguments a = arguments();
  const uint me = gl_LocalInvocationIndex, threads = gl_WorkGroupSize.x;
  const uint column = gl_WorkGroupID.x * threads + me, head = gl_WorkGroupID.y, sequence = gl_WorkGroupID.z;
  if (sequence >= count(kSequences) || column >= a.d_v) return;  // no thread waits for another
  const int begin = step_int(a.store.q_begin, sequence), end = step_int(a.store.q_begin, sequence + 1);
  if (begin >= end) return;
  const uint key_head = a.modulo != 0 ? head % a.key_heads : head / (a.heads / a.key_heads);
  const uint64_t from = slot_of(a.store, a.store.state_read, sequence);
  for (uint i = 0; i < kKeys; ++i) {
    state[i * threads + me] = from == 0 ? 0.0 : Floats(from).at[(head * kKeys + i) * a.d_v + column];
  }
  for (uint row = uint(begin); row < uint(end); ++row) {
    Floats key = Floats(address_of(a.k) + 4 * uint64_t(row * a.k_row + key_head * a.k_head));
    Floats asked = Floats(address_of(a.q) + 4 * uint64_t(row * a.q_row + key_head * a.q_head));
    float kept = 1.0, added = Floats(address_of(a.v) + 4 * uint64_t(row * a.v_row + head * a.v_head)).at[column];
    if (a.decay != 0) kept = exponential(Floats(address_of(a.decay)).at[row * a.decay_row + head * a.decay_head]);
    if (a.beta != 0) {  // what the state does not say of this key yet
      float known = 0.0;
      for (uint i = 0; i < kKeys; ++i) known += state[i * threads + me] * key.at[i];
      added = (added - known * kept) * Floats(address_of(a.beta)).at[row * a.beta_row + head * a.beta_head];
    }
    float y = 0.0;
    for (uint i = 0; i < kKeys; ++i) {
      const float s = state[i * threads + me] * kept + key.at[i] * added;
      state[i * threads + me] = s;
      y += s * asked.at[i];
    }
    Floats(a.result).at[(row * a.heads + head) * a.d_v + column] = a.scale * y;
  }
  const uint64_t next = slot_of(a.store, a.store.state_write, sequence);
  if (next == 0) return;
  for (uint i = 0; i < kKeys; ++i) Floats(next).at[(head * kKeys + i) * a.d_v + column] = state[i * threads + me];
}
