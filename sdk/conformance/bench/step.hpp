// The step block: where its arrays lie in a bucket, and filling it for one step from a list of sequences.
#pragma once

#include <random>

#include "net.hpp"

namespace check {

// A sequence's part in a step.
struct Rows {
  uint32_t count = 1;         // rows of this step
  uint32_t length_after = 1;  // tokens that it has then
  std::vector<uint32_t> blocks;
  uint32_t kv_first = 0;  // token that the table's first entry begins with, where a group has a window
  int32_t state_read = -1, state_write = -1;
  bool discard = false;  // kv_slot of -1
};

struct Step {
  std::vector<Rows> sequences;
  std::vector<int32_t> tokens;       // per row; missing ones are 0
  std::vector<int32_t> output_rows;  // of the wanted outputs
};

class StepLayout {
 public:
  // One KV group for every kind and window among the states. The arrays lie in the order of backend.h; a `seed` that is
  // not 0 draws another order and gaps between them.
  StepLayout(const std::vector<brim_state_desc>& states, const brim_bucket& bucket, uint32_t block_tokens,
             const Strides& strides, uint64_t seed = 0);

  const brim_step_layout* get() const { return layout_->as<brim_step_layout>(); }
  uint64_t bytes() const { return layout_->as<brim_step_layout>()->bytes; }
  uint32_t group_of(uint32_t state) const { return state_groups_[state]; }
  // Writes header, arrays and padding of a step; `block` has bytes() bytes. Returns the header.
  brim_step_header fill(std::byte* block, const Step& step) const;
  void close() const;

 private:
  brim_bucket bucket_;
  brim_step_layout own_{};
  std::vector<brim_group_layout> groups_;
  std::vector<uint32_t> windows_, state_groups_;
  std::unique_ptr<Fenced> array_, layout_;
};

}  // namespace check
