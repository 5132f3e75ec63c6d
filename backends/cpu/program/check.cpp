#include "program/check.hpp"

#include "formats/rows.hpp"
#include "matmul/matmul.hpp"
#include "ops/binary.hpp"
#include "ops/copy.hpp"
#include "ops/unary.hpp"

namespace brim_cpu {

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

bool same(brim_dim a, brim_dim b) { return a.sym == b.sym && a.k == b.k; }
bool is_constant(brim_dim dim) { return dim.sym == BRIM_SYM_NONE; }
bool is_one(brim_dim dim) { return is_constant(dim) && dim.k == 1; }
bool is_step(brim_dim dim) { return dim.sym == BRIM_SYM_N_TOKENS && dim.k == 1; }

// A node on trial. The first objection stands; views whose rows are not contiguous are collected.
class Trial {
 public:
  Trial(const brim_graph& graph, const brim_node& node) : graph_(graph), node_(node) {}

  const brim_value_desc* in(uint32_t i) const {
    return i < node_.n_in && node_.in[i] != 0 ? brim_graph_value(&graph_, node_.in[i]) : nullptr;
  }
  const brim_value_desc& out(uint32_t i) const { return *brim_graph_value(&graph_, node_.out[i]); }
  bool must(uint64_t bit) const { return (node_.must & bit) != 0; }

  void holds(bool condition, const char* why) {
    if (!condition && why_ == nullptr) why_ = why;
  }

  // Input i, where it is given, has a dtype and dimensions that kernels know, and contiguous rows.
  void input(uint32_t i, bool rows_contiguous = true, uint32_t dtype = BRIM_DTYPE_F32) {
    const brim_value_desc* v = in(i);
    if (v == nullptr) return;
    holds(dtype == BRIM_DTYPE_NONE || v->dtype == dtype, "the dtype of a value is not the one that the op takes");
    for (uint32_t d = 0; d < v->rank; ++d) {
      holds(v->dim[d].sym <= BRIM_SYM_N_OUTPUTS, "a dimension has an unknown symbol");
      holds(v->dim[d].sym != BRIM_SYM_N_KV, "values sized by the context are not held in memory");
    }
    if (rows_contiguous && !contiguous_rows(*v)) need_contiguous_ |= 1u << i;
  }
  // Output 0 may take the storage of input i, where that has its shape.
  void in_place(uint32_t i) {
    const brim_value_desc &x = *in(i), &y = out(0);
    bool equal = x.rank == y.rank;
    for (uint32_t d = 0; equal && d < x.rank; ++d) equal = same(x.dim[d], y.dim[d]);
    if (equal) in_place_ |= 1u << i;
  }

  Verdict verdict() const {
    if (why_ != nullptr) return {BRIM_SUPPORT_NONE, 0, 0, why_};
    if (need_contiguous_ != 0) {
      return {BRIM_SUPPORT_IF_CONTIGUOUS, need_contiguous_, in_place_, "rows of an input are not contiguous"};
    }
    return {BRIM_SUPPORT_YES, 0, in_place_, nullptr};
  }

  static bool contiguous_rows(const brim_value_desc& v) {
    if (v.kind != BRIM_VALUE_VIEW || is_one(v.dim[v.rank - 1])) return true;
    return is_one(v.stride[v.rank - 1]);
  }

 private:
  const brim_graph& graph_;
  const brim_node& node_;
  const char* why_ = nullptr;
  uint32_t need_contiguous_ = 0, in_place_ = 0;
};

// Rows of whole blocks that a kernel can step through: the innermost dimension and every stride divide into blocks.
bool whole_blocks(const brim_value_desc& v) {
  const uint32_t block = brim_dtype_block_elements(v.dtype);
  if (block == 0 || !is_constant(v.dim[v.rank - 1]) || v.dim[v.rank - 1].k % block != 0) return block == 1;
  if (v.kind != BRIM_VALUE_VIEW) return true;
  bool whole = v.offset % block == 0;
  for (uint32_t i = 0; i + 1 < v.rank; ++i) whole = whole && v.stride[i].k % block == 0;
  return whole;
}

void judge_copy(Trial& trial, uint32_t to) {
  trial.input(0, false, BRIM_DTYPE_NONE);
  const brim_value_desc& x = *trial.in(0);
  trial.holds(knows_copy(x.dtype, to), "COPY between these dtypes is not offered");
  const bool blocks = brim_dtype_block_elements(x.dtype) != 1;
  trial.holds(whole_blocks(x) && (!blocks || Trial::contiguous_rows(x)),
              "COPY of a block format needs rows of whole blocks");
}

void judge_concat(Trial& trial) {
  trial.input(0, false, BRIM_DTYPE_NONE);
  trial.input(1, false, trial.in(0)->dtype);
  const uint32_t dtype = trial.in(0)->dtype;
  trial.holds(brim_dtype_block_elements(dtype) == 1 && knows_copy(dtype, dtype),
              "CONCAT takes two values of one dtype without blocks");
}

void judge_gather(Trial& trial) {
  trial.input(0, true, BRIM_DTYPE_NONE);
  trial.input(1, false, BRIM_DTYPE_I32);
  trial.holds(can_decode(trial.in(0)->dtype), "rows of this dtype cannot be decoded");
  trial.holds(whole_blocks(*trial.in(0)), "the table's rows are no whole blocks");
}

void judge_scatter(Trial& trial, uint32_t mode) {
  trial.holds(mode == BRIM_SCATTER_SET || mode == BRIM_SCATTER_ADD, "unknown SCATTER_ROWS mode");
  trial.input(0);
  trial.input(1);
  trial.input(2, false, BRIM_DTYPE_I32);
  trial.in_place(0);
}

// One value to one of its shape, with vectors or a mask beside it.
void judge_rows(Trial& trial) {
  trial.input(0);
  trial.input(1);
  trial.input(2);
  trial.in_place(0);
}

void judge_pair(Trial& trial) {
  trial.input(0);
  trial.input(1);
  trial.in_place(0);
  if (trial.in(1) != nullptr) trial.in_place(1);
}

void judge_select(Trial& trial) {
  trial.input(0);
  trial.holds(is_constant(trial.in(0)->dim[1]) && trial.in(0)->dim[1].k > 0,
              "ARGMAX and TOPK need rows of constant width");
}

void judge_weight(Trial& trial, uint32_t numerics) {
  trial.input(0, true, BRIM_DTYPE_NONE);
  const brim_value_desc& w = *trial.in(0);
  trial.holds(find_matmul(w.dtype, numerics, static_cast<int64_t>(w.dim[w.rank - 1].k)) != nullptr,
              "no matmul kernel takes weights of this dtype");
  trial.holds(whole_blocks(w), "the weight's rows are no whole blocks");
  for (uint32_t d = 0; d < w.rank; ++d) trial.holds(is_constant(w.dim[d]), "the weight's shape is not constant");
}

void judge_matmul(Trial& trial, uint32_t numerics) {
  if (trial.must(BRIM_MATMUL_BATCHED)) {
    trial.holds(trial.in(2) == nullptr, "a batched MATMUL takes no bias");
    trial.input(0);
  } else {
    judge_weight(trial, numerics);
    trial.holds(!trial.must(BRIM_MATMUL_HEADS) || trial.in(0)->kind != BRIM_VALUE_VIEW,
                "the heads' matrices cannot be a view");
  }
  trial.input(1);
  trial.input(2);
}

void judge_grouped(Trial& trial, uint32_t numerics) {
  judge_weight(trial, numerics);
  trial.input(1);
  trial.input(2, false, BRIM_DTYPE_I32);
  trial.input(3);
  trial.holds(trial.in(0)->kind != BRIM_VALUE_VIEW, "experts cannot be a view");
  trial.holds(trial.in(3) == nullptr || trial.in(3)->kind != BRIM_VALUE_VIEW, "the experts' biases cannot be a view");
  trial.holds(is_constant(trial.in(2)->dim[1]), "GROUPED_MATMUL: the number of choices must be constant");
}

void judge_route(Trial& trial, uint32_t gate) {
  trial.holds(gate >= BRIM_MOE_GATE_SOFTMAX && gate <= BRIM_MOE_GATE_SOFTMAX_CHOSEN, "unknown MOE_ROUTE gate");
  trial.input(0);
  trial.input(1);
}

void judge_combine(Trial& trial) {
  trial.input(0);
  trial.input(1);
  trial.holds(is_constant(trial.in(0)->dim[1]), "MOE_COMBINE: the number of choices must be constant");
}

void judge_rope(Trial& trial, uint32_t pairing) {
  trial.holds(pairing == BRIM_ROPE_ADJACENT || pairing == BRIM_ROPE_HALVES, "unknown ROPE pairing");
  trial.input(0);
  trial.input(1, false, BRIM_DTYPE_I32);
  trial.input(2);
  trial.holds(is_constant(trial.in(0)->dim[1]), "ROPE needs heads of constant number");
  trial.in_place(0);
}

void judge_kv_write(Trial& trial) {
  trial.input(1);
  trial.input(2);
  trial.holds(is_step(trial.in(1)->dim[0]), "KV_WRITE: K must have the step's tokens");
}

void judge_attention(Trial& trial, float softcap) {
  trial.input(0);
  trial.input(2);
  trial.holds(is_step(trial.in(0)->dim[0]), "ATTENTION: queries must have the step's tokens");
  trial.holds(!trial.must(BRIM_ATTENTION_SLIDING_WINDOW) || trial.must(BRIM_ATTENTION_CAUSAL),
              "a sliding window is offered with CAUSAL only");
  trial.holds(!trial.must(BRIM_ATTENTION_SOFTCAP) || softcap > 0, "ATTENTION: the soft cap must be positive");
}

void judge_conv(Trial& trial, uint32_t activation) {
  trial.holds(activation == 0 || activation == BRIM_UNARY_SILU, "unknown CAUSAL_CONV1D activation");
  trial.input(0);
  trial.input(2);
  trial.input(3);
  const brim_value_desc& x = *trial.in(0);
  trial.holds(is_step(x.dim[0]) && is_constant(x.dim[1]), "CAUSAL_CONV1D: rows must be the step's, of constant width");
}

void judge_linear_attention(Trial& trial) {
  for (uint32_t i = 0; i < 5; ++i) trial.input(i);
  for (uint32_t i = 0; i < 3; ++i) {
    const brim_value_desc& x = *trial.in(i);
    trial.holds(is_step(x.dim[0]) && is_constant(x.dim[1]) && is_constant(x.dim[2]),
                "LINEAR_ATTENTION: rows must be the step's, heads of constant number and width");
  }
}

}  // namespace

Verdict judge(const brim_graph& graph, const brim_node& node, uint32_t numerics) {
  const brim_op_caps* caps =
      std::find_if(kCaps, kCaps + kCapsCount, [&](const brim_op_caps& c) { return c.op == node.op; });
  if (caps == kCaps + kCapsCount || node.op_rev == 0 || node.op_rev > caps->max_rev ||
      (node.must & ~caps->features) != 0) {
    return {BRIM_SUPPORT_NONE, 0, 0, "the op, its revision or one of its features is not offered"};
  }
  if (numerics != BRIM_NUMERICS_FAST && numerics != BRIM_NUMERICS_STRICT) {
    return {BRIM_SUPPORT_NONE, 0, 0, "unknown numerics"};
  }
  if (is_view_op(node.op)) return {BRIM_SUPPORT_YES, 0, 0, nullptr};
  Trial trial(graph, node);
  switch (node.op) {
    case BRIM_OP_COPY:
      judge_copy(trial, attr_of<brim_copy_attr>(node).dtype);
      break;
    case BRIM_OP_CONCAT:
      judge_concat(trial);
      break;
    case BRIM_OP_GATHER_ROWS:
      judge_gather(trial);
      break;
    case BRIM_OP_SCATTER_ROWS:
      judge_scatter(trial, attr_of<brim_scatter_attr>(node).mode);
      break;
    case BRIM_OP_UNARY:
      trial.holds(knows_unary(attr_of<brim_unary_attr>(node).kind), "unknown UNARY kind");
      judge_rows(trial);
      break;
    case BRIM_OP_AFFINE_CLAMP:
      trial.holds(!trial.must(BRIM_AFFINE_SOFTCAP) || attr_of<brim_affine_attr>(node).cap > 0,
                  "AFFINE_CLAMP: the soft cap must be positive");
      judge_rows(trial);
      break;
    case BRIM_OP_BINARY:
      trial.holds(knows_binary(attr_of<brim_binary_attr>(node).kind), "unknown BINARY kind");
      judge_pair(trial);
      break;
    case BRIM_OP_GLU:
      trial.holds(knows_glu(attr_of<brim_glu_attr>(node).kind), "unknown GLU kind");
      judge_pair(trial);
      break;
    case BRIM_OP_SOFTMAX:
    case BRIM_OP_RMS_NORM:
    case BRIM_OP_LAYER_NORM:
    case BRIM_OP_L2_NORM:
      judge_rows(trial);
      break;
    case BRIM_OP_ARGMAX:
    case BRIM_OP_TOPK:
      judge_select(trial);
      break;
    case BRIM_OP_MATMUL:
      judge_matmul(trial, numerics);
      break;
    case BRIM_OP_GROUPED_MATMUL:
      judge_grouped(trial, numerics);
      break;
    case BRIM_OP_MOE_ROUTE:
      judge_route(trial, attr_of<brim_moe_route_attr>(node).gate);
      break;
    case BRIM_OP_MOE_COMBINE:
      judge_combine(trial);
      break;
    case BRIM_OP_ROPE:
      judge_rope(trial, attr_of<brim_rope_attr>(node).pairing);
      break;
    case BRIM_OP_KV_WRITE:
      judge_kv_write(trial);
      break;
    case BRIM_OP_ATTENTION:
      judge_attention(trial, attr_of<brim_attention_attr>(node).softcap);
      break;
    case BRIM_OP_CAUSAL_CONV1D:
      judge_conv(trial, attr_of<brim_conv1d_attr>(node).activation);
      break;
    default:
      judge_linear_attention(trial);
      break;
  }
  return trial.verdict();
}

}  // namespace brim_cpu
