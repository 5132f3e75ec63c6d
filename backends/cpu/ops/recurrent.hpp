// CAUSAL_CONV1D and LINEAR_ATTENTION: rows of a sequence in order, from one slot of its state to another.
//
// Tasks are cut by sequence and by channels (of a convolution) or value columns (of a matrix state), which do not mix:
// each goes through all rows of its sequence alone, in one fixed order of additions. So the bits of a row depend
// neither on the chunking of the prompt nor on the team. A task's part of the state is worked on in the member's
// scratch and stays in its first cache.
#pragma once

#include "formats/simd.hpp"
#include "ops/tensor.hpp"

namespace brim_cpu {

inline constexpr int64_t kConvChannels = 64;          // of one task
inline constexpr int64_t kStateColumns = 4 * kWidth;  // of one task: four accumulators of a vector each

// One state's slots as a program sees them, and where the step block says which to use.
struct SlotStore {
  std::byte* slots;
  uint64_t slot_bytes;
  uint32_t n_slots;
  uint64_t state_read, state_write, q_begin;  // offsets in the step block
};

struct ConvArgs {
  SlotStore store;  // [taps - 1, channels] each, oldest row first
  Tensor x, out;    // [T, channels]
  Tensor weight;    // [channels, taps]
  Tensor bias;      // data null where there is none
  int64_t channels, taps;
  bool silu;
  uint64_t scratch_bytes() const { return static_cast<uint64_t>(taps * kConvChannels) * sizeof(float); }
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

struct LinearAttentionArgs {
  SlotStore store;      // [value heads, d_k, d_v] each
  Tensor q, k, v, out;  // [T, key heads, d_k] twice, [T, value heads, d_v] twice
  Tensor decay, beta;   // [T, value heads]; data null where there is none
  int64_t key_heads, heads, d_k, d_v;
  float scale;
  bool modulo;  // value head h reads key head h % key_heads
  uint64_t scratch_bytes() const { return static_cast<uint64_t>((d_k + 1) * kStateColumns) * sizeof(float); }
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

}  // namespace brim_cpu
