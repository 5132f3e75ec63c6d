// How K and V of 32 tokens lie in a block, and single tokens in and out of it.
//
// A block holds one region per KV head: K transposed, [k_width][32 tokens], so that one vector holds the same element
// of neighbouring tokens and scores need no horizontal sums; then V by token, [32 tokens][v_pitch], v_width padded
// to 16. A latent state has no V. In Q8_0 codes are bytes in the same places, and each run of 32 elements of a token (the
// last may be shorter) has an F16 scale: [runs][32 tokens] behind K and behind V.
#pragma once

#include <cstddef>

#include "brim/backend.h"

namespace brim_cpu {

inline constexpr uint32_t kBlockTokens = 32;
inline constexpr uint32_t kScaleRun = 32;  // elements per scale in Q8_0

struct KvLayout {
  uint32_t dtype;
  uint32_t n_head, k_width, v_width;
  uint32_t v_pitch;         // elements from token to token of V
  uint32_t k_runs, v_runs;  // scales per token and head, 0 unless Q8_0
  uint32_t element_bytes;
  uint64_t k_scales, v, v_scales;  // byte offsets in a head's region; K is at 0
  uint64_t head_bytes, block_bytes;
};

// UNSUPPORTED for kinds and dtypes that are not kept here, INVALID_ARGUMENT for impossible shapes.
KvLayout kv_layout(const brim_state_desc& state, uint32_t dtype);
// Of n_blocks blocks; INVALID_ARGUMENT where that overflows.
uint64_t kv_bytes(const KvLayout& layout, uint64_t n_blocks);
void fill_state_layout(const KvLayout& layout, brim_state_layout* out);

// [any, non-blocking] Token `t` (0..31) of one head's region. Writing F16 and Q8_0 rounds to nearest even; reading is
// exact.
void write_k(const KvLayout& layout, std::byte* region, uint32_t t, const float* k);
void write_v(const KvLayout& layout, std::byte* region, uint32_t t, const float* v);
void read_k(const KvLayout& layout, const std::byte* region, uint32_t t, float* k);
void read_v(const KvLayout& layout, const std::byte* region, uint32_t t, float* v);

}  // namespace brim_cpu
