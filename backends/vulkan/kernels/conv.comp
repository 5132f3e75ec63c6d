// CAUSAL_CONV1D: one thread an output of a row and channel, or one value that the state keeps. Rows from before the
// step come from the slot that is read, which is never the one that is written.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "slots.glsl"

ARGUMENTS(ConvArguments)

// Channel `channel` of the `row`th row of a sequence's rows, of which those before 0 are the state's.
float value_at(ConvArguments a, uint64_t state, int begin, int row, uint channel) {
  if (row >= 0) return Floats(address_of(a.x) + 4 * uint64_t(uint(begin + row)) * a.x_row).at[channel];
  return state == 0 ? 0.0 : Floats(state).at[uint(row + int(a.taps) - 1) * a.channels + channel];
}

void main() {
  const ConvArguments a = arguments();
  const uint held = a.taps - 1, outputs = count(kTokens) * a.channels;
  const uint total = outputs + count(kSequences) * held * a.channels;
  for (uint i = gl_GlobalInvocationID.x; i < total; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    if (i < outputs) {
      const uint row = i / a.channels, channel = i % a.channels;
      const int sequence = step_int(a.store.sequence, row);
      if (sequence < 0 || sequence >= int(count(kSequences))) continue;
      const int begin = step_int(a.store.q_begin, uint(sequence));
      const uint64_t state = slot_of(a.store, a.store.state_read, uint(sequence));
      float y = 0.0;
      for (uint j = 0; j < a.taps; ++j) {
        y += Floats(address_of(a.weight)).at[channel * a.weight_row + j] *
             value_at(a, state, begin, int(row) - begin - int(held) + int(j), channel);
      }
      if (a.bias != 0) y += Floats(address_of(a.bias)).at[channel];
      Floats(a.result).at[i] = a.silu != 0 ? silu(y) : y;
      continue;
    }
    const uint item = i - outputs, channel = item % a.channels, k = item / a.channels % held;
    const uint sequence = item / a.channels / held;
    const int begin = step_int(a.store.q_begin, sequence), n = step_int(a.store.q_begin, sequence + 1) - begin;
    const uint64_t next = slot_of(a.store, a.store.state_write, sequence);
    if (n <= 0 || next == 0) continue;
    const uint64_t state = slot_of(a.store, a.store.state_read, sequence);
    Floats(next).at[k * a.channels + channel] = value_at(a, state, begin, n - int(held) + int(k), channel);
  }
}
