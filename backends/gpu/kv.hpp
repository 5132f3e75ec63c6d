// How K and V of 32 tokens lie in a block, what a slot of a conv or recurrent state is, and both in canonical form.
//
// A block holds one region per KV head: K transposed, [k_width][32 tokens], so that threads with neighbouring tokens
// read neighbouring values; then V by token, [32 tokens][v_width]. A latent state has no V. In Q8_0 codes are bytes in
// the same places, and each run of 32 elements of a token (the last may be shorter) has an F16 scale: [k runs][32
// tokens] behind K, [32 tokens][v runs] behind V. A slot is the state's F32 values in canonical order.
#pragma once

#include "backend.hpp"

namespace brim_gpu {

inline constexpr uint32_t kBlockTokens = 32, kScaleRun = 32;

struct StateLayout {
  bool slots;
  uint32_t dtype, n_head, k_width, v_width;
  uint32_t k_scales, v, v_scales, head_bytes;  // offsets in a head's region
  uint64_t block_bytes, id;
};

// UNSUPPORTED for a kind or dtype that this backend does not store.
StateLayout state_layout(const brim_state_desc& state, uint32_t dtype);
void fill_state_layout(const StateLayout& layout, brim_state_layout* out);

// [queue] Blocking; every block number is checked against the storage.
void export_state(brim_queue* queue, const brim_state_desc& state, const brim_program_state& storage,
                  const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, void* out);
void import_state(brim_queue* queue, const brim_state_desc& state, const brim_program_state& storage,
                  const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, const void* in);

}  // namespace brim_gpu
