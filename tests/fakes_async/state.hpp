// KV states: blocks of 16 tokens, in each all K [16, heads, k_width], then all V, stored as F32 or F16.
#pragma once

#include "timeline.hpp"

namespace brim_async {

struct Kv {
  brim_program_state storage{};
  uint32_t heads = 0, k_width = 0, v_width = 0;

  Kv() = default;
  Kv(const brim_program_state& state, const brim_state_desc& desc)
      : storage(state), heads(desc.n_head), k_width(desc.k_width), v_width(desc.v_width) {}

  uint64_t element() const { return brim_dtype_block_bytes(storage.dtype); }
  uint64_t block_bytes() const { return kBlockTokens * heads * (uint64_t{k_width} + v_width) * element(); }
  // The values of one token and head.
  std::byte* k(uint64_t slot, uint64_t head) const;
  std::byte* v(uint64_t slot, uint64_t head) const;
  void read(const std::byte* from, uint64_t n, float* out) const;
  void write(std::byte* to, uint64_t n, const float* in) const;
};

uint64_t kv_layout_id(uint32_t dtype);
// Throws UNSUPPORTED for what is not stored here.
brim_state_layout layout_of(const brim_state_desc& state, uint32_t dtype);
// Between blocks and the canonical form; waits for the queue first.
void move_state(brim_queue* queue, const brim_state_desc& desc, const brim_program_state& storage,
                const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, std::byte* host, bool out);

}  // namespace brim_async
