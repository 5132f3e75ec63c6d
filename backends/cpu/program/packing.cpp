#include "program/packing.hpp"

#include <algorithm>
#include <atomic>

#include "brim/ops.h"
#include "device/instance.hpp"
#include "matmul/packed.hpp"

namespace brim_cpu {
namespace {

// What a member takes at a time: a large page, for memory is given by those at the first write, which is most of the
// work where a host has to find it.
constexpr int64_t kPackBytes = 2 << 20;

struct Packing {
  uint32_t dtype;
  const uint8_t* src;
  size_t row_bytes;
  int64_t first, end;  // rows
  uint8_t* dst;
  std::atomic<int64_t> next;  // a whole group's first row
  int64_t step;

  void take_part() {
    for (int64_t row = next.fetch_add(step); row < end; row = next.fetch_add(step)) {
      const int64_t from = std::max(row, first), to = std::min(row + step, end);
      pack_rows(dtype, src + static_cast<size_t>(from - first) * row_bytes, row_bytes, from, to - from, dst);
    }
  }
};

}  // namespace

bool has_packed_form(const brim_value_desc& w) {
  if (w.kind != BRIM_VALUE_WEIGHT || (w.rank != 2 && w.rank != 3) || packed_block(w.dtype) == 0) return false;
  for (uint32_t i = 0; i < w.rank; ++i) {
    if (w.dim[i].sym != BRIM_SYM_NONE || w.dim[i].k == 0) return false;
  }
  return w.dim[w.rank - 2].k % kPackedRows == 0 &&
         w.dim[w.rank - 1].k % static_cast<uint64_t>(packed_block(w.dtype)) == 0;
}

bool can_be_packed(const brim_graph& graph, brim_value weight) {
  const brim_value_desc& w = *brim_graph_value(&graph, weight);
  if (!has_packed_form(w)) return false;
  for (brim_value v = 1; v < graph.n_values; ++v) {
    const brim_value_desc& other = *brim_graph_value(&graph, v);
    if (other.kind == BRIM_VALUE_VIEW && other.base == weight) return false;
  }
  bool multiplied = false;
  for (uint32_t i = 0; i < graph.n_nodes; ++i) {
    const brim_node& node = *brim_graph_node(&graph, i);
    for (uint32_t j = 0; j < node.n_in; ++j) {
      if (node.in[j] != weight) continue;
      const bool product =
          (node.op == BRIM_OP_MATMUL && (node.must & BRIM_MATMUL_BATCHED) == 0) || node.op == BRIM_OP_GROUPED_MATMUL;
      const bool looked_up = node.op == BRIM_OP_GATHER_ROWS && w.rank == 2;
      if (j != 0 || !(product || looked_up)) return false;
      multiplied = multiplied || product;
    }
  }
  return multiplied;
}

void pack_by_team(const brim_device& device, uint32_t dtype, const uint8_t* src, size_t row_bytes, int64_t first,
                  int64_t n, uint8_t* dst) {
  const int64_t groups = kPackBytes / static_cast<int64_t>(row_bytes) / kPackedRows;
  Packing packing{dtype,
                  src,
                  row_bytes,
                  first,
                  first + n,
                  dst,
                  first / kPackedRows * kPackedRows,
                  std::max<int64_t>(1, groups) * kPackedRows};
  if (n <= packing.step) return packing.take_part();
  device.plugin->api->team_run(
      device.plugin->host, device.threads,
      [](void* arg, uint32_t, uint32_t) { static_cast<Packing*>(arg)->take_part(); }, &packing);
}

}  // namespace brim_cpu
