#include "check.hpp"

namespace brim_gpu {

const brim_op_caps kCaps[kCapsCount] = {
    {BRIM_OP_RESHAPE, 1, 0},
    {BRIM_OP_SLICE, 1, 0},
    {BRIM_OP_PERMUTE, 1, 0},
    {BRIM_OP_BROADCAST, 1, 0},
    {BRIM_OP_COPY, 1, 0},
    {BRIM_OP_CONCAT, 1, 0},
    {BRIM_OP_GATHER_ROWS, 1, 0},
    {BRIM_OP_SCATTER_ROWS, 1, 0},
    {BRIM_OP_UNARY, 1, 0},
    {BRIM_OP_BINARY, 1, 0},
    {BRIM_OP_AFFINE_CLAMP, 1, BRIM_AFFINE_SOFTCAP},
    {BRIM_OP_GLU, 1, 0},
    {BRIM_OP_SOFTMAX, 1, 0},
    {BRIM_OP_RMS_NORM, 1, 0},
    {BRIM_OP_LAYER_NORM, 1, 0},
    {BRIM_OP_L2_NORM, 1, 0},
    {BRIM_OP_ARGMAX, 1, 0},
    {BRIM_OP_TOPK, 1, 0},
    {BRIM_OP_MATMUL, 1, BRIM_MATMUL_BIAS | BRIM_MATMUL_BATCHED | BRIM_MATMUL_HEADS},
    {BRIM_OP_GROUPED_MATMUL, 1, BRIM_GROUPED_MATMUL_BIAS},
    {BRIM_OP_MOE_ROUTE, 1, BRIM_MOE_ROUTE_BIAS | BRIM_MOE_ROUTE_GROUPS},
    {BRIM_OP_MOE_COMBINE, 1, 0},
    {BRIM_OP_ROPE, 1, BRIM_ROPE_YARN | BRIM_ROPE_FACTORS},
    {BRIM_OP_KV_WRITE, 1, 0},
    {BRIM_OP_ATTENTION, 1,
     BRIM_ATTENTION_CAUSAL | BRIM_ATTENTION_SLIDING_WINDOW | BRIM_ATTENTION_SOFTCAP | BRIM_ATTENTION_SINKS |
         BRIM_ATTENTION_V_FROM_K},
    {BRIM_OP_CAUSAL_CONV1D, 1, BRIM_CONV1D_BIAS},
    {BRIM_OP_LINEAR_ATTENTION, 1, BRIM_LINEAR_DECAY | BRIM_LINEAR_DELTA | BRIM_LINEAR_HEADS_MODULO},
};

namespace {

bool is_one(brim_dim dim) { return is_constant(dim) && dim.k == 1; }
bool same(brim_dim a, brim_dim b) { return a.sym == b.sym && a.k == b.k; }

// What kernels/weights.glsl decodes.
bool is_weight(uint32_t dtype) {
  switch (dtype) {
    case BRIM_DTYPE_F64:
    case BRIM_DTYPE_I8:
    case BRIM_DTYPE_I16:
    case BRIM_DTYPE_I32:
    case BRIM_DTYPE_I64:
      return false;
    default:
      return brim_dtype_block_elements(dtype) != 0;
  }
}
bool is_plain(uint32_t dtype) { return is_weight(dtype) && brim_dtype_block_elements(dtype) == 1; }

// A node on trial; the first objection stands.
class Trial {
 public:
  Trial(const brim_graph& graph, const brim_node& node) : graph_(graph), node_(node) {
    for (uint32_t i = 0; i < node.n_out; ++i) {
      const brim_value_desc* v = out(i);
      if (v == nullptr || v->kind == BRIM_VALUE_STATE) continue;
      holds(v->kind != BRIM_VALUE_VIEW, "an output is a view");
      holds(v->rank <= BRIM_MAX_RANK, "an output has too many dimensions");
      // Kernels write rows one behind the other: a real count below the bucket's must not leave gaps between them.
      bool outermost = true;
      for (uint32_t j = 0; j < v->rank; ++j) {
        holds(v->dim[j].sym != BRIM_SYM_N_KV, "values sized by the context are not held in memory");
        holds(outermost || is_constant(v->dim[j]), "an output's size changes in an inner dimension");
        outermost = outermost && is_one(v->dim[j]);
      }
    }
  }

  const brim_value_desc* in(uint32_t i) const {
    return has_input(node_, i) ? brim_graph_value(&graph_, node_.in[i]) : nullptr;
  }
  const brim_value_desc* out(uint32_t i) const {
    return i < node_.n_out && node_.out[i] != 0 ? brim_graph_value(&graph_, node_.out[i]) : nullptr;
  }
  bool holds(bool condition, const char* why) {
    if (!condition && why_ == nullptr) why_ = why;
    return condition;
  }
  // Input i is there, has this dtype and at most so many dimensions, and its rows are contiguous where that matters.
  bool tensor(uint32_t i, uint32_t dtype, uint32_t most_rank, bool contiguous_rows) {
    const brim_value_desc* v = in(i);
    if (!holds(v != nullptr, "an input is missing")) return false;
    if (!holds(v->kind != BRIM_VALUE_STATE, "a state stands where a tensor is expected")) return false;
    holds(v->dtype == dtype, "the dtype of a value is not the one that the op takes");
    holds(v->rank >= 1 && v->rank <= most_rank, "a value has more dimensions than kernels step through");
    if (contiguous_rows) rows_contiguous(*v);
    return why_ == nullptr;
  }
  void optional(uint32_t i, uint32_t most_rank, bool contiguous_rows) {
    if (in(i) != nullptr) tensor(i, BRIM_DTYPE_F32, most_rank, contiguous_rows);
  }
  void rows_contiguous(const brim_value_desc& v) {
    holds(v.kind != BRIM_VALUE_VIEW || is_one(v.dim[v.rank - 1]) || is_one(v.stride[v.rank - 1]),
          "rows of an input are not contiguous");
  }
  // A weight of whole rows; of views only those that begin and step at whole blocks. A table's number of rows may
  // change.
  void weight(uint32_t i, bool table = false) {
    const brim_value_desc* v = in(i);
    if (!holds(v != nullptr && v->kind != BRIM_VALUE_STATE, "the weight is missing")) return;
    holds(is_weight(v->dtype), "no kernel takes weights of this dtype");
    const uint32_t block = brim_dtype_block_elements(v->dtype);
    if (block == 0) return;
    for (uint32_t j = table ? 1 : 0; j < v->rank; ++j)
      holds(is_constant(v->dim[j]), "the weight's shape is not constant");
    holds(v->dim[v->rank - 1].k % block == 0, "the weight's rows are no whole blocks");
    rows_contiguous(*v);
    if (v->kind != BRIM_VALUE_VIEW) return;
    holds(v->offset % block == 0, "the weight begins within a block");
    for (uint32_t j = 0; j + 1 < v->rank; ++j)
      holds(v->stride[j].k % block == 0, "the weight's rows are no whole blocks");
  }
  bool like(const brim_value_desc& a, const brim_value_desc& b) const {
    bool equal = a.rank == b.rank;
    for (uint32_t i = 0; equal && i < a.rank; ++i) equal = same(a.dim[i], b.dim[i]);
    return equal;
  }
  void in_place(uint32_t i) {
    if (in(i) != nullptr && out(0) != nullptr && like(*in(i), *out(0))) in_place_ |= 1u << i;
  }
  const brim_node& node() const { return node_; }
  bool must(uint64_t bit) const { return (node_.must & bit) != 0; }
  Verdict verdict() const { return {why_, why_ == nullptr ? in_place_ : 0}; }

 private:
  const brim_graph& graph_;
  const brim_node& node_;
  const char* why_ = nullptr;
  uint32_t in_place_ = 0;
};

void judge_copy(Trial& t, uint32_t from, uint32_t to) {
  const brim_value_desc* x = t.in(0);
  const bool blocks = is_weight(from) && !is_plain(from);
  const bool knows = from == BRIM_DTYPE_I32 ? to == BRIM_DTYPE_I32 || to == BRIM_DTYPE_F32
                     : blocks               ? to == BRIM_DTYPE_F32
                              : is_plain(from) && (is_plain(to) || (from == BRIM_DTYPE_F32 && to == BRIM_DTYPE_I32));
  t.holds(knows, "no kernel copies between these dtypes");
  if (!t.holds(x != nullptr && x->rank >= 1 && x->rank <= kMostRank, "COPY takes one to four dimensions")) return;
  if (blocks) t.weight(0);
}

void judge_product(Trial& t) {
  if (t.must(BRIM_MATMUL_BATCHED)) {
    t.holds(t.in(2) == nullptr, "a batched MATMUL takes no bias");
    t.tensor(0, BRIM_DTYPE_F32, kMostRank, true);
    t.tensor(1, BRIM_DTYPE_F32, kMostRank, true);
    return;
  }
  t.weight(0);
  // Rows of x have one outer and one inner stride; contiguous ones merge.
  const brim_value_desc* x = t.in(1);
  if (!t.holds(x != nullptr, "an input is missing")) return;
  t.tensor(1, BRIM_DTYPE_F32, x->kind == BRIM_VALUE_VIEW ? 3 : BRIM_MAX_RANK, true);
  if (x->rank == 3) t.holds(is_constant(x->dim[1]), "the inner number of rows is not constant");
  t.optional(2, 1, true);
}

void judge_grouped(Trial& t) {
  t.weight(0);
  if (!t.tensor(1, BRIM_DTYPE_F32, 3, true) || !t.tensor(2, BRIM_DTYPE_I32, 2, false)) return;
  t.holds(t.in(0)->kind != BRIM_VALUE_VIEW, "experts cannot be a view");
  t.holds(is_constant(t.in(2)->dim[1]), "the number of choices is not constant");
  t.optional(3, 2, true);
}

void judge_attention(Trial& t) {
  if (!t.tensor(0, BRIM_DTYPE_F32, 3, true)) return;
  const auto attr = received<brim_attention_attr>(t.node().attr);
  const brim_value_desc &q = *t.in(0), &out = *t.out(0);
  t.holds(t.in(1) != nullptr && t.in(1)->kind == BRIM_VALUE_STATE, "the state is missing");
  t.holds(attr.n_head_kv != 0 && attr.n_head % attr.n_head_kv == 0, "ATTENTION: the heads do not fit");
  t.holds(is_constant(q.dim[2]) && q.dim[2].k <= kMostKWidth && is_constant(out.dim[2]) && out.dim[2].k <= kMostVWidth,
          "ATTENTION: heads are wider than kernels hold");
  t.holds(!t.must(BRIM_ATTENTION_SLIDING_WINDOW) || (t.must(BRIM_ATTENTION_CAUSAL) && attr.window > 0),
          "a sliding window is offered with CAUSAL only, and needs a size");
  t.holds(!t.must(BRIM_ATTENTION_SOFTCAP) || attr.softcap > 0, "ATTENTION: the soft cap must be positive");
  t.optional(2, 1, true);
}

void judge_recurrent(Trial& t, uint32_t state) {
  t.holds(t.in(state) != nullptr && t.in(state)->kind == BRIM_VALUE_STATE, "the state is missing");
}

}  // namespace

Verdict judge(const brim_graph& graph, const brim_node& node) {
  const brim_op_caps* caps =
      std::find_if(kCaps, kCaps + kCapsCount, [&](const brim_op_caps& c) { return c.op == node.op; });
  if (caps == kCaps + kCapsCount || node.op_rev == 0 || node.op_rev > caps->max_rev ||
      (node.must & ~caps->features) != 0) {
    return {"the op, its revision or one of its features is not offered", 0};
  }
  if (is_view_op(node.op)) return {nullptr, 0};
  Trial t(graph, node);
  if (t.verdict().why != nullptr) return t.verdict();
  switch (node.op) {
    case BRIM_OP_COPY:
      if (t.in(0) != nullptr) judge_copy(t, t.in(0)->dtype, received<brim_copy_attr>(node.attr).dtype);
      break;
    case BRIM_OP_CONCAT:
      for (uint32_t i = 0; i < 2; ++i) {
        const brim_value_desc* v = t.in(i);
        if (!t.holds(v != nullptr && v->rank >= 1 && v->rank <= kMostRank, "CONCAT takes one to four dimensions"))
          break;
        t.holds(is_plain(v->dtype) || v->dtype == BRIM_DTYPE_I32, "no kernel joins values of this dtype");
      }
      break;
    case BRIM_OP_GATHER_ROWS:
      t.weight(0, true);
      t.tensor(1, BRIM_DTYPE_I32, 1, false);
      break;
    case BRIM_OP_SCATTER_ROWS:
      t.holds(received<brim_scatter_attr>(node.attr).mode <= BRIM_SCATTER_ADD, "unknown SCATTER_ROWS mode");
      t.tensor(0, BRIM_DTYPE_F32, 2, true);
      t.tensor(1, BRIM_DTYPE_F32, 2, true);
      t.tensor(2, BRIM_DTYPE_I32, 1, false);
      t.in_place(0);
      break;
    case BRIM_OP_UNARY: {
      const uint32_t kind = received<brim_unary_attr>(node.attr).kind;
      t.holds(kind >= BRIM_UNARY_NEG && kind <= BRIM_UNARY_FLOOR, "unknown UNARY kind");
      t.tensor(0, BRIM_DTYPE_F32, kMostRank, false);
      t.in_place(0);
      break;
    }
    case BRIM_OP_AFFINE_CLAMP:
      t.holds(!t.must(BRIM_AFFINE_SOFTCAP) || received<brim_affine_attr>(node.attr).cap > 0,
              "AFFINE_CLAMP: the soft cap must be positive");
      t.tensor(0, BRIM_DTYPE_F32, kMostRank, false);
      t.in_place(0);
      break;
    case BRIM_OP_BINARY: {
      const uint32_t kind = received<brim_binary_attr>(node.attr).kind;
      t.holds(kind >= BRIM_BINARY_ADD && kind <= BRIM_BINARY_POW, "unknown BINARY kind");
      t.tensor(0, BRIM_DTYPE_F32, kMostRank, false);
      t.tensor(1, BRIM_DTYPE_F32, kMostRank, false);
      t.in_place(0);
      t.in_place(1);
      break;
    }
    case BRIM_OP_GLU: {
      const uint32_t kind = received<brim_glu_attr>(node.attr).kind;
      t.holds(kind >= BRIM_GLU_SILU && kind <= BRIM_GLU_SWIGLU_LIMIT, "unknown GLU kind");
      t.tensor(0, BRIM_DTYPE_F32, kMostRank, false);
      t.optional(1, kMostRank, false);
      t.in_place(0);
      t.in_place(1);
      break;
    }
    case BRIM_OP_SOFTMAX:
      t.tensor(0, BRIM_DTYPE_F32, kMostRank, true);
      t.optional(1, kMostRank, true);
      t.holds(t.in(0) == nullptr || is_constant(t.in(0)->dim[t.in(0)->rank - 1]), "rows have no constant width");
      t.in_place(0);
      break;
    case BRIM_OP_RMS_NORM:
    case BRIM_OP_LAYER_NORM:
    case BRIM_OP_L2_NORM:
      t.tensor(0, BRIM_DTYPE_F32, kMostRank, true);
      t.optional(1, 1, true);
      t.optional(2, 1, true);
      t.holds(t.in(0) == nullptr || is_constant(t.in(0)->dim[t.in(0)->rank - 1]), "rows have no constant width");
      t.in_place(0);
      break;
    case BRIM_OP_ARGMAX:
    case BRIM_OP_TOPK:
      if (t.tensor(0, BRIM_DTYPE_F32, 2, true)) {
        const brim_dim width = t.in(0)->dim[1];
        const uint32_t k = node.op == BRIM_OP_TOPK ? received<brim_topk_attr>(node.attr).k : 1;
        t.holds(is_constant(width) && k >= 1 && k <= width.k, "k must be from 1 to the width");
      }
      break;
    case BRIM_OP_MATMUL:
      judge_product(t);
      break;
    case BRIM_OP_GROUPED_MATMUL:
      judge_grouped(t);
      break;
    case BRIM_OP_MOE_ROUTE:
      if (t.tensor(0, BRIM_DTYPE_F32, 2, true)) {
        const auto attr = received<brim_moe_route_attr>(node.attr);
        const brim_dim experts = t.in(0)->dim[1];
        const bool groups = t.must(BRIM_MOE_ROUTE_GROUPS);
        t.holds(is_constant(experts) && experts.k <= kMostExperts, "more experts than the kernel holds");
        t.holds(attr.gate >= BRIM_MOE_GATE_SOFTMAX && attr.gate <= BRIM_MOE_GATE_SOFTMAX_CHOSEN,
                "unknown MOE_ROUTE gate");
        t.holds(!groups || (attr.n_group != 0 && experts.k % attr.n_group == 0 && attr.n_group_used != 0 &&
                            attr.n_group_used <= attr.n_group),
                "MOE_ROUTE: the groups do not fit");
        t.holds(
            attr.k >= 1 && attr.k <= (groups ? experts.k / std::max(attr.n_group, 1u) * attr.n_group_used : experts.k),
            "MOE_ROUTE: k must be from 1 to the number of experts to choose from");
        t.optional(1, 1, true);
      }
      break;
    case BRIM_OP_MOE_COMBINE:
      t.tensor(0, BRIM_DTYPE_F32, 3, true);
      t.tensor(1, BRIM_DTYPE_F32, 2, false);
      break;
    case BRIM_OP_ROPE: {
      const uint32_t pairing = received<brim_rope_attr>(node.attr).pairing;
      t.holds(pairing == BRIM_ROPE_ADJACENT || pairing == BRIM_ROPE_HALVES, "unknown ROPE pairing");
      t.tensor(0, BRIM_DTYPE_F32, 3, true);
      t.tensor(1, BRIM_DTYPE_I32, 2, false);
      t.optional(2, 1, true);
      t.in_place(0);
      break;
    }
    case BRIM_OP_KV_WRITE:
      t.holds(t.in(0) != nullptr && t.in(0)->kind == BRIM_VALUE_STATE, "the state is missing");
      t.tensor(1, BRIM_DTYPE_F32, 3, true);
      t.optional(2, 3, true);
      break;
    case BRIM_OP_ATTENTION:
      judge_attention(t);
      break;
    case BRIM_OP_CAUSAL_CONV1D: {
      const uint32_t activation = received<brim_conv1d_attr>(node.attr).activation;
      t.holds(activation == 0 || activation == BRIM_UNARY_SILU, "unknown CAUSAL_CONV1D activation");
      t.tensor(0, BRIM_DTYPE_F32, 2, true);
      judge_recurrent(t, 1);
      t.tensor(2, BRIM_DTYPE_F32, 2, true);
      t.optional(3, 1, true);
      break;
    }
    default:  // LINEAR_ATTENTION
      for (uint32_t i = 0; i < 3; ++i) t.tensor(i, BRIM_DTYPE_F32, 3, true);
      t.optional(3, 2, false);
      t.optional(4, 2, false);
      judge_recurrent(t, 5);
      t.holds(t.in(0) == nullptr || (is_constant(t.in(0)->dim[2]) && t.in(0)->dim[2].k <= kMostKeys),
              "LINEAR_ATTENTION: keys are wider than the kernel holds");
      break;
  }
  return t.verdict();
}

}  // namespace brim_gpu
