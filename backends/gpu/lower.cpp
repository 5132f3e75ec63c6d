// From a list of nodes to launches: each node becomes one to three kernels with their arguments, and a note of what
// memory they touch. What depends on the order of launches is in schedule.hpp, not here.
//
// The cosines of ROPE are made once for all nodes with the same attributes. Where the target fuses, a norm or a GLU
// quantises its own result for the products that take it so, and a product adds the value that the next node would.
#include <cmath>

#include "lowering.hpp"

namespace brim_gpu {
namespace {

// Rows x heads up to which attention splits the context over work groups, the least tokens of a split, the most splits.
constexpr uint64_t kMostSplitRows = 512;
constexpr uint32_t kLeastSplit = 128, kMostSplits = 64;

// Pair i's turns per position, factors[i] being 1, in units of 2^-64 of a turn (ops.h, ROPE; the ramp of
// arXiv:2309.00071, section 3.2).
uint64_t turns_of(const brim_rope_attr& attr, bool yarn, uint32_t i) {
  constexpr double kTwoPi = 6.283185307179586476925;
  const double n_rot = attr.n_rot, base = attr.base;
  const double plain = std::pow(base, -2.0 * i / n_rot);
  double frequency = plain * attr.freq_scale;
  if (yarn) {
    const auto turning = [&](double beta) {  // the pair that turns beta times within the original context
      return n_rot * std::log(attr.n_ctx_orig / (beta * kTwoPi)) / (2 * std::log(base));
    };
    const double low = std::clamp(std::floor(turning(attr.beta_fast)), 0.0, n_rot - 1);
    const double high = std::clamp(std::ceil(turning(attr.beta_slow)), 0.0, n_rot - 1);
    const double mix = attr.ext_factor * (1 - std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0));
    frequency = frequency * (1 - mix) + plain * mix;
  }
  const double turns = frequency / kTwoPi, part = turns - std::floor(turns);
  return part >= 1 ? 0 : static_cast<uint64_t>(std::ldexp(part, 64));
}

}  // namespace

void Lowering::run() {
  for (now_ = 0; now_ < info_.n_nodes; ++now_) {
    const uint32_t index = info_.nodes[now_];
    if (index >= info_.graph->n_nodes) {
      fail(BRIM_INVALID_ARGUMENT, "node %u is named; the graph has %u nodes", index, info_.graph->n_nodes);
    }
    const brim_node& node = *brim_graph_node(info_.graph, index);
    if (const Verdict verdict = judge(*info_.graph, node); verdict.why != nullptr) {
      fail(BRIM_UNSUPPORTED, "node %u (op %u, revision %u): %s", index, node.op, node.op_rev, verdict.why);
    }
    if (!is_view_op(node.op) && now_ != fused_) lower_node(node);
  }
  if (live_ && workspace_bound_ < out_.workspace) {
    fail(BRIM_INVALID_ARGUMENT, "the workspace (binding of value 0) has %llu bytes; the program needs %llu",
         static_cast<unsigned long long>(workspace_bound_), static_cast<unsigned long long>(out_.workspace));
  }
}

// ---- elementwise and movement ----

void Lowering::lower_elementwise(const brim_node& node) {
  const Tensor y = values_.tensor(node.out[0]), a = in(node, 0);
  ElementwiseArguments arguments{};
  arguments.result = y.address;
  arguments.a = a.address;
  if (y.rank > kMostRank) fail(BRIM_UNSUPPORTED, "an elementwise op of %u dimensions", y.rank);
  four(y, arguments.dim);
  four_strides(a, y, arguments.a_stride);
  uint32_t kind = 0;
  Tensor b = a;
  switch (node.op) {
    case BRIM_OP_UNARY:
      kind = received<brim_unary_attr>(node.attr).kind;
      break;
    case BRIM_OP_BINARY:
      kind = received<brim_binary_attr>(node.attr).kind;
      b = in(node, 1);
      break;
    case BRIM_OP_GLU: {
      const auto attr = received<brim_glu_attr>(node.attr);
      kind = attr.kind;
      arguments.alpha = attr.alpha;
      arguments.limit = attr.limit;
      if (has_input(node, 1)) {
        b = in(node, 1);
      } else {
        b.address += uint64_t{constant(y.dim[y.rank - 1])} * b.stride[b.rank - 1] * sizeof(float);
      }
      break;
    }
    default: {
      const auto attr = received<brim_affine_attr>(node.attr);
      kind = (node.must & BRIM_AFFINE_SOFTCAP) != 0 ? 1 : 0;
      arguments.scale = attr.scale;
      arguments.bias = attr.bias;
      arguments.lo = attr.lo;
      arguments.hi = attr.hi;
      arguments.cap = attr.cap;
    }
  }
  arguments.b = b.address;
  four_strides(b, y, arguments.b_stride);
  Touches touches = touches_of(node);
  if (node.op == BRIM_OP_GLU) quantise_with(node.out[0], arguments, touches);
  emit_items(Kernel::kElementwise, arguments, touches, elements_of(desc(node.out[0])), {node.op, kind});
}

void Lowering::emit_copy(const Tensor& x, Tensor to, const Touches& touches, uint64_t elements) {
  CopyArguments arguments{};
  arguments.x = x.address;
  arguments.result = to.address;
  four(x, arguments.dim);
  four_strides(x, x, arguments.x_stride);
  four_strides(to, to, arguments.result_stride);
  const uint64_t width = size(x.dim[x.rank - 1]);
  const uint64_t rows = width == 0 ? 0 : elements / width;
  emit_items(Kernel::kCopy, arguments, touches, rows * ((width + 7) / 8), {x.dtype, to.dtype});
}

void Lowering::lower_concat(const brim_node& node) {
  const uint32_t axis = received<brim_concat_attr>(node.attr).axis;
  uint64_t before = 0;
  for (uint32_t i = 0; i < 2; ++i) {
    const Tensor x = in(node, i);
    Tensor to = values_.tensor(node.out[0]);
    to.address += dtype_bytes(to.dtype, before * to.stride[axis]);
    to.dim[axis] = x.dim[axis];
    before += x.dim[axis].k;
    Touches touches{};
    touches.add_read(values_.read_range(node.in[i]));
    // Two halves of one value: they may be written side by side, and each is more than the bytes between its first
    // and last only where the axis is the outermost; the other waits then for nothing it needs.
    touches.add_write(values_.write_range(node.out[0]));
    emit_copy(x, to, touches, elements_of(desc(node.in[i])));
  }
}

void Lowering::lower_gather(const brim_node& node) {
  const brim_value_desc& table = desc(node.in[0]);
  const Tensor index = in(node, 1);
  GatherArguments arguments{};
  arguments.index = index.address;
  arguments.result = result(node);
  arguments.row_bytes = values_.row_bytes(node.in[0]);
  arguments.rows = size_of(index.dim[0]);
  arguments.table_rows = size_of(table.dim[0]);
  arguments.width = constant(table.dim[1]);
  arguments.index_stride = index.stride[0];
  Touches touches = touches_of(node);
  for (const Values::Piece& piece : values_.pieces(node.in[0], target_.memory)) {
    arguments.table = piece.address;
    arguments.first_row = static_cast<uint32_t>(piece.first_row);
    arguments.n_rows = static_cast<uint32_t>(piece.n_rows);
    emit_items(Kernel::kGather, arguments, touches, bound_of(arguments.rows) * ((arguments.width + 7) / 8),
               {table.dtype});
  }
}

void Lowering::lower_scatter(const brim_node& node) {
  const Tensor into = in(node, 0), x = in(node, 1), index = in(node, 2);
  ScatterArguments arguments{};
  arguments.into = into.address;
  arguments.x = x.address;
  arguments.index = index.address;
  arguments.result = result(node);
  arguments.rows = size_of(into.dim[0]);
  arguments.sources = size_of(x.dim[0]);
  arguments.width = constant(into.dim[1]);
  arguments.into_stride = into.stride[0];
  arguments.x_stride = x.stride[0];
  arguments.index_stride = index.stride[0];
  arguments.add = received<brim_scatter_attr>(node.attr).mode == BRIM_SCATTER_ADD;
  emit_items(Kernel::kScatter, arguments, touches_of(node), elements_of(desc(node.out[0])));
}

// ---- rows ----

void Lowering::lower_norm(const brim_node& node) {
  const Tensor x = in(node, 0);
  NormArguments arguments{};
  arguments.x = x.address;
  arguments.result = result(node);
  arguments.width = constant(x.dim[x.rank - 1]);
  const auto outer = [&](const Tensor& t, uint32_t(&stride)[3]) {
    for (uint32_t i = 0; i < 3; ++i) {
      const uint32_t missing = 4 - t.rank;
      stride[i] = i < missing ? 0 : t.stride[i - missing];
    }
  };
  Size dim[4];
  four(x, dim);
  std::copy_n(dim, 3, arguments.dim);
  outer(x, arguments.x_stride);
  if (node.op == BRIM_OP_SOFTMAX) {
    arguments.scale = received<brim_softmax_attr>(node.attr).scale;
    if (has_input(node, 1)) {
      const Tensor mask = in(node, 1);
      arguments.mask = mask.address;
      outer(mask, arguments.mask_stride);
    }
  } else {
    const auto attr = received<brim_norm_attr>(node.attr);
    arguments.eps = attr.eps;
    arguments.weight_offset = attr.weight_offset;
    if (node.op != BRIM_OP_L2_NORM) arguments.weight = address_or_0(node, 1);
    if (node.op == BRIM_OP_LAYER_NORM) arguments.bias = address_or_0(node, 2);
  }
  Touches touches = touches_of(node);
  if (node.op != BRIM_OP_SOFTMAX) quantise_with(node.out[0], arguments, touches);
  emit(Kernel::kNorm, arguments, touches, {bound_of(rows_of(desc(node.in[0]))), 1, 1}, {node.op});
}

void Lowering::lower_select(const brim_node& node) {
  const Tensor x = in(node, 0);
  const bool top = node.op == BRIM_OP_TOPK;
  SelectArguments arguments{};
  arguments.x = x.address;
  arguments.values = top ? result(node, 0) : 0;
  arguments.index = result(node, top ? 1 : 0);
  arguments.rows = size_of(x.dim[0]);
  arguments.width = constant(x.dim[1]);
  arguments.k = top ? received<brim_topk_attr>(node.attr).k : 1;
  arguments.x_stride = x.stride[0];
  emit(Kernel::kSelect, arguments, touches_of(node), {bound_of(arguments.rows), 1, 1});
}

// ---- rope ----

Range Lowering::angles(const brim_node& node, const brim_rope_attr& attr) {
  const brim_value position = node.in[1], factors = has_input(node, 2) ? node.in[2] : 0;
  const auto equal = [&](const brim_rope_attr& a, uint64_t features, brim_value p, brim_value f) {
    return features == node.must && p == position && f == factors && a.n_rot == attr.n_rot && a.base == attr.base &&
           a.freq_scale == attr.freq_scale && a.magnitude == attr.magnitude && a.n_ctx_orig == attr.n_ctx_orig &&
           a.ext_factor == attr.ext_factor && a.beta_fast == attr.beta_fast && a.beta_slow == attr.beta_slow;
  };
  for (const Angles& made : angles_) {
    if (equal(made.attr, made.features, made.position, made.factors)) return made.table;
  }
  const uint64_t last = last_use([&](const brim_node& later) {
    return later.op == BRIM_OP_ROPE && later.n_in >= 2 &&
           equal(received<brim_rope_attr>(later.attr), later.must, later.in[1], has_input(later, 2) ? later.in[2] : 0);
  });
  const Tensor p = in(node, 1);
  RopeAnglesArguments arguments{};
  arguments.position = p.address;
  arguments.factors = address_or_0(node, 2);
  arguments.rows = size_of(p.dim[0]);
  arguments.pairs = attr.n_rot / 2;
  arguments.position_stride = p.stride[0];
  arguments.magnitude = attr.magnitude;
  Array<uint64_t> turns(target_.memory);
  for (uint32_t i = 0; i < arguments.pairs; ++i) {
    turns.push_back(turns_of(attr, (node.must & BRIM_ROPE_YARN) != 0, i));
  }
  arguments.turns = blob_address_ + add_to_blob(turns.data(), turns.size() * sizeof(uint64_t));
  const uint64_t items = bound_of(arguments.rows) * arguments.pairs;
  const Range table = take(items * 2 * sizeof(float), last);
  arguments.table = table.begin;
  Touches touches{};
  touches.add_read(values_.read_range(position));
  if (factors != 0) touches.add_read(values_.read_range(factors));
  touches.add_write(table);
  emit_items(Kernel::kRopeAngles, arguments, touches, items);
  angles_.push_back({attr, node.must, position, factors, table});
  return table;
}

void Lowering::lower_rope(const brim_node& node) {
  const auto attr = received<brim_rope_attr>(node.attr);
  const Tensor x = in(node, 0);
  const Range table = angles(node, attr);
  RopeArguments arguments{};
  arguments.x = x.address;
  arguments.table = table.begin;
  arguments.result = result(node);
  arguments.rows = size_of(x.dim[0]);
  arguments.heads = constant(x.dim[1]);
  arguments.width = constant(x.dim[2]);
  arguments.n_rot = attr.n_rot;
  arguments.halves = attr.pairing == BRIM_ROPE_HALVES;
  arguments.x_row = x.stride[0];
  arguments.x_head = x.stride[1];
  Touches touches = touches_of(node);
  touches.add_read(table);
  emit_items(Kernel::kRope, arguments, touches,
             bound_of(arguments.rows) * arguments.heads * (arguments.width - attr.n_rot / 2));
}

// ---- states ----

brim_program_state Lowering::storage_of(brim_value value, brim_state_desc* state) const {
  uint32_t index = desc(value).role;
  if (index >= info_.n_state_descs) {
    fail(BRIM_INVALID_ARGUMENT, "value %u names state %u; there are %u", value, index, info_.n_state_descs);
  }
  *state = element<brim_state_desc>(info_.state_descs, info_.state_desc_stride, index);
  // A state that shares another's storage may be given under either number.
  for (;;) {
    for (uint32_t i = 0; i < info_.n_states; ++i) {
      const auto given = element<brim_program_state>(info_.states, info_.state_stride, i);
      if (given.state == index) return given;
    }
    const uint32_t shares = element<brim_state_desc>(info_.state_descs, info_.state_desc_stride, index).shares_with;
    if (shares == 0 || shares > index) {
      fail(BRIM_INVALID_ARGUMENT, "state %u has no storage among the program's %u states", index, info_.n_states);
    }
    index = shares - 1;
  }
}

uint32_t Lowering::step_array(uint64_t offset, uint64_t count, const char* name) const {
  const uint64_t bytes = info_.step->bytes;
  if (offset == 0 || offset % 4 != 0 || offset > bytes || count > (bytes - offset) / 4 || bytes > UINT32_MAX) {
    fail(BRIM_INVALID_ARGUMENT, "the step block of %llu bytes has no room for %s (%llu values at %llu)",
         static_cast<unsigned long long>(bytes), name, static_cast<unsigned long long>(count),
         static_cast<unsigned long long>(offset));
  }
  return static_cast<uint32_t>(offset);
}

// Where the state's bytes lie.
uint64_t Lowering::bytes_of(const brim_program_state& state, const StateLayout& layout, Range* all) const {
  if (state.layout_id != layout.id) {
    fail(BRIM_INVALID_ARGUMENT, "state %u is stored in layout %llu; this backend's is %llu", state.state,
         static_cast<unsigned long long>(state.layout_id), static_cast<unsigned long long>(layout.id));
  }
  uint64_t bytes = 0, address = state.offset;
  if (__builtin_mul_overflow(layout.block_bytes, uint64_t{state.n_blocks}, &bytes)) {
    fail(BRIM_INVALID_ARGUMENT, "%u blocks of state %u overflow", state.n_blocks, state.state);
  }
  if (live_) {
    check_range(state.buffer, state.offset, bytes, "a state's blocks");
    const BufferFacts facts = facts_of(state.buffer);
    if (facts.read_only) fail(BRIM_INVALID_ARGUMENT, "state %u lies in a read-only buffer", state.state);
    address += facts.address;
  }
  *all = {address, address + bytes};
  return address;
}

KvStore Lowering::kv_of(brim_value value, uint32_t* dtype, Range* all) const {
  brim_state_desc state{};
  const brim_program_state found = storage_of(value, &state);
  const StateLayout layout = state_layout(state, found.dtype);
  if (layout.slots || found.group >= info_.step->n_groups) {
    fail(BRIM_INVALID_ARGUMENT, "state %u is of KV group %u; the step block has %u groups", found.state, found.group,
         info_.step->n_groups);
  }
  const auto group = element<brim_group_layout>(info_.step->groups, info_.step->group_stride, found.group);
  if (group.block_tokens != kBlockTokens) {
    fail(BRIM_INVALID_ARGUMENT, "a KV group has blocks of %u tokens; this backend's have %u", group.block_tokens,
         kBlockTokens);
  }
  const uint64_t tokens = info_.bucket->n_tokens, seqs = info_.bucket->n_seqs;
  KvStore store{};
  store.blocks = bytes_of(found, layout, all);
  store.block_bytes = layout.block_bytes;
  store.head_bytes = layout.head_bytes;
  store.k_scales = layout.k_scales;
  store.v = layout.v;
  store.v_scales = layout.v_scales;
  store.n_head = layout.n_head;
  store.k_width = layout.k_width;
  store.v_width = layout.v_width;
  store.n_blocks = found.n_blocks;
  store.kv_slot = step_array(group.kv_slot, tokens, "kv_slot");
  store.kv_len = step_array(group.kv_len, seqs, "kv_len");
  store.block_table = step_array(group.block_table, seqs * group.max_blocks, "block_table");
  store.kv_first = group.kv_first == 0 ? 0 : step_array(group.kv_first, seqs, "kv_first");
  store.max_blocks = group.max_blocks;
  store.sequence = step_array(info_.step->sequence, tokens, "sequence");
  store.q_begin = step_array(info_.step->q_begin, seqs + 1, "q_begin");
  *dtype = layout.dtype;
  return store;
}

void Lowering::lower_kv_write(const brim_node& node) {
  uint32_t dtype = 0;
  Range all{};
  KvWriteArguments arguments{};
  arguments.store = kv_of(node.in[0], &dtype, &all);
  const KvStore& store = arguments.store;
  const Tensor k = in(node, 1);
  const auto check_heads = [&](const Tensor& t, uint32_t width, const char* name) {
    if (size(t.dim[1]) == store.n_head && size(t.dim[2]) == width) return;
    fail(BRIM_INVALID_ARGUMENT, "KV_WRITE: %s has %llu heads of width %llu; the state has %u of %u", name,
         static_cast<unsigned long long>(size(t.dim[1])), static_cast<unsigned long long>(size(t.dim[2])), store.n_head,
         width);
  };
  check_heads(k, store.k_width, "K");
  arguments.k = k.address;
  arguments.k_row = k.stride[0];
  arguments.k_head = k.stride[1];
  if (has_input(node, 2) != (store.v_width != 0)) {
    fail(BRIM_INVALID_ARGUMENT, "KV_WRITE: V is given to a latent state, or missing from another");
  }
  if (has_input(node, 2)) {
    const Tensor v = in(node, 2);
    check_heads(v, store.v_width, "V");
    arguments.v = v.address;
    arguments.v_row = v.stride[0];
    arguments.v_head = v.stride[1];
  }
  Touches touches = touches_of(node);
  touches.add_write(all);
  const uint64_t runs = (store.k_width + kScaleRun - 1) / kScaleRun + (store.v_width + kScaleRun - 1) / kScaleRun;
  emit_items(Kernel::kKvWrite, arguments, touches, uint64_t{info_.bucket->n_tokens} * store.n_head * runs, {dtype});
}

void Lowering::lower_attention(const brim_node& node) {
  const auto attr = received<brim_attention_attr>(node.attr);
  uint32_t dtype = 0;
  Range all{};
  AttentionArguments arguments{};
  arguments.store = kv_of(node.in[1], &dtype, &all);
  const KvStore& store = arguments.store;
  const Tensor q = in(node, 0);
  const brim_value_desc& y = desc(node.out[0]);
  const bool latent = (node.must & BRIM_ATTENTION_V_FROM_K) != 0;
  if (latent != (store.v_width == 0)) {
    fail(BRIM_INVALID_ARGUMENT, "ATTENTION: V_FROM_K goes with latent states, and only with them");
  }
  arguments.v_width = latent ? attr.v_width : store.v_width;
  if (attr.n_head_kv != store.n_head || size(q.dim[1]) != attr.n_head || size(q.dim[2]) != store.k_width ||
      size(y.dim[2]) != arguments.v_width || (latent && arguments.v_width > store.k_width)) {
    fail(BRIM_INVALID_ARGUMENT, "ATTENTION over %u KV heads of widths %llu and %llu; the state has %u of %u and %u",
         attr.n_head_kv, static_cast<unsigned long long>(size(q.dim[2])),
         static_cast<unsigned long long>(size(y.dim[2])), store.n_head, store.k_width, arguments.v_width);
  }
  arguments.q = q.address;
  arguments.q_row = q.stride[0];
  arguments.q_head = q.stride[1];
  arguments.sinks = address_or_0(node, 2);
  arguments.result = result(node);
  arguments.n_head = attr.n_head;
  arguments.window = (node.must & BRIM_ATTENTION_SLIDING_WINDOW) != 0 ? attr.window : 0;
  arguments.causal = (node.must & BRIM_ATTENTION_CAUSAL) != 0;
  arguments.latent = latent;
  arguments.scale = attr.scale;
  arguments.softcap = (node.must & BRIM_ATTENTION_SOFTCAP) != 0 ? attr.softcap : 0;
  const uint32_t threads = threads_of(Kernel::kAttention);
  const uint32_t values = (arguments.v_width + threads - 1) / threads;
  const uint64_t tokens = info_.bucket->n_tokens, n_kv = info_.bucket->n_kv;
  Touches attending = touches_of(node);
  attending.add_read(all);
  if (tokens * attr.n_head > kMostSplitRows || n_kv <= kLeastSplit) {
    // Several rows of a sequence share what they read of K and V; wide heads leave no room for that.
    const uint32_t rows = tokens >= 4 && store.k_width <= 256 ? 4 : 1;
    // By matrix units: 64 rows of a KV head's query heads at once, in one of these widths.
    const uint32_t widest = std::max(store.k_width, store.v_width);
    if (info_.numerics == BRIM_NUMERICS_FAST && target_.matrix_units && rows > 1 && dtype != BRIM_DTYPE_F32 &&
        !latent && store.k_width % 16 == 0 && store.v_width % 16 == 0 && widest <= 256) {
      const uint32_t width = widest <= 64 ? 64 : widest <= 96 ? 96 : widest <= 128 ? 128 : widest <= 192 ? 192 : 256;
      const uint64_t blocks = tokens * (attr.n_head / store.n_head) / 64 + info_.bucket->n_seqs;
      emit_whole(Kernel::kAttentionMma, arguments, attending, {store.n_head, blocks, 1}, {dtype, width});
      return;
    }
    const uint64_t tiles = rows == 1 ? tokens : tokens / rows + info_.bucket->n_seqs;
    emit_attention(arguments, attending, {attr.n_head, tiles, 1}, {dtype, rows, store.k_width, values});
    return;
  }
  arguments.split = std::max<uint32_t>(kLeastSplit, static_cast<uint32_t>((n_kv + kMostSplits - 1) / kMostSplits));
  arguments.split = (arguments.split + threads - 1) / threads * threads;
  arguments.n_splits = static_cast<uint32_t>((n_kv + arguments.split - 1) / arguments.split);
  const uint64_t bytes = tokens * attr.n_head * arguments.n_splits * (2ull + arguments.v_width) * sizeof(float);
  const Range partial = take(bytes, now_);
  arguments.partial = partial.begin;
  Touches splitting{};
  splitting.add_read(values_.read_range(node.in[0]));
  splitting.add_read(all);
  splitting.add_write(partial);
  emit_attention(arguments, splitting, {attr.n_head, tokens, arguments.n_splits}, {dtype, 1, store.k_width, values});
  Touches joining{};
  joining.add_read(partial);
  if (has_input(node, 2)) joining.add_read(values_.read_range(node.in[2]));
  joining.add_write(values_.write_range(node.out[0]));
  emit_whole(Kernel::kAttentionJoin, arguments, joining, {attr.n_head, tokens, 1});
}
void Lowering::emit_attention(const AttentionArguments& arguments, const Touches& touches, Grid grid,
                              std::initializer_list<uint32_t> constants) {
  emit_whole(Kernel::kAttention, arguments, touches, grid, constants);
}

SlotStore Lowering::slots_of(brim_value value, uint64_t elements, Range* all) const {
  brim_state_desc state{};
  const brim_program_state found = storage_of(value, &state);
  const StateLayout layout = state_layout(state, found.dtype);
  if (!layout.slots || state.elements != elements) {
    fail(BRIM_INVALID_ARGUMENT, "state %u is of kind %u with %llu values; the op steps %llu", found.state, state.kind,
         static_cast<unsigned long long>(state.elements), static_cast<unsigned long long>(elements));
  }
  const uint64_t seqs = info_.bucket->n_seqs;
  SlotStore store{};
  store.slots = bytes_of(found, layout, all);
  store.slot_bytes = layout.block_bytes;
  store.n_slots = found.n_blocks;
  store.state_read = step_array(info_.step->state_read, seqs, "state_read");
  store.state_write = step_array(info_.step->state_write, seqs, "state_write");
  store.q_begin = step_array(info_.step->q_begin, seqs + 1, "q_begin");
  store.sequence = step_array(info_.step->sequence, info_.bucket->n_tokens, "sequence");
  return store;
}

void Lowering::lower_conv(const brim_node& node) {
  const Tensor x = in(node, 0), weight = in(node, 2);
  ConvArguments arguments{};
  arguments.channels = constant(weight.dim[0]);
  arguments.taps = constant(weight.dim[1]);
  if (arguments.taps == 0) fail(BRIM_UNSUPPORTED, "CAUSAL_CONV1D without taps");
  Range all{};
  const uint64_t held = uint64_t{arguments.taps} - 1;
  arguments.store = slots_of(node.in[1], held * arguments.channels, &all);
  arguments.x = x.address;
  arguments.x_row = x.stride[0];
  arguments.weight = weight.address;
  arguments.weight_row = weight.stride[0];
  arguments.bias = address_or_0(node, 3);
  arguments.result = result(node);
  arguments.silu = received<brim_conv1d_attr>(node.attr).activation == BRIM_UNARY_SILU;
  Touches touches = touches_of(node);
  touches.add_write(all);
  emit_items(Kernel::kConv, arguments, touches,
             (info_.bucket->n_tokens + info_.bucket->n_seqs * held) * arguments.channels);
}

void Lowering::lower_linear_attention(const brim_node& node) {
  const Tensor q = in(node, 0), k = in(node, 1), v = in(node, 2);
  LinearAttentionArguments arguments{};
  arguments.key_heads = constant(q.dim[1]);
  arguments.d_k = constant(q.dim[2]);
  arguments.heads = constant(v.dim[1]);
  arguments.d_v = constant(v.dim[2]);
  arguments.q = q.address;
  arguments.q_row = q.stride[0];
  arguments.q_head = q.stride[1];
  arguments.k = k.address;
  arguments.k_row = k.stride[0];
  arguments.k_head = k.stride[1];
  arguments.v = v.address;
  arguments.v_row = v.stride[0];
  arguments.v_head = v.stride[1];
  if (has_input(node, 3)) {
    const Tensor decay = in(node, 3);
    arguments.decay = decay.address;
    arguments.decay_row = decay.stride[0];
    arguments.decay_head = decay.stride[1];
  }
  if (has_input(node, 4)) {
    const Tensor beta = in(node, 4);
    arguments.beta = beta.address;
    arguments.beta_row = beta.stride[0];
    arguments.beta_head = beta.stride[1];
  }
  arguments.result = result(node);
  arguments.modulo = (node.must & BRIM_LINEAR_HEADS_MODULO) != 0;
  arguments.scale = received<brim_linear_attention_attr>(node.attr).scale;
  Range all{};
  arguments.store = slots_of(node.in[5], uint64_t{arguments.heads} * arguments.d_k * arguments.d_v, &all);
  Touches touches = touches_of(node);
  touches.add_write(all);
  const uint32_t threads = threads_of(Kernel::kLinearAttention);
  emit_whole(Kernel::kLinearAttention, arguments, touches,
             {(arguments.d_v + threads - 1) / threads, arguments.heads, info_.bucket->n_seqs}, {arguments.d_k});
}

// ---- mixtures ----

void Lowering::lower_route(const brim_node& node) {
  const auto attr = received<brim_moe_route_attr>(node.attr);
  const bool groups = (node.must & BRIM_MOE_ROUTE_GROUPS) != 0;
  const Tensor logits = in(node, 0);
  RouteArguments arguments{};
  arguments.logits = logits.address;
  arguments.bias = address_or_0(node, 1);
  arguments.weight = result(node, 0);
  arguments.index = result(node, 1);
  arguments.rows = size_of(logits.dim[0]);
  arguments.row_stride = logits.stride[0];
  arguments.experts = constant(logits.dim[1]);
  arguments.k = attr.k;
  arguments.gate = attr.gate;
  arguments.n_group = groups ? attr.n_group : 1;
  arguments.n_group_used = groups ? attr.n_group_used : 1;
  arguments.normalise = attr.normalise;
  arguments.scale = attr.scale;
  emit(Kernel::kRoute, arguments, touches_of(node), {bound_of(arguments.rows), 1, 1});
}

void Lowering::lower_combine(const brim_node& node) {
  const Tensor x = in(node, 0), weight = in(node, 1);
  CombineArguments arguments{};
  arguments.x = x.address;
  arguments.weight = weight.address;
  arguments.result = result(node);
  arguments.rows = size_of(x.dim[0]);
  arguments.k = constant(x.dim[1]);
  arguments.width = constant(x.dim[2]);
  arguments.x_row = x.stride[0];
  arguments.x_choice = x.stride[1];
  arguments.weight_row = weight.stride[0];
  arguments.weight_choice = weight.stride[1];
  emit_items(Kernel::kCombine, arguments, touches_of(node), elements_of(desc(node.out[0])));
}

void Lowering::lower_node(const brim_node& node) {
  switch (node.op) {
    case BRIM_OP_COPY:
      return emit_copy(in(node, 0), values_.tensor(node.out[0]), touches_of(node), elements_of(desc(node.out[0])));
    case BRIM_OP_CONCAT:
      return lower_concat(node);
    case BRIM_OP_GATHER_ROWS:
      return lower_gather(node);
    case BRIM_OP_SCATTER_ROWS:
      return lower_scatter(node);
    case BRIM_OP_UNARY:
    case BRIM_OP_BINARY:
    case BRIM_OP_AFFINE_CLAMP:
    case BRIM_OP_GLU:
      return lower_elementwise(node);
    case BRIM_OP_SOFTMAX:
    case BRIM_OP_RMS_NORM:
    case BRIM_OP_LAYER_NORM:
    case BRIM_OP_L2_NORM:
      return lower_norm(node);
    case BRIM_OP_ARGMAX:
    case BRIM_OP_TOPK:
      return lower_select(node);
    case BRIM_OP_MATMUL:
      return (node.must & BRIM_MATMUL_BATCHED) != 0 ? lower_batched(node) : lower_product(node);
    case BRIM_OP_GROUPED_MATMUL:
      return lower_product(node);
    case BRIM_OP_MOE_ROUTE:
      return lower_route(node);
    case BRIM_OP_MOE_COMBINE:
      return lower_combine(node);
    case BRIM_OP_ROPE:
      return lower_rope(node);
    case BRIM_OP_KV_WRITE:
      return lower_kv_write(node);
    case BRIM_OP_ATTENTION:
      return lower_attention(node);
    case BRIM_OP_CAUSAL_CONV1D:
      return lower_conv(node);
    default:
      return lower_linear_attention(node);
  }
}

void lower(const Target& target, const brim_program_info& info, bool live, uint64_t blob_address, Lowered& out) {
  Lowering(target, info, live, blob_address, out).run();
}

}  // namespace brim_gpu
