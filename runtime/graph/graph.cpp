#include <fmt/format.h>

#include <graph/graph.hpp>

namespace brim::graph {

uint64_t value_bytes(const brim_value_desc& value, const brim_bucket& bucket) {
  if (value.kind == BRIM_VALUE_VIEW || value.rank == 0) return 0;
  uint64_t rows = 1;
  for (uint32_t i = 0; i + 1 < value.rank; ++i) rows *= brim_dim_size(value.dim[i], &bucket);
  return rows * brim_dtype_row_bytes(value.dtype, brim_dim_size(value.dim[value.rank - 1], &bucket));
}

std::string op_name(uint32_t op) {
  switch (op) {
#define BRIM_X(name)   \
  case BRIM_OP_##name: \
    return #name;
    BRIM_X(RESHAPE)
    BRIM_X(SLICE)
    BRIM_X(PERMUTE)
    BRIM_X(BROADCAST)
    BRIM_X(COPY)
    BRIM_X(GATHER_ROWS)
    BRIM_X(SCATTER_ROWS)
    BRIM_X(UNARY)
    BRIM_X(BINARY)
    BRIM_X(AFFINE_CLAMP)
    BRIM_X(GLU)
    BRIM_X(SOFTMAX)
    BRIM_X(RMS_NORM)
    BRIM_X(ARGMAX)
    BRIM_X(TOPK)
    BRIM_X(MATMUL)
    BRIM_X(GROUPED_MATMUL)
    BRIM_X(ROPE)
    BRIM_X(KV_WRITE)
    BRIM_X(ATTENTION)
#undef BRIM_X
    default:
      return fmt::format("op {}", op);
  }
}

std::string shape_text(const brim_value_desc& value) {
  static constexpr const char* kSymbols[] = {"", "T", "KV", "S", "O"};
  std::string text = "[";
  for (uint32_t i = 0; i < value.rank; ++i) {
    const brim_dim d = value.dim[i];
    if (i) text += ", ";
    if (d.sym == BRIM_SYM_NONE) {
      text += fmt::format("{}", d.k);
    } else {
      const char* symbol = d.sym < std::size(kSymbols) ? kSymbols[d.sym] : "?";
      text += d.k == 1 ? symbol : fmt::format("{}{}", d.k, symbol);
    }
  }
  return text + "]";
}

// Counts uses, hashes what the graph computes (not the phase: two phases with equal graphs share programs) and points
// the C view at the finished arrays.
void Graph::finish(uint32_t phase) {
  Hasher hasher;
  for (brim_value_desc& v : values_) v.n_uses = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const brim_node& node = nodes_[i];
    hasher.add(node.op).add(node.op_rev).add(node.must).add(node.layer).add(node.n_in).add(node.n_out);
    for (uint32_t j = 0; j < node.n_in; ++j) {
      hasher.add(node.in[j]);
      if (node.in[j]) ++values_[node.in[j]].n_uses;
    }
    for (uint32_t j = 0; j < node.n_out; ++j) hasher.add(node.out[j]);
    hasher.add(std::span(static_cast<const std::byte*>(node.attr), attribute_sizes_[i]));
  }
  for (const Output& output : outputs_) {
    hasher.add(output.role).add(output.value);
    ++values_[output.value].n_uses;
  }
  for (const brim_value_desc& v : values_) {
    hasher.add(v.kind).add(v.role).add(v.dtype).add(v.rank).add(v.base).add(v.offset);
    for (uint32_t i = 0; i < v.rank; ++i) {
      hasher.add(v.dim[i].sym).add(v.dim[i].k).add(v.stride[i].sym).add(v.stride[i].k);
    }
  }
  hash_ = hasher.result();
  view_ = {.struct_size = sizeof(brim_graph),
           .phase = phase,
           .values = values_.data(),
           .n_values = static_cast<uint32_t>(values_.size()),
           .value_stride = sizeof(brim_value_desc),
           .nodes = nodes_.data(),
           .n_nodes = static_cast<uint32_t>(nodes_.size()),
           .node_stride = sizeof(brim_node),
           .hash = {hash_.low, hash_.high}};
}

}  // namespace brim::graph
