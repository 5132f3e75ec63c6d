// A graph as its builder left it: values, nodes, attributes, all owned here, and the C view of it that backends read.
// Immutable once built. Also the small questions that partition and planning ask of shapes.
#pragma once

#include <brim/graph.h>
#include <brim/ops.h>

#include <base/hash.hpp>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace brim::graph {

// View ops own no storage and need no kernel.
inline bool is_view_op(uint32_t op) { return op < BRIM_OP_COPY; }

// Bytes of a value's own storage in a bucket: of a view 0, of an absent dimension 0.
uint64_t value_bytes(const brim_value_desc& value, const brim_bucket& bucket);

// "MATMUL", "op 77"; "[T, 32, 64]".
std::string op_name(uint32_t op);
std::string shape_text(const brim_value_desc& value);

class Graph {
 public:
  struct Output {
    uint32_t role;  // BRIM_OUTPUT_*
    brim_value value;
  };

  // The view that crosses the ABI; valid as long as the graph.
  const brim_graph& view() const { return view_; }
  std::span<const brim_value_desc> values() const { return values_; }
  std::span<const brim_node> nodes() const { return nodes_; }
  std::span<const Output> outputs() const { return outputs_; }
  const brim_value_desc& value(brim_value v) const { return values_[v]; }
  // The value whose storage v uses: itself, or the base of a view.
  brim_value storage(brim_value v) const { return values_[v].kind == BRIM_VALUE_VIEW ? values_[v].base : v; }
  const Hash128& hash() const { return hash_; }

 private:
  friend class Builder;
  void finish(uint32_t phase);

  std::vector<brim_value_desc> values_{1};  // value 0 is "absent"
  std::vector<brim_node> nodes_;
  std::vector<Output> outputs_;
  std::deque<std::vector<brim_value>> operands_;   // what the nodes' in and out point to
  std::deque<std::vector<std::byte>> attributes_;  // what their attr points to
  std::vector<uint32_t> attribute_sizes_;          // per node; 0 where there is none
  Hash128 hash_;
  brim_graph view_{};
};

}  // namespace brim::graph
