// KV_WRITE: one thread stores a run of up to 32 values of one head of one row, first those of K, then those of V.
// A slot of -1, or one beyond the state's blocks, is discarded.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "kv.glsl"

ARGUMENTS(KvWriteArguments)

// Nearest whole number, ties to even, for |x| < 2^22.
int whole(float x) { return floatBitsToInt(x + 12582912.0) - 0x4b400000; }

void main() {
  const KvWriteArguments a = arguments();
  const KvStore s = a.store;
  const uint k_runs = (s.k_width + kRun - 1) / kRun, v_runs = a.v == 0 ? 0 : (s.v_width + kRun - 1) / kRun;
  const uint runs = k_runs + v_runs, total = count(kTokens) * s.n_head * runs;
  for (uint i = gl_GlobalInvocationID.x; i < total; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    const uint item = i % runs, head = i / runs % s.n_head, row = i / runs / s.n_head;
    const int slot = step_int(s.kv_slot, row);
    if (slot < 0 || uint(slot) / kBlockTokens >= s.n_blocks) continue;
    const uint64_t region =
        s.blocks + uint64_t(uint(slot) / kBlockTokens) * s.block_bytes + uint64_t(head) * s.head_bytes;
    const uint t = uint(slot) % kBlockTokens;
    const bool is_k = item < k_runs;
    const uint run = is_k ? item : item - k_runs, width = is_k ? s.k_width : s.v_width;
    const uint n = min(kRun, width - run * kRun);
    Floats x = Floats((is_k ? address_of(a.k) + 4 * uint64_t(row * a.k_row + head * a.k_head)
                            : address_of(a.v) + 4 * uint64_t(row * a.v_row + head * a.v_head)) +
                      128ul * run);
    // K lies by element, then token; V by token, then element.
    const uint64_t codes = region + (is_k ? 0 : s.v);
    const uint first = is_k ? run * kRun * kBlockTokens + t : t * s.v_width + run * kRun,
               pace = is_k ? kBlockTokens : 1;
    if (kKv == kKvF32) {
      for (uint j = 0; j < n; ++j) Floats(codes).at[first + j * pace] = x.at[j];
    } else if (kKv == kKvF16) {
      for (uint j = 0; j < n; ++j) Halves(codes).at[first + j * pace] = uint16_t(float_to_half(x.at[j]));
    } else {
      uint most = 0;
      for (uint j = 0; j < n; ++j) most = max(most, floatBitsToUint(x.at[j]) & 0x7fffffffu);
      const float d = uintBitsToFloat(most) / 127.0, inverse = 1.0 / d;
      uint scale = float_to_half(d);
      const bool zero = scale == 0, bad = most >= 0x7f800000u;
      if (bad) scale = 0x7e00u;
      Halves(region + (is_k ? s.k_scales : s.v_scales)).at[is_k ? run * kBlockTokens + t : t * v_runs + run] =
          uint16_t(scale);
      for (uint j = 0; j < n; ++j) {
        Bytes(codes).at[first + j * pace] = uint8_t(zero || bad ? 0 : whole(x.at[j] * inverse) & 255);
      }
    }
  }
}
