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

// A node on trial. The first objection stands; views whose rows are not contiguous are collected.
class Trial {
 public:
  Trial(const brim_graph& graph, const brim_node& node) : graph_(graph), node_(node) {}

  const brim_value_desc* in(uint32_t i) const {
    return i < node_.n_in && node_.in[i] != 0 ? brim_graph_value(&graph_, node_.in[i]) : nullptr;
  }
  const brim_value_desc* out(uint32_t i) const {
    return i < node_.n_out && node_.out[i] != 0 ? brim_graph_value(&graph_, node_.out[i]) : nullptr;
  }

  bool holds(bool condition, const char* why) {
    if (!condition && why_ == nullptr) why_ = why;
    return condition;
  }

  // Input i exists with this dtype (NONE: any) and rank (0: any from 1), and its rows are contiguous.
  bool input(uint32_t i, uint32_t dtype, uint32_t rank, bool rows_contiguous = true) {
    const brim_value_desc* v = in(i);
    if (!holds(v != nullptr, "an input is missing")) return false;
    if (!shape(*v, dtype, rank)) return false;
    if (rows_contiguous && !contiguous_rows(*v)) need_contiguous_ |= 1u << i;
    return true;
  }
  bool output(uint32_t i, uint32_t dtype, uint32_t rank) {
    const brim_value_desc* v = out(i);
    return holds(v != nullptr && v->kind != BRIM_VALUE_VIEW, "an output is missing or a view") &&
           shape(*v, dtype, rank);
  }
  bool state(uint32_t i) {
    const brim_value_desc* v = in(i);
    return holds(v != nullptr && v->kind == BRIM_VALUE_STATE, "the state input is missing");
  }
  bool like(const brim_value_desc& a, const brim_value_desc& b) {
    bool equal = a.rank == b.rank;
    for (uint32_t i = 0; equal && i < a.rank; ++i) equal = same(a.dim[i], b.dim[i]);
    return holds(equal, "shapes that must be equal differ");
  }

  void in_place(uint32_t i) { in_place_ |= 1u << i; }

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
  bool shape(const brim_value_desc& v, uint32_t dtype, uint32_t rank) {
    bool ok = holds(v.kind != BRIM_VALUE_STATE, "a state stands where a tensor is expected");
    ok = ok &&
         holds(dtype == BRIM_DTYPE_NONE || v.dtype == dtype, "the dtype of a value is not the one that the op takes");
    ok = ok && holds(v.rank >= 1 && v.rank <= BRIM_MAX_RANK && (rank == 0 || v.rank == rank),
                     "the rank of a value is not the one that the op takes");
    for (uint32_t i = 0; ok && i < v.rank; ++i) {
      ok = holds(v.dim[i].sym <= BRIM_SYM_N_OUTPUTS, "a dimension has an unknown symbol") &&
           holds(v.dim[i].sym != BRIM_SYM_N_KV, "values sized by the context are not held in memory");
    }
    return ok;
  }

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

void judge_copy(Trial& trial, const brim_node& node) {
  if (!trial.input(0, BRIM_DTYPE_NONE, 0, false) || !trial.output(0, attr_of<brim_copy_attr>(node).dtype, 0)) return;
  const brim_value_desc &x = *trial.in(0), &out = *trial.out(0);
  trial.like(x, out);
  trial.holds(knows_copy(x.dtype, out.dtype), "COPY between these dtypes is not offered");
  const bool blocks = brim_dtype_block_elements(x.dtype) != 1;
  trial.holds(whole_blocks(x) && whole_blocks(out) && (!blocks || Trial::contiguous_rows(x)),
              "COPY of a block format needs rows of whole blocks");
}

void judge_concat(Trial& trial, const brim_node& node) {
  const uint32_t axis = attr_of<brim_concat_attr>(node).axis;
  if (!trial.input(0, BRIM_DTYPE_NONE, 0, false) || !trial.input(1, BRIM_DTYPE_NONE, 0, false) ||
      !trial.output(0, trial.in(0)->dtype, trial.in(0)->rank)) {
    return;
  }
  const brim_value_desc &a = *trial.in(0), &b = *trial.in(1);
  trial.holds(a.dtype == b.dtype && brim_dtype_block_elements(a.dtype) == 1 && knows_copy(a.dtype, a.dtype),
              "CONCAT takes two values of one dtype without blocks");
  if (!trial.holds(axis < a.rank && b.rank == a.rank && is_constant(a.dim[axis]) && is_constant(b.dim[axis]),
                   "CONCAT: the axis has no constant size")) {
    return;
  }
  brim_value_desc expected = a;
  expected.dim[axis].k += b.dim[axis].k;
  trial.like(expected, *trial.out(0));
  expected = a;
  expected.dim[axis] = b.dim[axis];
  trial.like(expected, b);
}

void judge_gather(Trial& trial) {
  if (!trial.input(0, BRIM_DTYPE_NONE, 2) || !trial.input(1, BRIM_DTYPE_I32, 1, false) ||
      !trial.output(0, BRIM_DTYPE_F32, 2)) {
    return;
  }
  const brim_value_desc &table = *trial.in(0), &out = *trial.out(0);
  trial.holds(can_decode(table.dtype), "rows of this dtype cannot be decoded");
  trial.holds(whole_blocks(table), "the table's rows are no whole blocks");
  trial.holds(same(table.dim[1], out.dim[1]) && same(trial.in(1)->dim[0], out.dim[0]),
              "GATHER_ROWS: shapes do not fit");
}

void judge_scatter(Trial& trial, const brim_node& node) {
  const uint32_t mode = attr_of<brim_scatter_attr>(node).mode;
  trial.holds(mode == BRIM_SCATTER_SET || mode == BRIM_SCATTER_ADD, "unknown SCATTER_ROWS mode");
  if (!trial.input(0, BRIM_DTYPE_F32, 2) || !trial.input(1, BRIM_DTYPE_F32, 2) ||
      !trial.input(2, BRIM_DTYPE_I32, 1, false) || !trial.output(0, BRIM_DTYPE_F32, 2)) {
    return;
  }
  trial.like(*trial.in(0), *trial.out(0));
  trial.holds(same(trial.in(1)->dim[1], trial.out(0)->dim[1]) && same(trial.in(1)->dim[0], trial.in(2)->dim[0]),
              "SCATTER_ROWS: shapes do not fit");
  trial.in_place(0);
}

void judge_elementwise(Trial& trial) {
  if (!trial.input(0, BRIM_DTYPE_F32, 0) || !trial.output(0, BRIM_DTYPE_F32, 0)) return;
  trial.like(*trial.in(0), *trial.out(0));
  trial.in_place(0);
}

void judge_binary(Trial& trial, const brim_node& node) {
  trial.holds(knows_binary(attr_of<brim_binary_attr>(node).kind), "unknown BINARY kind");
  if (!trial.input(0, BRIM_DTYPE_F32, 0) || !trial.input(1, BRIM_DTYPE_F32, 0) || !trial.output(0, BRIM_DTYPE_F32, 0)) {
    return;
  }
  const brim_value_desc& out = *trial.out(0);
  for (uint32_t i = 0; i < 2; ++i) {
    const brim_value_desc& v = *trial.in(i);
    if (!trial.holds(v.rank <= out.rank, "BINARY: the output has too few dimensions")) return;
    bool equal = v.rank == out.rank;
    for (uint32_t j = 0; j < v.rank; ++j) {
      const bool matches = same(v.dim[v.rank - 1 - j], out.dim[out.rank - 1 - j]);
      trial.holds(matches || is_one(v.dim[v.rank - 1 - j]), "BINARY: shapes do not broadcast");
      equal = equal && matches;
    }
    if (equal) trial.in_place(i);
  }
}

void judge_glu(Trial& trial, const brim_node& node) {
  trial.holds(knows_glu(attr_of<brim_glu_attr>(node).kind), "unknown GLU kind");
  if (!trial.input(0, BRIM_DTYPE_F32, 0) || !trial.output(0, BRIM_DTYPE_F32, 0)) return;
  if (trial.in(1) != nullptr) {
    if (!trial.input(1, BRIM_DTYPE_F32, 0)) return;
    trial.like(*trial.in(0), *trial.out(0));
    trial.like(*trial.in(1), *trial.out(0));
    trial.in_place(0);
    trial.in_place(1);
    return;
  }
  brim_value_desc doubled = *trial.out(0);
  brim_dim& n = doubled.dim[doubled.rank - 1];
  if (!trial.holds(is_constant(n) && n.k <= UINT32_MAX / 2, "GLU of one input needs a constant width")) return;
  n.k *= 2;
  trial.like(*trial.in(0), doubled);
}

void judge_norm(Trial& trial) {
  judge_elementwise(trial);
  if (trial.in(1) == nullptr || !trial.input(1, BRIM_DTYPE_F32, 1) || trial.out(0) == nullptr) return;
  const brim_value_desc& out = *trial.out(0);
  trial.holds(out.rank >= 1 && same(trial.in(1)->dim[0], out.dim[out.rank - 1]),
              "the norm's weight does not fit its rows");
}

void judge_layer_norm(Trial& trial) {
  judge_norm(trial);
  if (trial.in(2) == nullptr || !trial.input(2, BRIM_DTYPE_F32, 1) || trial.out(0) == nullptr) return;
  trial.holds(same(trial.in(2)->dim[0], trial.out(0)->dim[trial.out(0)->rank - 1]),
              "LAYER_NORM: the bias does not fit");
}

void judge_softmax(Trial& trial) {
  judge_elementwise(trial);
  if (trial.in(1) == nullptr || !trial.input(1, BRIM_DTYPE_F32, 0) || trial.in(0) == nullptr) return;
  trial.like(*trial.in(1), *trial.in(0));
}

void judge_argmax(Trial& trial) {
  if (!trial.input(0, BRIM_DTYPE_F32, 2) || !trial.output(0, BRIM_DTYPE_I32, 1)) return;
  trial.holds(same(trial.in(0)->dim[0], trial.out(0)->dim[0]), "ARGMAX: shapes do not fit");
  trial.holds(is_constant(trial.in(0)->dim[1]) && trial.in(0)->dim[1].k > 0, "ARGMAX needs rows of constant width");
}

void judge_topk(Trial& trial, const brim_node& node) {
  const uint32_t k = attr_of<brim_topk_attr>(node).k;
  if (!trial.input(0, BRIM_DTYPE_F32, 2) || !trial.output(0, BRIM_DTYPE_F32, 2) ||
      !trial.output(1, BRIM_DTYPE_I32, 2)) {
    return;
  }
  const brim_value_desc &x = *trial.in(0), &values = *trial.out(0), &index = *trial.out(1);
  trial.holds(is_constant(x.dim[1]) && k >= 1 && k <= x.dim[1].k, "TOPK: k must be from 1 to the width");
  trial.like(values, index);
  trial.holds(same(values.dim[0], x.dim[0]) && is_constant(values.dim[1]) && values.dim[1].k == k,
              "TOPK: shapes do not fit");
}

void judge_batched(Trial& trial, const brim_node& node) {
  trial.holds((node.must & BRIM_MATMUL_BIAS) == 0, "a batched MATMUL takes no bias");
  if (!trial.input(0, BRIM_DTYPE_F32, 0) || !trial.input(1, BRIM_DTYPE_F32, 0) || !trial.output(0, BRIM_DTYPE_F32, 0)) {
    return;
  }
  const brim_value_desc &w = *trial.in(0), &x = *trial.in(1), &out = *trial.out(0);
  if (!trial.holds(w.rank >= 2 && w.rank == x.rank && x.rank == out.rank, "MATMUL: ranks do not fit")) return;
  const uint32_t last = x.rank - 1;
  for (uint32_t i = 0; i + 2 < x.rank; ++i) {
    trial.holds(same(x.dim[i], out.dim[i]) && (same(w.dim[i], x.dim[i]) || is_one(w.dim[i])),
                "MATMUL: batches do not fit");
  }
  trial.holds(same(x.dim[last - 1], out.dim[last - 1]) && same(w.dim[last - 1], out.dim[last]) &&
                  same(w.dim[last], x.dim[last]),
              "MATMUL: shapes do not fit");
}

void judge_weight(Trial& trial, const brim_value_desc& w, uint32_t numerics) {
  const brim_dim k = w.dim[w.rank - 1], n = w.dim[w.rank - 2];
  trial.holds(find_matmul(w.dtype, numerics) != nullptr, "no matmul kernel takes weights of this dtype");
  trial.holds(whole_blocks(w), "the weight's rows are no whole blocks");
  trial.holds(is_constant(k) && is_constant(n), "the weight's shape is not constant");
}

void judge_heads(Trial& trial, const brim_node& node, uint32_t numerics) {
  trial.holds((node.must & (BRIM_MATMUL_BIAS | BRIM_MATMUL_BATCHED)) == 0 && trial.in(2) == nullptr,
              "a MATMUL by heads has no bias and no batch");
  if (!trial.input(0, BRIM_DTYPE_NONE, 3) || !trial.input(1, BRIM_DTYPE_F32, 3) ||
      !trial.output(0, BRIM_DTYPE_F32, 3)) {
    return;
  }
  const brim_value_desc &w = *trial.in(0), &x = *trial.in(1), &out = *trial.out(0);
  judge_weight(trial, w, numerics);
  trial.holds(w.kind != BRIM_VALUE_VIEW, "the heads' matrices cannot be a view");
  trial.holds(is_constant(w.dim[0]) && same(w.dim[0], x.dim[1]) && same(w.dim[2], x.dim[2]) &&
                  same(out.dim[0], x.dim[0]) && same(out.dim[1], x.dim[1]) && same(out.dim[2], w.dim[1]),
              "MATMUL by heads: shapes do not fit");
}

void judge_matmul(Trial& trial, const brim_node& node, uint32_t numerics) {
  if ((node.must & BRIM_MATMUL_HEADS) != 0) return judge_heads(trial, node, numerics);
  if ((node.must & BRIM_MATMUL_BATCHED) != 0) return judge_batched(trial, node);
  if (!trial.input(0, BRIM_DTYPE_NONE, 2) || !trial.input(1, BRIM_DTYPE_F32, 0) ||
      !trial.output(0, BRIM_DTYPE_F32, 0)) {
    return;
  }
  const brim_value_desc &w = *trial.in(0), &x = *trial.in(1);
  judge_weight(trial, w, numerics);
  brim_value_desc expected = x;
  expected.dim[x.rank - 1] = w.dim[0];
  trial.like(expected, *trial.out(0));
  trial.holds(same(x.dim[x.rank - 1], w.dim[1]), "MATMUL: the weight's rows and the input's differ in length");
  if (trial.in(2) != nullptr && trial.input(2, BRIM_DTYPE_F32, 1)) {
    trial.holds(same(trial.in(2)->dim[0], w.dim[0]), "MATMUL: the bias does not fit");
  }
  trial.holds(trial.in(2) != nullptr || (node.must & BRIM_MATMUL_BIAS) == 0, "MATMUL: the bias is missing");
}

void judge_grouped(Trial& trial, const brim_node& node, uint32_t numerics) {
  if (!trial.input(0, BRIM_DTYPE_NONE, 3) || !trial.input(1, BRIM_DTYPE_F32, 0) ||
      !trial.input(2, BRIM_DTYPE_I32, 2, false) || !trial.output(0, BRIM_DTYPE_F32, 3)) {
    return;
  }
  const brim_value_desc &w = *trial.in(0), &x = *trial.in(1), &index = *trial.in(2), &out = *trial.out(0);
  judge_weight(trial, w, numerics);
  trial.holds(w.kind != BRIM_VALUE_VIEW, "experts cannot be a view");
  trial.holds(is_constant(w.dim[0]) && is_constant(index.dim[1]),
              "GROUPED_MATMUL: experts and choices must be constant");
  if (!trial.holds(x.rank == 2 || x.rank == 3, "GROUPED_MATMUL: x has two or three dimensions")) return;
  trial.holds(same(x.dim[x.rank - 1], w.dim[2]) && same(x.dim[0], index.dim[0]) &&
                  (x.rank == 2 || same(x.dim[1], index.dim[1])) && same(out.dim[0], index.dim[0]) &&
                  same(out.dim[1], index.dim[1]) && same(out.dim[2], w.dim[1]),
              "GROUPED_MATMUL: shapes do not fit");
  if (trial.in(3) != nullptr && trial.input(3, BRIM_DTYPE_F32, 2)) {
    trial.holds(trial.in(3)->kind != BRIM_VALUE_VIEW && same(trial.in(3)->dim[0], w.dim[0]) &&
                    same(trial.in(3)->dim[1], w.dim[1]),
                "GROUPED_MATMUL: the bias does not fit");
  }
  trial.holds(trial.in(3) != nullptr || (node.must & BRIM_GROUPED_MATMUL_BIAS) == 0,
              "GROUPED_MATMUL: the bias is missing");
}

void judge_route(Trial& trial, const brim_node& node) {
  const auto attr = attr_of<brim_moe_route_attr>(node);
  if (!trial.input(0, BRIM_DTYPE_F32, 2) || !trial.output(0, BRIM_DTYPE_F32, 2) ||
      !trial.output(1, BRIM_DTYPE_I32, 2)) {
    return;
  }
  const brim_value_desc &logits = *trial.in(0), &weight = *trial.out(0);
  const uint32_t experts = logits.dim[1].k;
  const bool groups = (node.must & BRIM_MOE_ROUTE_GROUPS) != 0;
  trial.holds(attr.gate >= BRIM_MOE_GATE_SOFTMAX && attr.gate <= BRIM_MOE_GATE_SOFTMAX_CHOSEN,
              "unknown MOE_ROUTE gate");
  trial.holds(attr.normalise <= 1, "MOE_ROUTE: normalise is 0 or 1");
  if (!trial.holds(is_constant(logits.dim[1]) && experts > 0, "MOE_ROUTE: the number of experts must be constant") ||
      !trial.holds(!groups || (attr.n_group > 0 && experts % attr.n_group == 0 && attr.n_group_used > 0 &&
                               attr.n_group_used <= attr.n_group),
                   "MOE_ROUTE: the groups do not fit")) {
    return;
  }
  const uint32_t choice = groups ? experts / attr.n_group * attr.n_group_used : experts;
  trial.holds(attr.k >= 1 && attr.k <= choice, "MOE_ROUTE: k must be from 1 to the number of experts to choose from");
  trial.like(weight, *trial.out(1));
  trial.holds(same(weight.dim[0], logits.dim[0]) && is_constant(weight.dim[1]) && weight.dim[1].k == attr.k,
              "MOE_ROUTE: shapes do not fit");
  trial.holds((trial.in(1) != nullptr) == ((node.must & BRIM_MOE_ROUTE_BIAS) != 0),
              "MOE_ROUTE: bias and BIAS disagree");
  if (trial.in(1) != nullptr && trial.input(1, BRIM_DTYPE_F32, 1)) {
    trial.holds(same(trial.in(1)->dim[0], logits.dim[1]), "MOE_ROUTE: the bias does not fit");
  }
}

void judge_combine(Trial& trial) {
  if (!trial.input(0, BRIM_DTYPE_F32, 3) || !trial.input(1, BRIM_DTYPE_F32, 2) || !trial.output(0, BRIM_DTYPE_F32, 2)) {
    return;
  }
  const brim_value_desc &x = *trial.in(0), &weight = *trial.in(1), &out = *trial.out(0);
  trial.holds(is_constant(x.dim[1]) && x.dim[1].k > 0 && same(weight.dim[0], x.dim[0]) &&
                  same(weight.dim[1], x.dim[1]) && same(out.dim[0], x.dim[0]) && same(out.dim[1], x.dim[2]),
              "MOE_COMBINE: shapes do not fit");
}

void judge_rope(Trial& trial, const brim_node& node) {
  const auto attr = attr_of<brim_rope_attr>(node);
  if (!trial.input(0, BRIM_DTYPE_F32, 3) || !trial.input(1, BRIM_DTYPE_I32, 2, false) ||
      !trial.output(0, BRIM_DTYPE_F32, 3)) {
    return;
  }
  const brim_value_desc& x = *trial.in(0);
  trial.like(x, *trial.out(0));
  trial.holds(same(x.dim[0], trial.in(1)->dim[0]), "ROPE: positions and rows differ in number");
  trial.holds(attr.pairing == BRIM_ROPE_ADJACENT || attr.pairing == BRIM_ROPE_HALVES, "unknown ROPE pairing");
  trial.holds(is_constant(x.dim[1]) && is_constant(x.dim[2]), "ROPE needs heads of constant number and width");
  trial.holds(attr.n_rot >= 2 && attr.n_rot % 2 == 0 && attr.n_rot <= x.dim[2].k,
              "ROPE: n_rot must be even and at most the head's width");
  trial.holds((trial.in(2) != nullptr) == ((node.must & BRIM_ROPE_FACTORS) != 0), "ROPE: factors and FACTORS disagree");
  if (trial.in(2) != nullptr && trial.input(2, BRIM_DTYPE_F32, 1)) {
    trial.holds(is_constant(trial.in(2)->dim[0]) && trial.in(2)->dim[0].k == attr.n_rot / 2,
                "ROPE: factors do not fit");
  }
  trial.in_place(0);
}

bool is_step(brim_dim dim) { return dim.sym == BRIM_SYM_N_TOKENS && dim.k == 1; }

void judge_kv_write(Trial& trial) {
  if (!trial.state(0) || !trial.input(1, BRIM_DTYPE_F32, 3)) return;
  const brim_value_desc& k = *trial.in(1);
  trial.holds(is_step(k.dim[0]), "KV_WRITE: K must have the step's tokens");
  if (trial.in(2) == nullptr || !trial.input(2, BRIM_DTYPE_F32, 3)) return;  // a latent state has no V
  const brim_value_desc& v = *trial.in(2);
  trial.holds(same(v.dim[0], k.dim[0]) && same(v.dim[1], k.dim[1]), "KV_WRITE: K and V must have equal rows and heads");
}

void judge_attention(Trial& trial, const brim_node& node) {
  const auto attr = attr_of<brim_attention_attr>(node);
  if (!trial.input(0, BRIM_DTYPE_F32, 3) || !trial.state(1) || !trial.output(0, BRIM_DTYPE_F32, 3)) return;
  const brim_value_desc &q = *trial.in(0), &out = *trial.out(0);
  const bool window = (node.must & BRIM_ATTENTION_SLIDING_WINDOW) != 0;
  trial.holds(
      q.dim[0].sym == BRIM_SYM_N_TOKENS && q.dim[0].k == 1 && same(out.dim[0], q.dim[0]) && same(out.dim[1], q.dim[1]),
      "ATTENTION: queries must have the step's tokens, the output the queries' heads");
  trial.holds(
      attr.n_head_kv > 0 && attr.n_head % attr.n_head_kv == 0 && is_constant(q.dim[1]) && q.dim[1].k == attr.n_head,
      "ATTENTION: the heads do not fit");
  trial.holds(!window || ((node.must & BRIM_ATTENTION_CAUSAL) != 0 && attr.window > 0),
              "a sliding window is offered with CAUSAL only, and needs a size");
  trial.holds((node.must & BRIM_ATTENTION_SOFTCAP) == 0 || attr.softcap > 0,
              "ATTENTION: the soft cap must be positive");
  trial.holds((trial.in(2) != nullptr) == ((node.must & BRIM_ATTENTION_SINKS) != 0),
              "ATTENTION: sinks and SINKS disagree");
  if (trial.in(2) != nullptr && trial.input(2, BRIM_DTYPE_F32, 1)) {
    trial.holds(is_constant(trial.in(2)->dim[0]) && trial.in(2)->dim[0].k == attr.n_head,
                "ATTENTION: the sinks do not fit the heads");
  }
  if ((node.must & BRIM_ATTENTION_V_FROM_K) != 0) {
    trial.holds(is_constant(q.dim[2]) && is_constant(out.dim[2]) && attr.v_width > 0 && attr.v_width <= q.dim[2].k &&
                    out.dim[2].k == attr.v_width,
                "ATTENTION: V does not fit K");
  }
}

void judge_conv(Trial& trial, const brim_node& node) {
  const uint32_t activation = attr_of<brim_conv1d_attr>(node).activation;
  trial.holds(activation == 0 || activation == BRIM_UNARY_SILU, "unknown CAUSAL_CONV1D activation");
  if (!trial.input(0, BRIM_DTYPE_F32, 2) || !trial.state(1) || !trial.input(2, BRIM_DTYPE_F32, 2) ||
      !trial.output(0, BRIM_DTYPE_F32, 2)) {
    return;
  }
  const brim_value_desc &x = *trial.in(0), &weight = *trial.in(2);
  trial.like(x, *trial.out(0));
  trial.holds(is_step(x.dim[0]) && is_constant(x.dim[1]) && same(weight.dim[0], x.dim[1]) &&
                  is_constant(weight.dim[1]) && weight.dim[1].k > 0,
              "CAUSAL_CONV1D: shapes do not fit");
  trial.holds((trial.in(3) != nullptr) == ((node.must & BRIM_CONV1D_BIAS) != 0),
              "CAUSAL_CONV1D: bias and BIAS disagree");
  if (trial.in(3) != nullptr && trial.input(3, BRIM_DTYPE_F32, 1)) {
    trial.holds(same(trial.in(3)->dim[0], x.dim[1]), "CAUSAL_CONV1D: the bias does not fit");
  }
}

void judge_linear_attention(Trial& trial, const brim_node& node) {
  for (uint32_t i = 0; i < 3; ++i) {
    if (!trial.input(i, BRIM_DTYPE_F32, 3)) return;
  }
  if (!trial.state(5) || !trial.output(0, BRIM_DTYPE_F32, 3)) return;
  const brim_value_desc &q = *trial.in(0), &k = *trial.in(1), &v = *trial.in(2);
  trial.like(q, k);
  trial.like(v, *trial.out(0));
  trial.holds(is_step(q.dim[0]) && is_step(v.dim[0]) && is_constant(q.dim[1]) && is_constant(q.dim[2]) &&
                  is_constant(v.dim[1]) && is_constant(v.dim[2]) && q.dim[1].k > 0 && v.dim[1].k % q.dim[1].k == 0,
              "LINEAR_ATTENTION: shapes do not fit");
  for (uint32_t i = 3; i < 5; ++i) {
    const uint64_t bit = i == 3 ? BRIM_LINEAR_DECAY : BRIM_LINEAR_DELTA;
    trial.holds((trial.in(i) != nullptr) == ((node.must & bit) != 0), "LINEAR_ATTENTION: inputs and features disagree");
    if (trial.in(i) == nullptr || !trial.input(i, BRIM_DTYPE_F32, 2)) continue;
    trial.holds(same(trial.in(i)->dim[0], v.dim[0]) && same(trial.in(i)->dim[1], v.dim[1]),
                "LINEAR_ATTENTION: decay or beta does not fit the value heads");
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
      judge_copy(trial, node);
      break;
    case BRIM_OP_CONCAT:
      judge_concat(trial, node);
      break;
    case BRIM_OP_GATHER_ROWS:
      judge_gather(trial);
      break;
    case BRIM_OP_SCATTER_ROWS:
      judge_scatter(trial, node);
      break;
    case BRIM_OP_UNARY:
      trial.holds(knows_unary(attr_of<brim_unary_attr>(node).kind), "unknown UNARY kind");
      judge_elementwise(trial);
      break;
    case BRIM_OP_AFFINE_CLAMP:
      trial.holds((node.must & BRIM_AFFINE_SOFTCAP) == 0 || attr_of<brim_affine_attr>(node).cap > 0,
                  "AFFINE_CLAMP: the soft cap must be positive");
      judge_elementwise(trial);
      break;
    case BRIM_OP_BINARY:
      judge_binary(trial, node);
      break;
    case BRIM_OP_GLU:
      judge_glu(trial, node);
      break;
    case BRIM_OP_SOFTMAX:
      judge_softmax(trial);
      break;
    case BRIM_OP_RMS_NORM:
      judge_norm(trial);
      break;
    case BRIM_OP_LAYER_NORM:
      judge_layer_norm(trial);
      break;
    case BRIM_OP_L2_NORM:
      judge_elementwise(trial);
      break;
    case BRIM_OP_ARGMAX:
      judge_argmax(trial);
      break;
    case BRIM_OP_TOPK:
      judge_topk(trial, node);
      break;
    case BRIM_OP_MATMUL:
      judge_matmul(trial, node, numerics);
      break;
    case BRIM_OP_GROUPED_MATMUL:
      judge_grouped(trial, node, numerics);
      break;
    case BRIM_OP_MOE_ROUTE:
      judge_route(trial, node);
      break;
    case BRIM_OP_MOE_COMBINE:
      judge_combine(trial);
      break;
    case BRIM_OP_ROPE:
      judge_rope(trial, node);
      break;
    case BRIM_OP_KV_WRITE:
      judge_kv_write(trial);
      break;
    case BRIM_OP_ATTENTION:
      judge_attention(trial, node);
      break;
    case BRIM_OP_CAUSAL_CONV1D:
      judge_conv(trial, node);
      break;
    default:
      judge_linear_attention(trial, node);
      break;
  }
  return trial.verdict();
}

}  // namespace brim_cpu
