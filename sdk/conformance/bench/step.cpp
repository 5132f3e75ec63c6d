#include "step.hpp"

#include <algorithm>

namespace check {

StepLayout::StepLayout(const std::vector<brim_state_desc>& states, const brim_bucket& bucket, uint32_t block_tokens,
                       const Strides& strides, uint64_t seed)
    : bucket_(bucket) {
  const uint64_t t = bucket.n_tokens, s = bucket.n_seqs;
  std::vector<std::pair<uint64_t*, uint64_t>> arrays = {{&own_.token, t},
                                                        {&own_.position, t * bucket.n_position},
                                                        {&own_.sequence, t},
                                                        {&own_.q_begin, s + 1},
                                                        {&own_.state_read, s},
                                                        {&own_.state_write, s},
                                                        {&own_.output_row, bucket.n_outputs},
                                                        {&own_.adapter, t},
                                                        {&own_.next_token, s}};
  for (const brim_state_desc& state : states) {
    if (state.kind == BRIM_STATE_CONV || state.kind == BRIM_STATE_RECURRENT) {
      state_groups_.push_back(UINT32_MAX);
      continue;
    }
    const auto found = std::find(windows_.begin(), windows_.end(), state.window);
    state_groups_.push_back(static_cast<uint32_t>(found - windows_.begin()));
    if (found != windows_.end()) continue;
    windows_.push_back(state.window);
    brim_group_layout& group = groups_.emplace_back();
    group.max_blocks = std::max(1u, (bucket.n_kv + block_tokens - 1) / block_tokens);
    group.block_tokens = block_tokens;
  }
  for (brim_group_layout& group : groups_) {
    arrays.insert(
        arrays.end(),
        {{&group.kv_slot, t}, {&group.kv_len, s}, {&group.kv_first, s}, {&group.block_table, s * group.max_blocks}});
  }
  std::mt19937_64 random(seed);
  if (seed != 0) std::shuffle(arrays.begin(), arrays.end(), random);
  own_.bytes = sizeof(brim_step_header);
  for (const auto& [offset, count] : arrays) {
    if (seed != 0) own_.bytes += 64 * (random() % 3);
    *offset = own_.bytes;
    own_.bytes += (count * 4 + 63) / 64 * 64;
  }
  own_.n_groups = static_cast<uint32_t>(groups_.size());
  array_ = std::make_unique<Fenced>(fenced_array(groups_, strides.group));
  own_.groups = groups_.empty() ? nullptr : array_->data();
  own_.group_stride = strides.group;
  layout_ = std::make_unique<Fenced>(fenced_struct(own_, strides.step));
  array_->seal();
  layout_->seal();
}

void StepLayout::close() const {
  array_->close();
  layout_->close();
}

brim_step_header StepLayout::fill(std::byte* block, const Step& step) const {
  std::memset(block, 0, own_.bytes);
  const auto ints = [&](uint64_t offset) { return reinterpret_cast<int32_t*>(block + offset); };
  const uint64_t t = bucket_.n_tokens, s = bucket_.n_seqs;
  std::fill_n(ints(own_.sequence), t, -1);
  std::fill_n(ints(own_.adapter), t, -1);
  std::fill_n(ints(own_.state_read), s, -1);
  std::fill_n(ints(own_.state_write), s, -1);
  for (const brim_group_layout& group : groups_) {
    std::fill_n(ints(group.kv_slot), t, -1);
    std::fill_n(ints(group.block_table), s * group.max_blocks, -1);
  }
  brim_step_header header{};
  header.struct_size = sizeof(header);
  header.n_seqs = static_cast<uint32_t>(step.sequences.size());
  header.n_outputs = static_cast<uint32_t>(step.output_rows.size());
  int32_t row = 0;
  for (uint32_t i = 0; i < header.n_seqs; ++i) {
    const Rows& sequence = step.sequences[i];
    ints(own_.q_begin)[i] = row;
    ints(own_.state_read)[i] = sequence.state_read;
    ints(own_.state_write)[i] = sequence.state_write;
    for (uint32_t r = 0; r < sequence.count; ++r, ++row) {
      const uint32_t place = sequence.length_after - sequence.count + r;
      ints(own_.sequence)[row] = static_cast<int32_t>(i);
      for (uint32_t c = 0; c < bucket_.n_position; ++c) {
        ints(own_.position)[static_cast<uint32_t>(row) * bucket_.n_position + c] = static_cast<int32_t>(place);
      }
      for (size_t g = 0; g < groups_.size(); ++g) {
        if (sequence.blocks.empty() || sequence.discard) continue;
        const uint32_t size = groups_[g].block_tokens;
        ints(groups_[g].kv_slot)[row] = static_cast<int32_t>(sequence.blocks[place / size] * size + place % size);
      }
    }
    for (size_t g = 0; g < groups_.size(); ++g) {
      const brim_group_layout& group = groups_[g];
      const uint32_t first = windows_[g] ? sequence.kv_first : 0;
      ints(group.kv_len)[i] = static_cast<int32_t>(sequence.length_after);
      ints(group.kv_first)[i] = static_cast<int32_t>(first);
      const uint32_t skipped = first / group.block_tokens;
      for (uint32_t b = 0; b < group.max_blocks && b + skipped < sequence.blocks.size() &&
                           (b + skipped) * group.block_tokens < sequence.length_after;
           ++b) {
        ints(group.block_table)[i * group.max_blocks + b] = static_cast<int32_t>(sequence.blocks[b + skipped]);
      }
    }
    header.n_kv = std::max(header.n_kv, sequence.length_after);
  }
  for (uint64_t i = header.n_seqs; i <= s; ++i) ints(own_.q_begin)[i] = row;
  header.n_tokens = static_cast<uint32_t>(row);
  for (size_t i = 0; i < step.tokens.size(); ++i) ints(own_.token)[i] = step.tokens[i];
  for (uint64_t i = 0; i < bucket_.n_outputs; ++i) {
    ints(own_.output_row)[i] =
        step.output_rows.empty() ? 0 : step.output_rows[std::min<size_t>(i, step.output_rows.size() - 1)];
  }
  std::memcpy(block, &header, sizeof(header));
  return header;
}

}  // namespace check
