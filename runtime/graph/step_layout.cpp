#include <algorithm>
#include <cstring>
#include <graph/step_layout.hpp>

namespace brim::graph {

StepLayout::StepLayout(const brim_bucket& bucket, std::span<const GroupShape> groups) : bucket_(bucket) {
  uint64_t end = sizeof(brim_step_header);
  const auto array = [&](uint64_t elements) {
    const uint64_t at = end;
    end += (elements * sizeof(int32_t) + 63) / 64 * 64;
    return at;
  };
  const uint64_t t = bucket.n_tokens, s = bucket.n_seqs;
  view_.struct_size = sizeof(view_);
  view_.token = array(t);
  view_.position = array(t * bucket.n_position);
  view_.sequence = array(t);
  view_.q_begin = array(s + 1);
  view_.state_read = array(s);
  view_.state_write = array(s);
  view_.output_row = array(bucket.n_outputs);
  view_.adapter = array(t);
  view_.next_token = array(s);
  for (const GroupShape& shape : groups) {
    brim_group_layout g{};
    g.kv_slot = array(t);
    g.kv_len = array(s);
    g.block_table = array(s * shape.max_blocks);
    g.kv_first = array(s);
    g.max_blocks = shape.max_blocks;
    g.block_tokens = shape.block_tokens;
    groups_.push_back(g);
  }
  view_.bytes = end;
  view_.groups = groups_.data();
  view_.n_groups = static_cast<uint32_t>(groups_.size());
  view_.group_stride = sizeof(brim_group_layout);
}

void StepLayout::clear(void* block, const brim_step_header& counts) const {
  std::memcpy(block, &counts, sizeof(counts));
  const auto fill = [&](uint64_t offset, uint64_t elements, int32_t value) {
    std::fill_n(at(block, offset), elements, value);
  };
  const uint64_t t = bucket_.n_tokens, s = bucket_.n_seqs;
  fill(view_.token, t, 0);
  fill(view_.position, t * bucket_.n_position, 0);
  fill(view_.sequence, t, -1);
  fill(view_.q_begin, s + 1, static_cast<int32_t>(counts.n_tokens));
  fill(view_.state_read, s, -1);
  fill(view_.state_write, s, -1);
  fill(view_.output_row, bucket_.n_outputs, 0);
  fill(view_.adapter, t, -1);
  fill(view_.next_token, s, 0);
  for (const brim_group_layout& g : groups_) {
    fill(g.kv_slot, t, -1);
    fill(g.kv_len, s, 0);
    fill(g.block_table, s * g.max_blocks, -1);
    fill(g.kv_first, s, 0);
  }
}

}  // namespace brim::graph
