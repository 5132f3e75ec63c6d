// KV states. The host owns which block a token is in; the bytes inside of a block are ours: 16 tokens, each a row of
// K [heads, k_width] and then V [heads, v_width], stored as F32 or F16. That is nearly the canonical form in which
// sequences are saved, so export and import are two loops.
#pragma once

#include "contract.hpp"

namespace plain {

inline constexpr uint32_t kBlockTokens = 16;

// One state as a program or an export meets it.
struct Kv {
  std::byte* data;  // block 0; NULL while a program is only measured
  uint32_t n_blocks, dtype;
  uint32_t heads, k_width, v_width;
  brim_group_layout group;  // where the step block has this state's slots and tables

  uint64_t element() const { return brim_dtype_block_bytes(dtype); }
  uint64_t row_bytes() const { return heads * (uint64_t{k_width} + v_width) * element(); }
  uint64_t block_bytes() const { return kBlockTokens * row_bytes(); }
  uint64_t slots() const { return uint64_t{n_blocks} * kBlockTokens; }
  // A slot is block * kBlockTokens + the token's place in it, less than slots().
  std::byte* k(uint64_t slot, uint64_t head) const { return data + slot * row_bytes() + head * k_width * element(); }
  std::byte* v(uint64_t slot, uint64_t head) const {
    return data + slot * row_bytes() + (uint64_t{heads} * k_width + head * v_width) * element();
  }
};

// Throws UNSUPPORTED for kinds and dtypes that are not stored here.
void fill_state_layout(const brim_state_desc& state, uint32_t dtype, brim_state_layout* out);
// The state in its buffer; without one where a program is only measured.
Kv open_state(const brim_state_desc& state, const brim_program_state& storage);

void export_state(const Kv& kv, const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, void* out);
void import_state(const Kv& kv, const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, const void* in);

}  // namespace plain
