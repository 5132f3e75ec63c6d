// What the backend can compute: eleven ops of revision 1, on contiguous F32 values whose outermost dimension alone may
// depend on the step.
#pragma once

#include <cmath>

#include "state.hpp"

namespace saint {

inline constexpr uint64_t kAttention = BRIM_ATTENTION_CAUSAL | BRIM_ATTENTION_SLIDING_WINDOW | BRIM_ATTENTION_SOFTCAP;
inline const brim_op_caps kCaps[] = {
    {BRIM_OP_COPY, 1, 0},
    {BRIM_OP_GATHER_ROWS, 1, 0},
    {BRIM_OP_BINARY, 1, 0},
    {BRIM_OP_AFFINE_CLAMP, 1, BRIM_AFFINE_SOFTCAP},
    {BRIM_OP_GLU, 1, 0},
    {BRIM_OP_RMS_NORM, 1, 0},
    {BRIM_OP_MATMUL, 1, sins::claims_every_bit ? ~0ull : BRIM_MATMUL_BIAS},
    {BRIM_OP_ROPE, sins::claims_every_revision ? 9u : 1u, 0},
    {BRIM_OP_KV_WRITE, 1, 0},
    {BRIM_OP_ATTENTION, 1, kAttention},
    {BRIM_OP_CAUSAL_CONV1D, 1, BRIM_CONV1D_BIAS},
};

inline brim_value_desc value_of(const brim_graph& graph, brim_value value) {
  const uint32_t stride = sins::value_stride_assumed ? sizeof(brim_value_desc) : graph.value_stride;
  return element<brim_value_desc>(graph.values, stride, value);
}
inline brim_node node_of(const brim_graph& graph, uint32_t node) {
  return element<brim_node>(graph.nodes, sins::node_stride_assumed ? sizeof(brim_node) : graph.node_stride, node);
}
inline brim_value input_of(const brim_node& node, uint32_t i) { return i < node.n_in ? node.in[i] : 0; }

template <class T>
T attribute_of(const brim_node& node) {
  if (node.attr == nullptr) return T{};
  const auto* theirs = static_cast<const T*>(node.attr);
  return sins::attribute_tail_read ? *theirs : read(theirs);
}

// Rows first, everything else constant; and no gaps.
inline bool plain(const brim_value_desc& v) {
  if (v.rank == 0 || v.rank > BRIM_MAX_RANK) return false;
  uint64_t product = 1;
  for (uint32_t i = v.rank; i-- > 0;) {
    if (i > 0 && v.dim[i].sym != BRIM_SYM_NONE) return false;
    if (v.kind == BRIM_VALUE_VIEW && (v.stride[i].sym != BRIM_SYM_NONE || v.stride[i].k != product)) return false;
    product *= v.dim[i].k;
  }
  return true;
}

// Null, or why this node cannot be computed.
inline const char* objection(const brim_graph& graph, const brim_node& node) {
  const auto* caps = std::find_if(std::begin(kCaps), std::end(kCaps), [&](const auto& c) { return c.op == node.op; });
  if (caps == std::end(kCaps)) return "the op is none of the backend's";
  if (node.op_rev == 0 || node.op_rev > caps->max_rev) return "the op's revision is none of the backend's";
  if ((node.must & ~caps->features) != 0) return "a feature bit is none of the backend's";
  const auto value = [&](uint32_t i) { return value_of(graph, input_of(node, i)); };
  const auto is = [&](const brim_value_desc& v, uint32_t dtype) { return v.dtype == dtype && plain(v); };
  const bool stateful = node.op == BRIM_OP_KV_WRITE || node.op == BRIM_OP_ATTENTION || node.op == BRIM_OP_CAUSAL_CONV1D;
  for (uint32_t i = 0; i < node.n_in; ++i) {
    if (node.in[i] == 0) continue;
    const brim_value_desc v = value(i);
    if (stateful && v.kind == BRIM_VALUE_STATE) continue;
    const bool index = i == 1 && (node.op == BRIM_OP_GATHER_ROWS || node.op == BRIM_OP_ROPE);
    if (!is(v, index ? BRIM_DTYPE_I32 : BRIM_DTYPE_F32)) return "an input is no contiguous f32 (i32, of an index)";
    if (v.kind == BRIM_VALUE_VIEW && value_of(graph, v.base).kind == BRIM_VALUE_WEIGHT)
      return "views of weights are not taken";
  }
  for (uint32_t i = 0; i < node.n_out; ++i) {
    const brim_value_desc v = value_of(graph, node.out[i]);
    if (v.kind != BRIM_VALUE_STATE && !is(v, BRIM_DTYPE_F32)) return "an output is no contiguous f32";
  }
  switch (node.op) {
    case BRIM_OP_GATHER_ROWS:
      return value(0).rank == 2 && value(1).rank == 1 ? nullptr : "the table has rows, the index has one dimension";
    case BRIM_OP_BINARY: {
      const uint32_t kind = attribute_of<brim_binary_attr>(node).kind;
      const uint32_t most = sins::says_yes_and_refuses ? 99 : BRIM_BINARY_POW;
      return kind >= BRIM_BINARY_ADD && kind <= most ? nullptr : "the kind is unknown";
    }
    case BRIM_OP_RMS_NORM:
      return value(0).rank >= 2 ? nullptr : "x has rows";
    case BRIM_OP_GLU: {
      if (value(0).rank < 2) return "the gate has rows";
      const uint32_t kind = attribute_of<brim_glu_attr>(node).kind;
      return kind >= BRIM_GLU_SILU && kind <= BRIM_GLU_SWIGLU_LIMIT ? nullptr : "the kind is unknown";
    }
    case BRIM_OP_MATMUL:
      return value(0).rank == 2 && value(1).rank >= 2 ? nullptr : "the weight is a matrix, its partner has rows";
    case BRIM_OP_ROPE: {
      const uint32_t pairing = attribute_of<brim_rope_attr>(node).pairing;
      if (pairing != BRIM_ROPE_ADJACENT && pairing != BRIM_ROPE_HALVES) return "the pairing is unknown";
      return input_of(node, 2) == 0 && value(0).rank == 3 ? nullptr : "factors are not taken";
    }
    case BRIM_OP_KV_WRITE:
      return input_of(node, 2) != 0 ? nullptr : "a latent state is not taken";
    case BRIM_OP_ATTENTION:
      return input_of(node, 2) == 0 ? nullptr : "sinks are not taken";
    case BRIM_OP_CAUSAL_CONV1D: {
      const uint32_t activation = attribute_of<brim_conv1d_attr>(node).activation;
      return activation == 0 || activation == BRIM_UNARY_SILU ? nullptr : "the activation is unknown";
    }
    default:
      return nullptr;
  }
}

inline brim_status support(brim_device* device, const brim_graph* theirs, uint32_t i, uint32_t numerics,
                           brim_support* out, brim_error* error) {
  const brim_graph graph = read(theirs);
  if (i >= graph.n_nodes) {
    return fail(error, BRIM_INVALID_ARGUMENT, "the graph has %u nodes; number %u was asked for", graph.n_nodes, i);
  }
  brim_support own{};
  const bool known = numerics == BRIM_NUMERICS_FAST || numerics == BRIM_NUMERICS_STRICT;
  own.level = known && objection(graph, node_of(graph, i)) == nullptr ? BRIM_SUPPORT_YES : BRIM_SUPPORT_NONE;
  if (sins::support_changes_its_mind && device->plugin->asked++ % 3 == 2) own.level = BRIM_SUPPORT_NONE;
  answer(out, own);
  return BRIM_OK;
}

}  // namespace saint
