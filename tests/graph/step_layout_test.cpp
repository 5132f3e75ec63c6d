// The step block: arrays of the right sizes that do not overlap, on cache lines, with the padding of backend.h.
#include <doctest/doctest.h>

#include <graph/step_layout.hpp>
#include <map>

using namespace brim::graph;

TEST_CASE("arrays lie on cache lines, apart from each other, within the block") {
  for (const uint32_t t : {1u, 7u, 64u, 512u}) {
    const brim_bucket b = {sizeof(b), t, std::min(t, 5u), std::min(t, 3u), 256, 3};
    const std::vector<GroupShape> groups = {{16, 16}, {3, 32}};
    const StepLayout layout(b, groups);
    const brim_step_layout& at = layout.view();
    std::map<uint64_t, uint64_t> ranges;  // begin -> end
    const auto array = [&](uint64_t offset, uint64_t elements) {
      CHECK(offset % 64 == 0);
      CHECK(ranges.emplace(offset, offset + elements * 4).second);
    };
    array(at.token, t);
    array(at.position, 3ull * t);
    array(at.sequence, t);
    array(at.q_begin, b.n_seqs + 1);
    array(at.state_read, b.n_seqs);
    array(at.state_write, b.n_seqs);
    array(at.output_row, b.n_outputs);
    array(at.adapter, t);
    array(at.next_token, b.n_seqs);
    REQUIRE(at.n_groups == 2);
    for (uint32_t g = 0; g < 2; ++g) {
      const auto& group = *BRIM_ELEM(brim_group_layout, at.groups, at.group_stride, g);
      CHECK(group.max_blocks == groups[g].max_blocks);
      CHECK(group.block_tokens == groups[g].block_tokens);
      array(group.kv_slot, t);
      array(group.kv_len, b.n_seqs);
      array(group.block_table, uint64_t{b.n_seqs} * group.max_blocks);
      array(group.kv_first, b.n_seqs);
    }
    uint64_t end = sizeof(brim_step_header);
    for (const auto& [from, to] : ranges) {
      CHECK(from >= end);
      end = to;
    }
    CHECK(end <= layout.bytes());
  }
}

TEST_CASE("clearing writes the header and every array's padding, and not a byte more") {
  const brim_bucket b = {sizeof(b), 4, 2, 2, 256, 1};
  const StepLayout layout(b, std::vector<GroupShape>{{3, 16}});
  std::vector<int32_t> block(layout.bytes() / 4 + 16, 0x5a5a5a5a);
  brim_step_header counts{};
  counts.struct_size = sizeof(counts);
  counts.n_tokens = 3;
  counts.n_seqs = 1;
  layout.clear(block.data(), counts);
  const auto array = [&](uint64_t offset, size_t n) {
    const int32_t* from = StepLayout::at(block.data(), offset);
    return std::vector<int32_t>(from, from + n);
  };
  const brim_step_layout& at = layout.view();
  CHECK(reinterpret_cast<const brim_step_header*>(block.data())->n_tokens == 3);
  CHECK(array(at.token, 4) == std::vector<int32_t>(4, 0));
  CHECK(array(at.sequence, 4) == std::vector<int32_t>(4, -1));
  CHECK(array(at.q_begin, 3) == std::vector<int32_t>(3, 3));
  CHECK(array(at.state_read, 2) == std::vector<int32_t>(2, -1));
  CHECK(array(at.state_write, 2) == std::vector<int32_t>(2, -1));
  CHECK(array(at.adapter, 4) == std::vector<int32_t>(4, -1));
  CHECK(array(layout.groups()[0].kv_slot, 4) == std::vector<int32_t>(4, -1));
  CHECK(array(layout.groups()[0].kv_len, 2) == std::vector<int32_t>(2, 0));
  CHECK(array(layout.groups()[0].block_table, 6) == std::vector<int32_t>(6, -1));
  CHECK(array(layout.groups()[0].kv_first, 2) == std::vector<int32_t>(2, 0));
  for (size_t i = layout.bytes() / 4; i < block.size(); ++i) CHECK(block[i] == 0x5a5a5a5a);
}
