#include <algorithm>
#include <base/error.hpp>
#include <graph/graph.hpp>
#include <graph/shape_rules.hpp>
#include <vector>

namespace brim::graph {
namespace {

bool operator==(brim_dim a, brim_dim b) { return a.sym == b.sym && a.k == b.k; }
bool same(const brim_dim* a, const brim_dim* b, uint32_t rank) {
  for (uint32_t i = 0; i < rank; ++i) {
    if (!(a[i] == b[i])) return false;
  }
  return true;
}
constexpr brim_dim fixed(uint32_t k) { return {BRIM_SYM_NONE, k}; }

// ---- what rules are written with ----------------------------------------------------------------------------------

const brim_value_desc& input(const NodeDraft& n, size_t i, const char* what) {
  if (i >= n.in.size() || !n.in[i]) fail(BRIM_INVALID_ARGUMENT, "input {} ({}) is missing", i, what);
  return *n.in[i];
}

const brim_value_desc* optional_input(const NodeDraft& n, size_t i) { return i < n.in.size() ? n.in[i] : nullptr; }

void want_rank(const brim_value_desc& v, uint32_t low, uint32_t high, const char* what) {
  if (v.rank >= low && v.rank <= high) return;
  fail(BRIM_INVALID_ARGUMENT, "{} has the shape {}; expected {} to {} dimensions", what, shape_text(v), low, high);
}

void want_dtype(const brim_value_desc& v, uint32_t dtype, const char* what) {
  if (v.dtype == dtype) return;
  fail(BRIM_INVALID_ARGUMENT, "{} is {}; expected {}", what, brim_dtype_name(v.dtype), brim_dtype_name(dtype));
}

void want_dim(const brim_value_desc& v, uint32_t axis, brim_dim wanted, const char* what) {
  if (v.dim[axis] == wanted) return;
  brim_value_desc w{};
  w.rank = 1;
  w.dim[0] = wanted;
  fail(BRIM_INVALID_ARGUMENT, "{} has the shape {}; expected {} in dimension {}", what, shape_text(v), shape_text(w),
       axis);
}

const brim_value_desc& f32(const NodeDraft& n, size_t i, uint32_t min_rank, const char* what) {
  const brim_value_desc& v = input(n, i, what);
  want_dtype(v, BRIM_DTYPE_F32, what);
  want_rank(v, min_rank, BRIM_MAX_RANK, what);
  return v;
}

brim_dim innermost(const brim_value_desc& v) { return v.dim[v.rank - 1]; }

void set(brim_value_desc& out, uint32_t dtype, std::span<const brim_dim> dims) {
  out.kind = BRIM_VALUE_TEMP;
  out.dtype = dtype;
  out.rank = static_cast<uint32_t>(dims.size());
  std::copy(dims.begin(), dims.end(), out.dim);
  set_contiguous(out);
}

void like(brim_value_desc& out, const brim_value_desc& v, uint32_t dtype = BRIM_DTYPE_F32) {
  set(out, dtype, {v.dim, v.rank});
}

template <class Attr>
const Attr& attr_of(const NodeDraft& n) {
  return *static_cast<const Attr*>(n.attr);
}

void want_one_of(uint32_t value, uint32_t low, uint32_t high, const char* what) {
  if (value >= low && value <= high) return;
  fail(BRIM_UNSUPPORTED, "{} is {}; known are {} to {}", what, value, low, high);
}

bool contiguous(const brim_value_desc& v) {
  brim_value_desc plain = v;
  set_contiguous(plain);
  return same(v.stride, plain.stride, v.rank);
}

// The product of all dimensions as a constant and the symbols in it, sorted.
struct Extent {
  uint64_t k = 1;
  std::vector<uint32_t> symbols;
  explicit Extent(const brim_value_desc& v) {
    for (uint32_t i = 0; i < v.rank; ++i) {
      k *= v.dim[i].k;
      if (v.dim[i].sym != BRIM_SYM_NONE) symbols.push_back(v.dim[i].sym);
    }
    std::sort(symbols.begin(), symbols.end());
  }
  bool operator==(const Extent&) const = default;
};

// An optional F32 input of the shape `dims`: given, its feature bit is set; absent, the bit may not be.
void want_optional(NodeDraft& n, size_t i, uint64_t bit, const char* what, std::span<const brim_dim> dims) {
  const auto* given = optional_input(n, i);
  if (!given) {
    if (n.must & bit) fail(BRIM_INVALID_ARGUMENT, "input {} ({}) is missing, but its feature bit is set", i, what);
    return;
  }
  n.must |= bit;
  want_dtype(*given, BRIM_DTYPE_F32, what);
  want_rank(*given, static_cast<uint32_t>(dims.size()), static_cast<uint32_t>(dims.size()), what);
  for (uint32_t d = 0; d < dims.size(); ++d) want_dim(*given, d, dims[d], what);
}

// ---- views ---------------------------------------------------------------------------------------------------------

brim_value_desc& begin_view(NodeDraft& n, const brim_value_desc& x) {
  brim_value_desc& out = n.out[0];
  if (x.kind == BRIM_VALUE_STATE) fail(BRIM_INVALID_ARGUMENT, "a state cannot be viewed");
  out.kind = BRIM_VALUE_VIEW;
  out.dtype = x.dtype;
  out.rank = x.rank;
  out.base = x.kind == BRIM_VALUE_VIEW ? x.base : n.in_ids[0];
  out.offset = x.offset;
  std::copy(std::begin(x.dim), std::end(x.dim), out.dim);
  std::copy(std::begin(x.stride), std::end(x.stride), out.stride);
  return out;
}

void reshape(NodeDraft& n) {
  const auto& x = input(n, 0, "x");
  const auto& a = attr_of<brim_shape_attr>(n);
  if (!contiguous(x)) fail(BRIM_INVALID_ARGUMENT, "x is a strided view; COPY it first");
  if (a.rank < 1 || a.rank > BRIM_MAX_RANK) fail(BRIM_INVALID_ARGUMENT, "the new rank is {}", a.rank);
  brim_value_desc& out = begin_view(n, x);
  out.rank = a.rank;
  std::copy(std::begin(a.dim), std::end(a.dim), out.dim);
  set_contiguous(out);
  if (Extent(x) != Extent(out)) {
    fail(BRIM_INVALID_ARGUMENT, "{} cannot become {}: the number of elements differs", shape_text(x), shape_text(out));
  }
}

void slice(NodeDraft& n) {
  const auto& x = input(n, 0, "x");
  const auto& a = attr_of<brim_slice_attr>(n);
  brim_value_desc& out = begin_view(n, x);
  if (a.axis >= x.rank || x.dim[a.axis].sym != BRIM_SYM_NONE || x.stride[a.axis].sym != BRIM_SYM_NONE) {
    fail(BRIM_INVALID_ARGUMENT, "axis {} of {} has no constant size to cut", a.axis, shape_text(x));
  }
  if (a.length == 0 || a.begin > x.dim[a.axis].k || a.length > x.dim[a.axis].k - a.begin) {
    fail(BRIM_INVALID_ARGUMENT, "{} from {} on lies outside of axis {} of {}", a.length, a.begin, a.axis,
         shape_text(x));
  }
  out.dim[a.axis].k = a.length;
  out.offset += uint64_t{a.begin} * x.stride[a.axis].k;
}

void permute(NodeDraft& n) {
  const auto& x = input(n, 0, "x");
  const auto& a = attr_of<brim_permute_attr>(n);
  brim_value_desc& out = begin_view(n, x);
  uint32_t seen = 0;
  for (uint32_t i = 0; i < x.rank; ++i) {
    if (a.axis[i] >= x.rank || (seen >> a.axis[i] & 1u)) fail(BRIM_INVALID_ARGUMENT, "the axes are no permutation");
    seen |= 1u << a.axis[i];
    out.dim[i] = x.dim[a.axis[i]];
    out.stride[i] = x.stride[a.axis[i]];
  }
}

void broadcast(NodeDraft& n) {
  const auto& x = input(n, 0, "x");
  const auto& a = attr_of<brim_shape_attr>(n);
  if (a.rank != x.rank) fail(BRIM_INVALID_ARGUMENT, "{} cannot be stretched to rank {}", shape_text(x), a.rank);
  brim_value_desc& out = begin_view(n, x);
  for (uint32_t i = 0; i < x.rank; ++i) {
    if (x.dim[i] == a.dim[i]) continue;
    if (!(x.dim[i] == fixed(1))) fail(BRIM_INVALID_ARGUMENT, "dimension {} of {} is not 1", i, shape_text(x));
    out.dim[i] = a.dim[i];
    out.stride[i] = fixed(0);
  }
}

// ---- movement ------------------------------------------------------------------------------------------------------

void copy(NodeDraft& n) {
  const auto& x = input(n, 0, "x");
  const uint32_t to = attr_of<brim_copy_attr>(n).dtype;
  if (brim_dtype_block_elements(to) == 0) fail(BRIM_UNSUPPORTED, "dtype {} is not known", to);
  const bool plain = brim_dtype_block_elements(x.dtype) == 1;
  if (!plain && to != BRIM_DTYPE_F32) {
    fail(BRIM_UNSUPPORTED, "{} can be copied to f32 only", brim_dtype_name(x.dtype));
  }
  like(n.out[0], x, to);
}

void concat(NodeDraft& n) {
  const auto& a = input(n, 0, "a");
  const auto& b = input(n, 1, "b");
  const uint32_t axis = attr_of<brim_concat_attr>(n).axis;
  want_dtype(b, a.dtype, "b");
  want_rank(b, a.rank, a.rank, "b");
  if (brim_dtype_block_elements(a.dtype) != 1)
    fail(BRIM_UNSUPPORTED, "{} is stored in blocks", brim_dtype_name(a.dtype));
  if (axis >= a.rank || a.dim[axis].sym != BRIM_SYM_NONE || b.dim[axis].sym != BRIM_SYM_NONE ||
      b.dim[axis].k > UINT32_MAX - a.dim[axis].k) {
    fail(BRIM_INVALID_ARGUMENT, "{} and {} cannot be joined along axis {}", shape_text(a), shape_text(b), axis);
  }
  for (uint32_t i = 0; i < a.rank; ++i) {
    if (i != axis) want_dim(b, i, a.dim[i], "b");
  }
  like(n.out[0], a, a.dtype);
  n.out[0].dim[axis].k += b.dim[axis].k;
  set_contiguous(n.out[0]);
}

void gather_rows(NodeDraft& n) {
  const auto& table = input(n, 0, "table");
  const auto& index = input(n, 1, "index");
  want_rank(table, 2, 2, "table");
  want_dtype(index, BRIM_DTYPE_I32, "index");
  want_rank(index, 1, 1, "index");
  set(n.out[0], BRIM_DTYPE_F32, std::array{index.dim[0], table.dim[1]});
}

void scatter_rows(NodeDraft& n) {
  const auto& into = f32(n, 0, 2, "into");
  const auto& x = f32(n, 1, 2, "x");
  const auto& index = input(n, 2, "index");
  want_rank(into, 2, 2, "into");
  want_rank(x, 2, 2, "x");
  want_dim(x, 1, into.dim[1], "x");
  want_dtype(index, BRIM_DTYPE_I32, "index");
  want_rank(index, 1, 1, "index");
  want_dim(index, 0, x.dim[0], "index");
  want_one_of(attr_of<brim_scatter_attr>(n).mode, BRIM_SCATTER_SET, BRIM_SCATTER_ADD, "mode");
  like(n.out[0], into);
}

// ---- elementwise ---------------------------------------------------------------------------------------------------

void unary(NodeDraft& n) {
  want_one_of(attr_of<brim_unary_attr>(n).kind, BRIM_UNARY_NEG, BRIM_UNARY_FLOOR, "kind");
  like(n.out[0], f32(n, 0, 1, "x"));
}

void binary(NodeDraft& n) {
  const auto& a = f32(n, 0, 1, "a");
  const auto& b = f32(n, 1, 1, "b");
  want_one_of(attr_of<brim_binary_attr>(n).kind, BRIM_BINARY_ADD, BRIM_BINARY_POW, "kind");
  const uint32_t rank = std::max(a.rank, b.rank);
  std::array<brim_dim, BRIM_MAX_RANK> dims;
  for (uint32_t i = 0; i < rank; ++i) {
    const brim_dim da = i < a.rank ? a.dim[a.rank - 1 - i] : fixed(1);
    const brim_dim db = i < b.rank ? b.dim[b.rank - 1 - i] : fixed(1);
    if (!(da == db) && !(da == fixed(1)) && !(db == fixed(1))) {
      fail(BRIM_INVALID_ARGUMENT, "{} and {} do not broadcast", shape_text(a), shape_text(b));
    }
    dims[rank - 1 - i] = da == fixed(1) ? db : da;
  }
  set(n.out[0], BRIM_DTYPE_F32, {dims.data(), rank});
}

void affine(NodeDraft& n) { like(n.out[0], f32(n, 0, 1, "x")); }

void glu(NodeDraft& n) {
  const auto& gate = f32(n, 0, 1, "gate");
  want_one_of(attr_of<brim_glu_attr>(n).kind, BRIM_GLU_SILU, BRIM_GLU_SWIGLU_LIMIT, "kind");
  like(n.out[0], gate);
  if (const auto* up = optional_input(n, 1)) {
    want_dtype(*up, BRIM_DTYPE_F32, "up");
    if (up->rank != gate.rank || !same(gate.dim, up->dim, gate.rank)) {
      fail(BRIM_INVALID_ARGUMENT, "gate {} and up {} differ", shape_text(gate), shape_text(*up));
    }
    return;
  }
  const brim_dim d = innermost(gate);
  if (d.sym != BRIM_SYM_NONE || d.k % 2) {
    fail(BRIM_INVALID_ARGUMENT, "{} has no two halves in its rows", shape_text(gate));
  }
  n.out[0].dim[gate.rank - 1] = fixed(d.k / 2);
  set_contiguous(n.out[0]);
}

// ---- norms and selection -------------------------------------------------------------------------------------------

void softmax(NodeDraft& n) {
  const auto& x = f32(n, 0, 1, "x");
  if (const auto* mask = optional_input(n, 1)) {
    want_dtype(*mask, BRIM_DTYPE_F32, "mask");
    if (mask->rank != x.rank || !same(x.dim, mask->dim, x.rank)) {
      fail(BRIM_INVALID_ARGUMENT, "x {} and mask {} differ", shape_text(x), shape_text(*mask));
    }
  }
  like(n.out[0], x);
}

void rms_norm(NodeDraft& n) {
  const auto& x = f32(n, 0, 1, "x");
  if (const auto* weight = optional_input(n, 1)) {
    want_dtype(*weight, BRIM_DTYPE_F32, "weight");
    want_rank(*weight, 1, 1, "weight");
    want_dim(*weight, 0, innermost(x), "weight");
  }
  if (!(attr_of<brim_norm_attr>(n).eps >= 0)) fail(BRIM_INVALID_ARGUMENT, "eps is negative or no number");
  like(n.out[0], x);
}

void layer_norm(NodeDraft& n) {
  const auto* bias = optional_input(n, 2);
  if (bias) {
    want_dtype(*bias, BRIM_DTYPE_F32, "bias");
    want_rank(*bias, 1, 1, "bias");
    want_dim(*bias, 0, innermost(f32(n, 0, 1, "x")), "bias");
  }
  rms_norm(n);
}

void l2_norm(NodeDraft& n) {
  if (!(attr_of<brim_norm_attr>(n).eps >= 0)) fail(BRIM_INVALID_ARGUMENT, "eps is negative or no number");
  like(n.out[0], f32(n, 0, 1, "x"));
}

void argmax(NodeDraft& n) {
  const auto& x = f32(n, 0, 2, "x");
  want_rank(x, 2, 2, "x");
  set(n.out[0], BRIM_DTYPE_I32, std::array{x.dim[0]});
}

void topk(NodeDraft& n) {
  const auto& x = f32(n, 0, 2, "x");
  want_rank(x, 2, 2, "x");
  const uint32_t k = attr_of<brim_topk_attr>(n).k;
  if (k == 0 || x.dim[1].sym != BRIM_SYM_NONE || k > x.dim[1].k) {
    fail(BRIM_INVALID_ARGUMENT, "the {} largest of {} cannot be taken", k, shape_text(x));
  }
  set(n.out[0], BRIM_DTYPE_F32, std::array{x.dim[0], fixed(k)});
  set(n.out[1], BRIM_DTYPE_I32, std::array{x.dim[0], fixed(k)});
}

// ---- matrix multiply -----------------------------------------------------------------------------------------------

void matmul(NodeDraft& n) {
  const auto& w = input(n, 0, "w");
  const auto& x = f32(n, 1, 1, "x");
  want_rank(w, 2, BRIM_MAX_RANK, "w");
  if (!(innermost(w) == innermost(x))) {
    fail(BRIM_INVALID_ARGUMENT, "w {} and x {} do not share their innermost dimension", shape_text(w), shape_text(x));
  }
  const brim_dim rows = w.dim[w.rank - 2];
  if (n.must & BRIM_MATMUL_BATCHED) {
    want_dtype(w, BRIM_DTYPE_F32, "w");
    if (w.rank != x.rank || w.rank < 3)
      fail(BRIM_INVALID_ARGUMENT, "w {} and x {} differ in rank", shape_text(w), shape_text(x));
    for (uint32_t i = 0; i + 2 < w.rank; ++i) {
      if (!(w.dim[i] == x.dim[i]) && !(w.dim[i] == fixed(1))) want_dim(w, i, x.dim[i], "w");
    }
  } else if (n.must & BRIM_MATMUL_HEADS) {
    want_rank(w, 3, 3, "w");
    want_rank(x, 3, 3, "x");
    want_dim(x, 1, w.dim[0], "x");
    if (optional_input(n, 2)) fail(BRIM_UNSUPPORTED, "a product by heads has no bias");
  } else {
    want_rank(w, 2, 2, "w");
  }
  want_optional(n, 2, BRIM_MATMUL_BIAS, "bias", std::array{rows});
  like(n.out[0], x);
  n.out[0].dim[x.rank - 1] = rows;
  set_contiguous(n.out[0]);
}

void grouped_matmul(NodeDraft& n) {
  const auto& w = input(n, 0, "w");
  const auto& x = f32(n, 1, 2, "x");
  const auto& index = input(n, 2, "index");
  want_rank(w, 3, 3, "w");
  want_rank(x, 2, 3, "x");
  want_dtype(index, BRIM_DTYPE_I32, "index");
  want_rank(index, 2, 2, "index");
  want_dim(index, 0, x.dim[0], "index");
  if (x.rank == 3) want_dim(x, 1, index.dim[1], "x");
  if (!(innermost(w) == innermost(x))) {
    fail(BRIM_INVALID_ARGUMENT, "w {} and x {} do not share their innermost dimension", shape_text(w), shape_text(x));
  }
  want_optional(n, 3, BRIM_GROUPED_MATMUL_BIAS, "bias", std::array{w.dim[0], w.dim[1]});
  set(n.out[0], BRIM_DTYPE_F32, std::array{index.dim[0], index.dim[1], w.dim[1]});
}

// ---- mixture of experts --------------------------------------------------------------------------------------------

void moe_route(NodeDraft& n) {
  const auto& logits = f32(n, 0, 2, "logits");
  want_rank(logits, 2, 2, "logits");
  const brim_dim experts = logits.dim[1];
  const auto& a = attr_of<brim_moe_route_attr>(n);
  want_one_of(a.gate, BRIM_MOE_GATE_SOFTMAX, BRIM_MOE_GATE_SOFTMAX_CHOSEN, "gate");
  want_one_of(a.normalise, 0, 1, "normalise");
  uint32_t choice = experts.k;
  if (n.must & BRIM_MOE_ROUTE_GROUPS) {
    if (a.n_group == 0 || experts.k % a.n_group || a.n_group_used == 0 || a.n_group_used > a.n_group) {
      fail(BRIM_INVALID_ARGUMENT, "{} of {} groups of {} experts cannot be used", a.n_group_used, a.n_group, experts.k);
    }
    choice = experts.k / a.n_group * a.n_group_used;
  }
  if (experts.sym != BRIM_SYM_NONE || a.k == 0 || a.k > choice) {
    fail(BRIM_INVALID_ARGUMENT, "{} of {} experts cannot be chosen from {}", a.k, choice, shape_text(logits));
  }
  want_optional(n, 1, BRIM_MOE_ROUTE_BIAS, "bias", std::array{experts});
  set(n.out[0], BRIM_DTYPE_F32, std::array{logits.dim[0], fixed(a.k)});
  set(n.out[1], BRIM_DTYPE_I32, std::array{logits.dim[0], fixed(a.k)});
}

void moe_combine(NodeDraft& n) {
  const auto& x = f32(n, 0, 3, "x");
  const auto& weight = f32(n, 1, 2, "weight");
  want_rank(x, 3, 3, "x");
  want_rank(weight, 2, 2, "weight");
  want_dim(weight, 0, x.dim[0], "weight");
  want_dim(weight, 1, x.dim[1], "weight");
  set(n.out[0], BRIM_DTYPE_F32, std::array{x.dim[0], x.dim[2]});
}

// ---- position and attention ----------------------------------------------------------------------------------------

void rope(NodeDraft& n) {
  const auto& x = f32(n, 0, 3, "x");
  const auto& position = input(n, 1, "position");
  const auto& a = attr_of<brim_rope_attr>(n);
  want_rank(x, 3, 3, "x");
  want_dtype(position, BRIM_DTYPE_I32, "position");
  want_rank(position, 2, 2, "position");
  want_dim(position, 0, x.dim[0], "position");
  want_one_of(a.pairing, BRIM_ROPE_ADJACENT, BRIM_ROPE_HALVES, "pairing");
  const brim_dim d = innermost(x);
  if (d.sym != BRIM_SYM_NONE || a.n_rot == 0 || a.n_rot % 2 || a.n_rot > d.k) {
    fail(BRIM_INVALID_ARGUMENT, "{} values of a head of {} cannot be rotated", a.n_rot, shape_text(x));
  }
  if (!(a.base > 0)) fail(BRIM_INVALID_ARGUMENT, "the base is not above 0");
  if (const auto* factors = optional_input(n, 2)) {
    n.must |= BRIM_ROPE_FACTORS;
    want_dtype(*factors, BRIM_DTYPE_F32, "factors");
    want_rank(*factors, 1, 1, "factors");
    want_dim(*factors, 0, fixed(a.n_rot / 2), "factors");
  }
  like(n.out[0], x);
}

const brim_value_desc& state_input(const NodeDraft& n, size_t i) {
  const auto& state = input(n, i, "state");
  if (state.kind != BRIM_VALUE_STATE) fail(BRIM_INVALID_ARGUMENT, "input {} is no state", i);
  return state;
}

// Of a KV state, the builder keeps the shape of what it stores per token: dim = [heads, k_width, v_width]; of a latent
// one v_width is 0.
const brim_value_desc& kv_input(const NodeDraft& n, size_t i) {
  const auto& state = state_input(n, i);
  if (state.rank != 3) fail(BRIM_INVALID_ARGUMENT, "the state is recurrent; a KV state was expected");
  return state;
}

void kv_write(NodeDraft& n) {
  const auto& state = kv_input(n, 0);
  const auto& k = f32(n, 1, 3, "k");
  want_rank(k, 3, 3, "k");
  want_dim(k, 1, state.dim[0], "k");
  want_dim(k, 2, state.dim[1], "k");
  if (state.dim[2].k != 0) {
    const auto& v = f32(n, 2, 3, "v");
    want_rank(v, 3, 3, "v");
    want_dim(v, 0, k.dim[0], "v");
    want_dim(v, 1, state.dim[0], "v");
    want_dim(v, 2, state.dim[2], "v");
  } else if (optional_input(n, 2)) {
    fail(BRIM_INVALID_ARGUMENT, "v was given to a latent state, which holds K only");
  }
  n.out[0] = state;
}

void attention(NodeDraft& n) {
  const auto& q = f32(n, 0, 3, "q");
  const auto& state = kv_input(n, 1);
  const auto& a = attr_of<brim_attention_attr>(n);
  want_rank(q, 3, 3, "q");
  want_dim(q, 1, fixed(a.n_head), "q");
  want_dim(q, 2, state.dim[1], "q");
  if (!(state.dim[0] == fixed(a.n_head_kv)) || a.n_head_kv == 0 || a.n_head % a.n_head_kv) {
    fail(BRIM_INVALID_ARGUMENT, "{} heads cannot share {} KV heads of a state with {}", a.n_head, a.n_head_kv,
         state.dim[0].k);
  }
  if ((n.must & BRIM_ATTENTION_SLIDING_WINDOW) && a.window == 0) fail(BRIM_INVALID_ARGUMENT, "the window is 0");
  want_optional(n, 2, BRIM_ATTENTION_SINKS, "sinks", std::array{fixed(a.n_head)});
  brim_dim width = state.dim[2];
  if (n.must & BRIM_ATTENTION_V_FROM_K) {
    if (a.v_width == 0 || a.v_width > state.dim[1].k || width.k != 0) {
      fail(BRIM_INVALID_ARGUMENT, "V cannot be the first {} values of rows of {} in a state with a V of {}", a.v_width,
           state.dim[1].k, width.k);
    }
    width = fixed(a.v_width);
  } else if (width.k == 0) {
    fail(BRIM_INVALID_ARGUMENT, "the state is latent, it has no V; attention over it wants V_FROM_K");
  }
  set(n.out[0], BRIM_DTYPE_F32, std::array{q.dim[0], q.dim[1], width});
}

// ---- recurrent -----------------------------------------------------------------------------------------------------

// Of a conv or recurrent state the builder keeps dim = [elements].
const brim_value_desc& slot_input(const NodeDraft& n, size_t i, uint64_t elements) {
  const auto& state = state_input(n, i);
  if (state.rank != 1 || state.dim[0].k != elements) {
    fail(BRIM_INVALID_ARGUMENT, "the state has the shape {}; expected {} elements of a conv or recurrent state",
         shape_text(state), elements);
  }
  return state;
}

void causal_conv1d(NodeDraft& n) {
  const auto& x = f32(n, 0, 2, "x");
  const auto& weight = f32(n, 2, 2, "weight");
  want_rank(x, 2, 2, "x");
  want_rank(weight, 2, 2, "weight");
  want_dim(weight, 0, x.dim[1], "weight");
  if (weight.dim[1].sym != BRIM_SYM_NONE || weight.dim[1].k == 0) fail(BRIM_INVALID_ARGUMENT, "weight has no taps");
  want_optional(n, 3, BRIM_CONV1D_BIAS, "bias", std::array{x.dim[1]});
  const uint32_t activation = attr_of<brim_conv1d_attr>(n).activation;
  if (activation != 0 && activation != BRIM_UNARY_SILU)
    fail(BRIM_UNSUPPORTED, "activation {} is not known", activation);
  n.out[1] = slot_input(n, 1, uint64_t{weight.dim[1].k - 1} * x.dim[1].k);
  like(n.out[0], x);
}

void linear_attention(NodeDraft& n) {
  const auto& q = f32(n, 0, 3, "q");
  const auto& k = f32(n, 1, 3, "k");
  const auto& v = f32(n, 2, 3, "v");
  want_rank(q, 3, 3, "q");
  want_rank(k, 3, 3, "k");
  want_rank(v, 3, 3, "v");
  for (uint32_t i = 0; i < 3; ++i) want_dim(k, i, q.dim[i], "k");
  want_dim(v, 0, q.dim[0], "v");
  const uint32_t key_heads = q.dim[1].k, heads = v.dim[1].k;
  if (key_heads == 0 || heads % key_heads) {
    fail(BRIM_INVALID_ARGUMENT, "{} value heads cannot share {} key heads", heads, key_heads);
  }
  want_optional(n, 3, BRIM_LINEAR_DECAY, "decay", std::array{v.dim[0], v.dim[1]});
  want_optional(n, 4, BRIM_LINEAR_DELTA, "beta", std::array{v.dim[0], v.dim[1]});
  n.out[1] = slot_input(n, 5, uint64_t{heads} * q.dim[2].k * v.dim[2].k);
  like(n.out[0], v);
}

// ---- the table -----------------------------------------------------------------------------------------------------

struct Rule {
  uint32_t op;
  uint32_t attr_bytes;
  uint32_t min_in, max_in, n_out;
  uint64_t features;  // bits of `must` that have a meaning
  void (*apply)(NodeDraft&);
};

constexpr uint64_t kAttentionBits = BRIM_ATTENTION_CAUSAL | BRIM_ATTENTION_SLIDING_WINDOW | BRIM_ATTENTION_SOFTCAP |
                                    BRIM_ATTENTION_SINKS | BRIM_ATTENTION_V_FROM_K;
constexpr uint64_t kMatmulBits = BRIM_MATMUL_BIAS | BRIM_MATMUL_BATCHED | BRIM_MATMUL_HEADS;
constexpr uint64_t kRouteBits = BRIM_MOE_ROUTE_BIAS | BRIM_MOE_ROUTE_GROUPS;
constexpr uint64_t kLinearBits = BRIM_LINEAR_DECAY | BRIM_LINEAR_DELTA | BRIM_LINEAR_HEADS_MODULO;

constexpr Rule kRules[] = {
    {BRIM_OP_RESHAPE, sizeof(brim_shape_attr), 1, 1, 1, 0, reshape},
    {BRIM_OP_SLICE, sizeof(brim_slice_attr), 1, 1, 1, 0, slice},
    {BRIM_OP_PERMUTE, sizeof(brim_permute_attr), 1, 1, 1, 0, permute},
    {BRIM_OP_BROADCAST, sizeof(brim_shape_attr), 1, 1, 1, 0, broadcast},
    {BRIM_OP_COPY, sizeof(brim_copy_attr), 1, 1, 1, 0, copy},
    {BRIM_OP_CONCAT, sizeof(brim_concat_attr), 2, 2, 1, 0, concat},
    {BRIM_OP_GATHER_ROWS, 0, 2, 2, 1, 0, gather_rows},
    {BRIM_OP_SCATTER_ROWS, sizeof(brim_scatter_attr), 3, 3, 1, 0, scatter_rows},
    {BRIM_OP_UNARY, sizeof(brim_unary_attr), 1, 1, 1, 0, unary},
    {BRIM_OP_BINARY, sizeof(brim_binary_attr), 2, 2, 1, 0, binary},
    {BRIM_OP_AFFINE_CLAMP, sizeof(brim_affine_attr), 1, 1, 1, BRIM_AFFINE_SOFTCAP, affine},
    {BRIM_OP_GLU, sizeof(brim_glu_attr), 1, 2, 1, 0, glu},
    {BRIM_OP_SOFTMAX, sizeof(brim_softmax_attr), 1, 2, 1, 0, softmax},
    {BRIM_OP_RMS_NORM, sizeof(brim_norm_attr), 1, 2, 1, 0, rms_norm},
    {BRIM_OP_LAYER_NORM, sizeof(brim_norm_attr), 1, 3, 1, 0, layer_norm},
    {BRIM_OP_L2_NORM, sizeof(brim_norm_attr), 1, 1, 1, 0, l2_norm},
    {BRIM_OP_ARGMAX, 0, 1, 1, 1, 0, argmax},
    {BRIM_OP_TOPK, sizeof(brim_topk_attr), 1, 1, 2, 0, topk},
    {BRIM_OP_MATMUL, 0, 2, 3, 1, kMatmulBits, matmul},
    {BRIM_OP_GROUPED_MATMUL, 0, 3, 4, 1, BRIM_GROUPED_MATMUL_BIAS, grouped_matmul},
    {BRIM_OP_MOE_ROUTE, sizeof(brim_moe_route_attr), 1, 2, 2, kRouteBits, moe_route},
    {BRIM_OP_MOE_COMBINE, 0, 2, 2, 1, 0, moe_combine},
    {BRIM_OP_ROPE, sizeof(brim_rope_attr), 2, 3, 1, BRIM_ROPE_YARN | BRIM_ROPE_FACTORS, rope},
    {BRIM_OP_KV_WRITE, 0, 2, 3, 1, 0, kv_write},
    {BRIM_OP_ATTENTION, sizeof(brim_attention_attr), 2, 3, 1, kAttentionBits, attention},
    {BRIM_OP_CAUSAL_CONV1D, sizeof(brim_conv1d_attr), 3, 4, 2, BRIM_CONV1D_BIAS, causal_conv1d},
    {BRIM_OP_LINEAR_ATTENTION, sizeof(brim_linear_attention_attr), 6, 6, 2, kLinearBits, linear_attention},
};

const Rule& rule_of(uint32_t op) {
  for (const Rule& rule : kRules) {
    if (rule.op == op) return rule;
  }
  fail(BRIM_UNSUPPORTED, "op {} is not known to this runtime; a newer one may have it", op);
}

}  // namespace

void set_contiguous(brim_value_desc& v) {
  brim_dim stride = fixed(1);
  for (uint32_t i = v.rank; i-- > 0;) {
    v.stride[i] = stride;
    if (i == 0) break;
    if (stride.sym != BRIM_SYM_NONE && v.dim[i].sym != BRIM_SYM_NONE) {
      fail(BRIM_UNSUPPORTED, "{} has two symbolic dimensions inside", shape_text(v));
    }
    const uint64_t k = uint64_t{stride.k} * v.dim[i].k;
    if (k > UINT32_MAX) fail(BRIM_UNSUPPORTED, "{} has rows of more than 2^32 elements", shape_text(v));
    stride = {stride.sym != BRIM_SYM_NONE ? stride.sym : v.dim[i].sym, static_cast<uint32_t>(k)};
  }
}

uint32_t attribute_size(uint32_t op) { return rule_of(op).attr_bytes; }

void infer(NodeDraft& n) {
  const Rule& rule = rule_of(n.op);
  if (n.op_rev != 1) fail(BRIM_UNSUPPORTED, "revision {} is not known; this runtime has 1", n.op_rev);
  if (n.must & ~rule.features) {
    fail(BRIM_UNSUPPORTED, "feature bits {:#x} are not known to this runtime", n.must & ~rule.features);
  }
  if (rule.attr_bytes && !n.attr) fail(BRIM_INVALID_ARGUMENT, "the attributes are missing");
  if (n.in.size() < rule.min_in || n.in.size() > rule.max_in || n.out.size() != rule.n_out) {
    fail(BRIM_INVALID_ARGUMENT, "{} inputs and {} outputs given; expected {} to {} and {}", n.in.size(), n.out.size(),
         rule.min_in, rule.max_in, rule.n_out);
  }
  rule.apply(n);
}

}  // namespace brim::graph
