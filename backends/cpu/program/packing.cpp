#include "program/packing.hpp"

#include "brim/ops.h"
#include "matmul/packed.hpp"

namespace brim_cpu {

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

}  // namespace brim_cpu
