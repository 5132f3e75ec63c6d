// From a list of nodes to a program: each node becomes one to three steps over resolved tensors; steps are then put
// into phases (schedule.hpp).
//
// What several nodes need is made once: an activation prepared for a matmul kernel is shared by every matmul that takes
// the same value in the same layout, and a table of rope angles by every layer with the same attributes. Steps that
// work row by row are chained (chain.cpp); what lies between two large products is done by the last to finish the first
// of them where it is little (run.cpp), which costs no meeting of the team. Values keep the storage that the host
// planned.
#include <cstddef>

#include "matmul/matmul.hpp"
#include "ops/binary.hpp"
#include "ops/copy.hpp"
#include "ops/moe.hpp"
#include "ops/norm.hpp"
#include "ops/product.hpp"
#include "ops/recurrent.hpp"
#include "ops/rope.hpp"
#include "ops/select.hpp"
#include "program/check.hpp"
#include "program/program.hpp"
#include "program/values.hpp"
#include "program/workspace.hpp"
#include "state/slots.hpp"

namespace brim_cpu {
namespace {

// Rows x heads up to which a decode step's attention may be split over the context; bounds the partial results.
constexpr uint64_t kMostSplit = 512;

class Compiler {
 public:
  Compiler(brim_device* device, const brim_program_info& info, bool live, brim_program& program, Memory& scratch)
      : device_(device),
        info_(info),
        live_(live),
        program_(program),
        arena_(program.arena),
        values_(info, live, scratch),
        steps_(HostAllocator<PlannedStep>(scratch)),
        workspace_(scratch),
        prepared_(HostAllocator<Prepared>(scratch)),
        angles_(HostAllocator<Angles>(scratch)) {
    uint64_t bytes = 0;
    workspace_base_ = values_.workspace(&bytes);
    workspace_bound_ = bytes;
  }

  void compile() {
    for (now_ = 0; now_ < info_.n_nodes; ++now_) {
      const uint32_t index = info_.nodes[now_];
      if (index >= info_.graph->n_nodes) {
        fail(BRIM_INVALID_ARGUMENT, "node %u is named; the graph has %u nodes", index, info_.graph->n_nodes);
      }
      const brim_node& node = *brim_graph_node(info_.graph, index);
      const Verdict verdict = judge(*info_.graph, node, info_.numerics);
      if (verdict.level != BRIM_SUPPORT_YES) {
        fail(BRIM_UNSUPPORTED, "node %u (op %u, revision %u): %s", index, node.op, node.op_rev, verdict.why);
      }
      lower(node);
    }
    finish();
  }

 private:
  struct Prepared {
    brim_value value;
    Activation activation;
    std::byte* data;
  };
  struct Angles {
    brim_rope_attr attr;
    uint64_t features;
    brim_value position, factors;
    float* table;
  };

  // ---- small helpers ----

  Tensor in(const brim_node& node, uint32_t i) const { return values_.tensor(node.in[i]); }
  Tensor out(const brim_node& node, uint32_t i = 0) const { return values_.tensor(node.out[i]); }
  static bool has(const brim_node& node, uint32_t i) { return i < node.n_in && node.in[i] != 0; }
  const float* weight_or_null(const brim_node& node, uint32_t i) const {
    return has(node, i) ? reinterpret_cast<const float*>(in(node, i).data) : nullptr;
  }

  std::byte* take(uint64_t bytes, uint64_t last) {
    return reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(workspace_base_) +
                                        workspace_.take(bytes, now_, last));
  }
  static Range range(const void* at, uint64_t bytes) {
    const auto begin = reinterpret_cast<uintptr_t>(at);
    return {begin, begin + bytes};
  }

  // What a node's values touch: all tensors in, all tensors out.
  Touches touches_of(const brim_node& node) const {
    Touches touches{};
    for (uint32_t i = 0; i < node.n_in; ++i) {
      if (node.in[i] != 0 && !is_state(node.in[i])) values_.add_reads(touches, node.in[i]);
    }
    for (uint32_t i = 0; i < node.n_out; ++i) {
      if (node.out[i] != 0 && !is_state(node.out[i])) values_.add_write(touches, node.out[i]);
    }
    return touches;
  }
  bool is_state(brim_value value) const { return values_.desc(value).kind == BRIM_VALUE_STATE; }

  template <class Args>
  const Args* emit(const Args& args, const Touches& touches) {
    const Args* kept = arena_.copy(args);
    PlannedStep step{};
    step.step = step_of(kept);
    step.touches = touches;
    step.chained = 1;
    steps_.push_back(step);
    return kept;
  }

  // A step that makes row r of a node's output from the rows r of its inputs, in their order.
  template <class Args>
  void emit_rows(const brim_node& node, const Args& args, std::initializer_list<Tensor Args::*> in, Tensor Args::*out) {
    const Args* kept = emit(args, Touches{});
    PlannedStep& step = steps_.back();
    step.rows = &(kept->*out);
    uint32_t i = 0;
    for (Tensor Args::*tensor : in) {
      if (has(node, i)) step.add({&(kept->*tensor), read_range(node.in[i]), false});
      ++i;
    }
    step.add({step.rows, write_range(node.out[0]), true});
  }
  Range read_range(brim_value value) const {
    Touches touches{};
    values_.add_reads(touches, value);
    return touches.n_read == 0 ? Range{} : touches.read[0];
  }
  Range write_range(brim_value value) const {
    Touches touches{};
    values_.add_write(touches, value);
    return touches.n_written == 0 ? Range{} : touches.written[0];
  }

  // The last node from now on for which `uses` holds.
  template <class F>
  uint64_t last_use(F&& uses) const {
    uint64_t last = now_;
    for (uint64_t i = now_ + 1; i < info_.n_nodes; ++i) {
      if (info_.nodes[i] < info_.graph->n_nodes && uses(*brim_graph_node(info_.graph, info_.nodes[i]))) last = i;
    }
    return last;
  }

  // ---- matrix products ----

  const MatmulKernel* kernel_of(const brim_node& node) const {
    const bool product =
        (node.op == BRIM_OP_MATMUL && (node.must & BRIM_MATMUL_BATCHED) == 0) || node.op == BRIM_OP_GROUPED_MATMUL;
    if (!product || node.n_in < 2) return nullptr;
    const brim_value_desc& w = values_.desc(node.in[0]);
    return find_matmul(w.dtype, info_.numerics, static_cast<int64_t>(w.dim[w.rank - 1].k));
  }

  Multiply multiply_of(const brim_node& node, const MatmulKernel& kernel) const {
    return values_.packed(node.in[0]) ? kernel.multiply_packed : kernel.multiply;
  }

  // Prepared rows of input 1 of a product, made by the first that needs them.
  std::byte* prepared(const brim_node& node, const MatmulKernel& kernel, uint64_t* stride, uint64_t* bytes) {
    const brim_value value = node.in[1];
    const brim_value_desc& v = values_.desc(value);
    const uint64_t k = values_.size(v.dim[v.rank - 1]);
    uint64_t rows = 1;
    for (uint32_t i = 0; i + 1 < v.rank; ++i) rows *= values_.size(v.dim[i]);
    *stride = kernel.activation_bytes(static_cast<int64_t>(k));
    if (__builtin_mul_overflow(*stride, rows, bytes)) {
      fail(BRIM_INVALID_ARGUMENT, "the prepared rows of value %u overflow 64 bits", value);
    }
    for (const Prepared& p : prepared_) {
      if (p.value == value && p.activation == kernel.activation) return p.data;
    }
    const uint64_t last = last_use([&](const brim_node& later) {
      const MatmulKernel* other = kernel_of(later);
      return other != nullptr && later.in[1] == value && other->activation == kernel.activation;
    });
    PrepareArgs args{};
    args.x = in(node, 1);
    collapse(values_, {&args.x}, 1);
    args.kernel = &kernel;
    args.stride = *stride;
    args.prepared = take(*bytes, last);
    const PrepareArgs* kept = emit(args, Touches{});
    PlannedStep& step = steps_.back();
    step.rows = &kept->x;
    step.add({&kept->x, read_range(value), false});
    step.add({nullptr, range(args.prepared, *bytes), true});
    prepared_.push_back({value, kernel.activation, args.prepared});
    return args.prepared;
  }

  void lower_matmul(const brim_node& node) {
    const MatmulKernel& kernel = *kernel_of(node);
    uint64_t bytes = 0;
    MatmulArgs args{};
    args.multiply = multiply_of(node, kernel);
    args.prepared = prepared(node, kernel, &args.stride, &bytes);
    args.pieces = values_.pieces(node.in[0], arena_, &args.n_pieces);
    args.row_bytes = values_.row_bytes(node.in[0]);
    const brim_value_desc& w = values_.desc(node.in[0]);
    args.n = w.dim[0].k;
    args.k = w.dim[1].k;
    args.bias = weight_or_null(node, 2);
    args.out = out(node);
    Touches touches{};
    if (w.kind != BRIM_VALUE_WEIGHT && args.n_pieces == 1) values_.add_reads(touches, node.in[0]);
    if (has(node, 2)) values_.add_reads(touches, node.in[2]);
    touches.add_read(range(args.prepared, bytes));
    values_.add_write(touches, node.out[0]);
    emit(args, touches);
  }

  void lower_heads(const brim_node& node) {
    const MatmulKernel& kernel = *kernel_of(node);
    uint64_t bytes = 0;
    HeadsArgs args{};
    args.multiply = multiply_of(node, kernel);
    args.prepared = prepared(node, kernel, &args.stride, &bytes);
    args.pieces = values_.pieces(node.in[0], arena_, &args.n_pieces);
    args.row_bytes = values_.row_bytes(node.in[0]);
    const brim_value_desc& w = values_.desc(node.in[0]);
    args.heads = w.dim[0].k;
    args.n = w.dim[1].k;
    args.k = w.dim[2].k;
    args.out = out(node);
    Touches touches{};
    if (w.kind != BRIM_VALUE_WEIGHT && args.n_pieces == 1) values_.add_reads(touches, node.in[0]);
    touches.add_read(range(args.prepared, bytes));
    values_.add_write(touches, node.out[0]);
    emit(args, touches);
  }

  void lower_batched(const brim_node& node) {
    BatchedArgs args{in(node, 0), in(node, 1), out(node)};
    for (uint32_t i = 0; i + 2 < args.w.rank; ++i) {
      if (args.w.dim[i].sym == BRIM_SYM_NONE && args.w.dim[i].k == 1) {
        args.w.dim[i] = args.x.dim[i];
        args.w.stride[i] = 0;
      }
    }
    emit(args, touches_of(node));
  }

  void lower_grouped(const brim_node& node) {
    const MatmulKernel& kernel = *kernel_of(node);
    const brim_value_desc &w = values_.desc(node.in[0]), &x = values_.desc(node.in[1]);
    uint64_t stride = 0, prepared_bytes = 0;
    std::byte* rows = prepared(node, kernel, &stride, &prepared_bytes);

    Grouping grouping{};
    grouping.experts = w.dim[0].k;
    grouping.index = in(node, 2);
    grouping.per_row = grouping.index.dim[1].k;
    grouping.stride = stride;
    const uint64_t pairs = values_.size(grouping.index.dim[0]) * grouping.per_row;
    if (pairs > INT32_MAX) fail(BRIM_UNSUPPORTED, "GROUPED_MATMUL: more than 2^31 pairs of rows and experts");
    const uint64_t first_bytes = (grouping.experts + 1ull) * sizeof(int32_t), order_bytes = pairs * sizeof(int32_t);
    grouping.first = reinterpret_cast<int32_t*>(take(first_bytes, now_));
    grouping.order = reinterpret_cast<int32_t*>(take(order_bytes, now_));
    grouping.activation = take(pairs * stride, now_);
    const Range first = range(grouping.first, first_bytes), order = range(grouping.order, order_bytes);
    const Range activation = range(grouping.activation, pairs * stride);

    Touches group{};
    values_.add_reads(group, node.in[2]);
    group.add_write(first);
    group.add_write(order);
    emit(GroupArgs{grouping}, group);

    SpreadArgs spread{};
    spread.to = grouping;
    spread.prepared = rows;
    spread.row_per_pair = x.rank == 3;
    spread.out = out(node).at<float>(Frame{});
    spread.n = w.dim[1].k;
    Touches spreading{};
    values_.add_reads(spreading, node.in[2]);
    spreading.add_read(first);
    spreading.add_read(order);
    spreading.add_read(range(rows, prepared_bytes));
    spreading.add_write(activation);
    values_.add_write(spreading, node.out[0]);
    emit(spread, spreading);

    GroupedArgs args{};
    args.from = grouping;
    args.multiply = multiply_of(node, kernel);
    args.pieces = values_.pieces(node.in[0], arena_, &args.n_pieces);
    args.row_bytes = values_.row_bytes(node.in[0]);
    args.n = w.dim[1].k;
    args.k = w.dim[2].k;
    args.bias = weight_or_null(node, 3);
    args.out = spread.out;
    Touches multiplying{};
    if (w.kind != BRIM_VALUE_WEIGHT && args.n_pieces == 1) values_.add_reads(multiplying, node.in[0]);
    if (has(node, 3)) values_.add_reads(multiplying, node.in[3]);
    multiplying.add_read(first);
    multiplying.add_read(order);
    multiplying.add_read(activation);
    values_.add_write(multiplying, node.out[0]);
    emit(args, multiplying);
  }

  // ---- rope ----

  float* angles(const brim_node& node, const brim_rope_attr& attr, uint64_t* bytes) {
    const uint32_t pairs = attr.n_rot / 2;
    const brim_value position = node.in[1], factors = has(node, 2) ? node.in[2] : 0;
    *bytes = values_.size(values_.desc(position).dim[0]) * attr.n_rot * sizeof(float);
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
             equal(attr_of<brim_rope_attr>(later), later.must, later.in[1], has(later, 2) ? later.in[2] : 0);
    });
    auto* frequency = arena_.array<double>(pairs);
    for (uint32_t i = 0; i < pairs; ++i)
      frequency[i] = reference::rope_frequency(attr, (node.must & BRIM_ROPE_YARN) != 0, i);
    RopeAnglesArgs args{};
    args.position = in(node, 1);
    args.factors = weight_or_null(node, 2);
    args.frequency = frequency;
    args.table = reinterpret_cast<float*>(take(*bytes, last));
    args.pairs = pairs;
    args.magnitude = attr.magnitude;
    Touches touches{};
    values_.add_reads(touches, position);
    if (factors != 0) values_.add_reads(touches, factors);
    touches.add_write(range(args.table, *bytes));
    emit(args, touches);
    angles_.push_back({attr, node.must, position, factors, args.table});
    return args.table;
  }

  void lower_rope(const brim_node& node) {
    const auto attr = attr_of<brim_rope_attr>(node);
    RopeArgs args{};
    uint64_t bytes = 0;
    args.table = angles(node, attr, &bytes);
    args.x = in(node, 0);
    args.out = out(node);
    args.n_rot = attr.n_rot;
    args.halves = attr.pairing == BRIM_ROPE_HALVES;
    Touches touches = touches_of(node);
    touches.add_read(range(args.table, bytes));
    emit(args, touches);
  }

  // ---- states ----

  // The storage of the state behind a value, and its description.
  const brim_program_state& storage_of(brim_value value, const brim_state_desc** desc) const {
    uint32_t index = values_.desc(value).role;
    if (index >= info_.n_state_descs) {
      fail(BRIM_INVALID_ARGUMENT, "value %u names state %u; there are %u", value, index, info_.n_state_descs);
    }
    const brim_program_state* found = nullptr;
    *desc = BRIM_ELEM(brim_state_desc, info_.state_descs, info_.state_desc_stride, index);
    // A state that shares another's storage may be given under either number.
    while (found == nullptr) {
      for (uint32_t i = 0; i < info_.n_states; ++i) {
        const auto* state = BRIM_ELEM(brim_program_state, info_.states, info_.state_stride, i);
        if (state->state == index) found = state;
      }
      if (found != nullptr) break;
      const auto* at = BRIM_ELEM(brim_state_desc, info_.state_descs, info_.state_desc_stride, index);
      if (at->shares_with == 0 || at->shares_with > index) {
        fail(BRIM_INVALID_ARGUMENT, "state %u has no storage among the program's %u states", index, info_.n_states);
      }
      index = at->shares_with - 1;
    }
    return *found;
  }

  void check_layout(const brim_program_state& state, const brim_state_layout& layout) const {
    if (state.layout_id != layout.layout_id) {
      fail(BRIM_INVALID_ARGUMENT, "state %u is stored in layout %llu; this backend's is %llu", state.state,
           static_cast<unsigned long long>(state.layout_id), static_cast<unsigned long long>(layout.layout_id));
    }
  }

  // Where the state's bytes lie; of a program that is only measured, an offset from nowhere.
  std::byte* bytes_of(const brim_program_state& state, uint64_t bytes) const {
    if (!live_) return reinterpret_cast<std::byte*>(state.offset);
    if (state.buffer->read_only) fail(BRIM_INVALID_ARGUMENT, "state %u lies in a read-only buffer", state.state);
    return range_of(state.buffer, state.offset, bytes, "a state's blocks");
  }

  KvStore store_of(brim_value value, Range* blocks) {
    const brim_state_desc* desc = nullptr;
    const brim_program_state* found = &storage_of(value, &desc);
    const uint32_t index = found->state;
    if (found->group >= info_.step->n_groups) {
      fail(BRIM_INVALID_ARGUMENT, "state %u is of KV group %u; the step block has %u groups", index, found->group,
           info_.step->n_groups);
    }
    KvStore store{};
    store.layout = kv_layout(*desc, found->dtype);
    brim_state_layout layout{};
    layout.struct_size = sizeof layout;
    fill_state_layout(store.layout, &layout);
    check_layout(*found, layout);
    store.n_blocks = found->n_blocks;
    const auto* group = BRIM_ELEM(brim_group_layout, info_.step->groups, info_.step->group_stride, found->group);
    store.group = *group;
    check_group(store.group);
    const uint64_t bytes = kv_bytes(store.layout, store.n_blocks);
    store.blocks = bytes_of(*found, bytes);
    *blocks = range(store.blocks, bytes);
    return store;
  }

  // The slots of a conv or recurrent state of so many values per sequence.
  SlotStore slots_of(brim_value value, uint64_t elements, Range* slots) {
    const brim_state_desc* desc = nullptr;
    const brim_program_state& found = storage_of(value, &desc);
    if (!has_slots(*desc) || desc->elements != elements) {
      fail(BRIM_INVALID_ARGUMENT, "state %u is of kind %u with %llu values; the op steps %llu", found.state, desc->kind,
           static_cast<unsigned long long>(desc->elements), static_cast<unsigned long long>(elements));
    }
    const SlotLayout layout = slot_layout(*desc, found.dtype);
    brim_state_layout filled{};
    filled.struct_size = sizeof filled;
    fill_state_layout(layout, &filled);
    check_layout(found, filled);
    SlotStore store{};
    store.slot_bytes = layout.bytes;
    store.n_slots = found.n_blocks;
    store.slots = bytes_of(found, layout.bytes * found.n_blocks);
    store.state_read = info_.step->state_read;
    store.state_write = info_.step->state_write;
    store.q_begin = info_.step->q_begin;
    const uint64_t seqs = info_.bucket->n_seqs;
    check_array(store.state_read, seqs, "state_read");
    check_array(store.state_write, seqs, "state_write");
    check_array(store.q_begin, seqs + 1, "q_begin");
    program_.n_slots = program_.n_slots == 0 ? store.n_slots : std::min(program_.n_slots, store.n_slots);
    *slots = range(store.slots, layout.bytes * found.n_blocks);
    return store;
  }

  void keep_scratch(uint64_t bytes) {
    program_.scratch_bytes = std::max(program_.scratch_bytes, (bytes + 63) / 64 * 64);
  }

  void check_array(uint64_t offset, uint64_t count, const char* name) const {
    const uint64_t bytes = info_.step->bytes;
    if (offset == 0 || offset % 4 != 0 || offset > bytes || count > (bytes - offset) / 4) {
      fail(BRIM_INVALID_ARGUMENT, "the step block of %llu bytes has no room for %s (%llu values at %llu)",
           static_cast<unsigned long long>(bytes), name, static_cast<unsigned long long>(count),
           static_cast<unsigned long long>(offset));
    }
  }

  void check_group(const brim_group_layout& group) const {
    if (group.block_tokens != kBlockTokens) {
      fail(BRIM_INVALID_ARGUMENT, "a KV group has blocks of %u tokens; this backend's have %u", group.block_tokens,
           kBlockTokens);
    }
    const uint64_t tokens = info_.bucket->n_tokens, seqs = info_.bucket->n_seqs;
    check_array(group.kv_slot, tokens, "kv_slot");
    check_array(group.kv_len, seqs, "kv_len");
    check_array(group.block_table, seqs * group.max_blocks, "block_table");
    if (group.kv_first != 0) check_array(group.kv_first, seqs, "kv_first");
    check_array(info_.step->sequence, tokens, "sequence");
    check_array(info_.step->q_begin, seqs + 1, "q_begin");
  }

  // What run_program will verify; uses of one group that verify the same are kept once.
  void note_use(const KvUse& use) {
    for (KvUse& known : program_.kv_uses) {
      if (known.group.kv_slot != use.group.kv_slot || known.n_blocks != use.n_blocks) continue;
      if (known.reads && use.reads && (known.window != use.window || known.causal != use.causal)) continue;
      if (use.reads) {
        known.window = use.window;
        known.causal = use.causal;
        known.reads = true;
      }
      known.writes = known.writes || use.writes;
      return;
    }
    program_.kv_uses.push_back(use);
  }

  void check_heads(const KvLayout& layout, const brim_value_desc& v, uint32_t width, const char* name) const {
    if (values_.size(v.dim[1]) != layout.n_head || values_.size(v.dim[2]) != width) {
      fail(BRIM_INVALID_ARGUMENT, "KV_WRITE: %s has %llu heads of width %llu; the state has %u of %u", name,
           static_cast<unsigned long long>(values_.size(v.dim[1])),
           static_cast<unsigned long long>(values_.size(v.dim[2])), layout.n_head, width);
    }
  }

  void lower_kv_write(const brim_node& node) {
    Range blocks{};
    KvWriteArgs args{};
    args.store = store_of(node.in[0], &blocks);
    args.k = in(node, 1);
    check_heads(args.store.layout, values_.desc(node.in[1]), args.store.layout.k_width, "K");
    if (has(node, 2) != (args.store.layout.v_width != 0)) {
      fail(BRIM_INVALID_ARGUMENT, "KV_WRITE: V is given to a latent state, or missing from another");
    }
    if (has(node, 2)) {
      args.v = in(node, 2);
      check_heads(args.store.layout, values_.desc(node.in[2]), args.store.layout.v_width, "V");
    }
    note_use({args.store.group, args.store.n_blocks, 0, false, false, true});
    Touches touches = touches_of(node);
    touches.add_write(blocks);
    emit(args, touches);
  }

  void lower_attention(const brim_node& node) {
    const auto attr = attr_of<brim_attention_attr>(node);
    Range blocks{};
    AttentionArgs args{};
    args.store = store_of(node.in[1], &blocks);
    const KvLayout& layout = args.store.layout;
    const brim_value_desc &q = values_.desc(node.in[0]), &result = values_.desc(node.out[0]);
    const bool latent = (node.must & BRIM_ATTENTION_V_FROM_K) != 0;
    if (latent != (layout.v_width == 0)) {
      fail(BRIM_INVALID_ARGUMENT, "ATTENTION: V_FROM_K goes with latent states, and only with them");
    }
    args.v_width = latent ? attr.v_width : layout.v_width;
    args.v_pitch = (args.v_width + 15) / 16 * 16;
    if (attr.n_head_kv != layout.n_head || values_.size(q.dim[2]) != layout.k_width ||
        values_.size(result.dim[2]) != args.v_width) {
      fail(BRIM_INVALID_ARGUMENT, "ATTENTION over %u KV heads of widths %llu and %llu; the state has %u of %u and %u",
           attr.n_head_kv, static_cast<unsigned long long>(values_.size(q.dim[2])),
           static_cast<unsigned long long>(values_.size(result.dim[2])), layout.n_head, layout.k_width, args.v_width);
    }
    args.sinks = weight_or_null(node, 2);
    args.q = in(node, 0);
    args.out = out(node).at<float>(Frame{});
    args.n_head = attr.n_head;
    args.window = (node.must & BRIM_ATTENTION_SLIDING_WINDOW) != 0 ? attr.window : 0;
    args.causal = (node.must & BRIM_ATTENTION_CAUSAL) != 0;
    args.fast = info_.numerics == BRIM_NUMERICS_FAST;
    args.scale = attr.scale;
    args.softcap = (node.must & BRIM_ATTENTION_SOFTCAP) != 0 ? attr.softcap : 0;
    args.sequence = info_.step->sequence;
    args.q_begin = info_.step->q_begin;
    note_use({args.store.group, args.store.n_blocks, args.window, true, args.causal, false});
    keep_scratch(attention_scratch(layout, args.v_pitch));

    Touches attending = touches_of(node);
    attending.add_read(blocks);
    const uint64_t rows = values_.size(q.dim[0]) * attr.n_head;
    if (device_->threads == 1 || rows > kMostSplit) {
      emit(args, attending);
      return;
    }
    const uint64_t bytes = rows * kMostRuns * (2ull + args.v_pitch) * sizeof(float);
    args.partial = reinterpret_cast<float*>(take(bytes, now_));
    attending.add_write(range(args.partial, bytes));
    const AttentionArgs* kept = emit(args, attending);
    Touches joining{};
    joining.add_read(range(args.partial, bytes));
    values_.add_write(joining, node.out[0]);
    emit(AttentionJoinArgs{kept}, joining);
  }

  void lower_conv(const brim_node& node) {
    ConvArgs args{};
    const brim_value_desc& weight = values_.desc(node.in[2]);
    args.channels = weight.dim[0].k;
    args.taps = weight.dim[1].k;
    Range slots{};
    args.store = slots_of(node.in[1], static_cast<uint64_t>((args.taps - 1) * args.channels), &slots);
    args.x = in(node, 0);
    args.out = out(node);
    args.weight = in(node, 2);
    if (has(node, 3)) args.bias = in(node, 3);
    args.silu = attr_of<brim_conv1d_attr>(node).activation == BRIM_UNARY_SILU;
    keep_scratch(args.scratch_bytes());
    Touches touches = touches_of(node);
    touches.add_write(slots);
    emit(args, touches);
  }

  void lower_linear_attention(const brim_node& node) {
    LinearAttentionArgs args{};
    args.q = in(node, 0);
    args.k = in(node, 1);
    args.v = in(node, 2);
    if (has(node, 3)) args.decay = in(node, 3);
    if (has(node, 4)) args.beta = in(node, 4);
    args.out = out(node);
    const brim_value_desc &q = values_.desc(node.in[0]), &v = values_.desc(node.in[2]);
    args.key_heads = q.dim[1].k;
    args.d_k = q.dim[2].k;
    args.heads = v.dim[1].k;
    args.d_v = v.dim[2].k;
    args.scale = attr_of<brim_linear_attention_attr>(node).scale;
    args.modulo = (node.must & BRIM_LINEAR_HEADS_MODULO) != 0;
    Range slots{};
    args.store = slots_of(node.in[5], static_cast<uint64_t>(args.heads * args.d_k * args.d_v), &slots);
    keep_scratch(args.scratch_bytes());
    Touches touches = touches_of(node);
    touches.add_write(slots);
    emit(args, touches);
  }

  // ---- the rest ----

  void lower_route(const brim_node& node) {
    const auto attr = attr_of<brim_moe_route_attr>(node);
    const bool groups = (node.must & BRIM_MOE_ROUTE_GROUPS) != 0;
    RouteArgs args{};
    args.logits = in(node, 0);
    if (has(node, 1)) args.bias = in(node, 1);
    args.weight = out(node, 0);
    args.index = out(node, 1);
    args.gate = attr.gate;
    args.experts = args.logits.dim[1].k;
    args.k = attr.k;
    args.n_group = groups ? attr.n_group : 1;
    args.n_group_used = groups ? attr.n_group_used : 1;
    args.normalise = attr.normalise != 0;
    args.scale = attr.scale;
    keep_scratch(args.scratch_bytes());
    emit(args, touches_of(node));
  }

  // Two copies into the two parts of the output.
  void lower_concat(const brim_node& node) {
    const uint32_t axis = attr_of<brim_concat_attr>(node).axis;
    int64_t before = 0;
    for (uint32_t i = 0; i < 2; ++i) {
      CopyArgs args{in(node, i), out(node)};
      args.out.data += dtype_bytes(args.out.dtype, before * args.out.stride[axis]);
      args.out.dim[axis] = args.x.dim[axis];
      before += args.x.dim[axis].k;
      collapse(values_, {&args.out, &args.x}, 1);
      Touches touches{};
      values_.add_reads(touches, node.in[i]);
      values_.add_write(touches, node.out[0]);
      emit(args, touches);
    }
  }

  void lower_binary(const brim_node& node) {
    BinaryArgs args{in(node, 0), in(node, 1), out(node), attr_of<brim_binary_attr>(node).kind};
    for (Tensor* t : {&args.a, &args.b}) {
      Tensor aligned = args.out;
      aligned.data = t->data;
      aligned.in_step = t->in_step;
      for (uint32_t i = 0; i < aligned.rank; ++i) {
        const uint32_t missing = aligned.rank - t->rank;
        const bool one = i < missing || (t->dim[i - missing].sym == BRIM_SYM_NONE && t->dim[i - missing].k == 1);
        const bool stretched = one && !(args.out.dim[i].sym == BRIM_SYM_NONE && args.out.dim[i].k == 1);
        aligned.stride[i] = stretched ? 0 : i < missing ? 1 : t->stride[i - missing];
      }
      *t = aligned;
    }
    collapse(values_, {&args.out, &args.a, &args.b}, 1);
    emit_rows(node, args, {&BinaryArgs::a, &BinaryArgs::b}, &BinaryArgs::out);
  }

  void lower_glu(const brim_node& node) {
    const auto attr = attr_of<brim_glu_attr>(node);
    GluArgs args{in(node, 0), {}, out(node), attr.kind, attr.alpha, attr.limit};
    if (has(node, 1)) {
      args.up = in(node, 1);
    } else {
      const uint32_t last = args.gate.rank - 1;
      args.gate.dim[last] = args.out.dim[last];
      args.up = args.gate;
      args.up.data += args.out.dim[last].k * sizeof(float);
    }
    collapse(values_, {&args.out, &args.gate, &args.up}, 1);
    emit_rows(node, args, {&GluArgs::gate, &GluArgs::up}, &GluArgs::out);
  }

  void lower_norm(const brim_node& node) {
    const auto attr = attr_of<brim_norm_attr>(node);
    const bool l2 = node.op == BRIM_OP_L2_NORM;
    RmsNormArgs args{in(node, 0), out(node), {}, attr.eps, attr.weight_offset, l2};
    if (!l2 && has(node, 1)) args.weight = in(node, 1);
    collapse(values_, {&args.out, &args.x}, 1);
    emit_rows(node, args, {&RmsNormArgs::x, &RmsNormArgs::weight}, &RmsNormArgs::out);
  }

  void lower_layer_norm(const brim_node& node) {
    const auto attr = attr_of<brim_norm_attr>(node);
    LayerNormArgs args{in(node, 0), out(node), {}, {}, attr.eps, attr.weight_offset};
    if (has(node, 1)) args.weight = in(node, 1);
    if (has(node, 2)) args.bias = in(node, 2);
    collapse(values_, {&args.out, &args.x}, 1);
    emit_rows(node, args, {&LayerNormArgs::x, &LayerNormArgs::weight, &LayerNormArgs::bias}, &LayerNormArgs::out);
  }

  void lower_softmax(const brim_node& node) {
    SoftmaxArgs args{in(node, 0), out(node), in(node, has(node, 1) ? 1 : 0), attr_of<brim_softmax_attr>(node).scale};
    collapse(values_, {&args.out, &args.x, &args.mask}, 1);
    if (!has(node, 1)) args.mask.data = nullptr;
    emit(args, touches_of(node));
  }

  void lower_gather(const brim_node& node) {
    GatherArgs args{};
    args.pieces = values_.pieces(node.in[0], arena_, &args.n_pieces);
    args.dtype = values_.desc(node.in[0]).dtype;
    args.row_bytes = values_.row_bytes(node.in[0]);
    args.packed = values_.packed(node.in[0]);
    args.table_rows = values_.desc(node.in[0]).dim[0];
    args.index = in(node, 1);
    args.out = out(node);
    Touches touches{};
    if (args.n_pieces == 1) values_.add_reads(touches, node.in[0]);
    values_.add_reads(touches, node.in[1]);
    values_.add_write(touches, node.out[0]);
    emit(args, touches);
  }

  void lower(const brim_node& node) {
    if (is_view_op(node.op)) return;
    switch (node.op) {
      case BRIM_OP_COPY: {
        CopyArgs args{in(node, 0), out(node)};
        collapse(values_, {&args.out, &args.x}, 1);
        emit(args, touches_of(node));
        return;
      }
      case BRIM_OP_CONCAT:
        return lower_concat(node);
      case BRIM_OP_GATHER_ROWS:
        return lower_gather(node);
      case BRIM_OP_SCATTER_ROWS:
        emit(ScatterArgs{in(node, 0), in(node, 1), in(node, 2), out(node), attr_of<brim_scatter_attr>(node).mode},
             touches_of(node));
        return;
      case BRIM_OP_UNARY: {
        UnaryArgs args{in(node, 0), out(node), attr_of<brim_unary_attr>(node).kind};
        collapse(values_, {&args.out, &args.x}, 1);
        emit_rows(node, args, {&UnaryArgs::x}, &UnaryArgs::out);
        return;
      }
      case BRIM_OP_AFFINE_CLAMP: {
        const auto attr = attr_of<brim_affine_attr>(node);
        const float cap = (node.must & BRIM_AFFINE_SOFTCAP) != 0 ? attr.cap : 0.0f;
        AffineArgs args{in(node, 0), out(node), attr.scale, attr.bias, attr.lo, attr.hi, cap};
        collapse(values_, {&args.out, &args.x}, 1);
        emit_rows(node, args, {&AffineArgs::x}, &AffineArgs::out);
        return;
      }
      case BRIM_OP_BINARY:
        return lower_binary(node);
      case BRIM_OP_GLU:
        return lower_glu(node);
      case BRIM_OP_SOFTMAX:
        return lower_softmax(node);
      case BRIM_OP_LAYER_NORM:
        return lower_layer_norm(node);
      case BRIM_OP_RMS_NORM:
      case BRIM_OP_L2_NORM:
        return lower_norm(node);
      case BRIM_OP_ARGMAX:
        emit(ArgmaxArgs{in(node, 0), out(node)}, touches_of(node));
        return;
      case BRIM_OP_TOPK:
        emit(TopkArgs{in(node, 0), out(node, 0), out(node, 1), attr_of<brim_topk_attr>(node).k}, touches_of(node));
        return;
      case BRIM_OP_MATMUL:
        if ((node.must & BRIM_MATMUL_HEADS) != 0) return lower_heads(node);
        return (node.must & BRIM_MATMUL_BATCHED) != 0 ? lower_batched(node) : lower_matmul(node);
      case BRIM_OP_GROUPED_MATMUL:
        return lower_grouped(node);
      case BRIM_OP_MOE_ROUTE:
        return lower_route(node);
      case BRIM_OP_MOE_COMBINE: {
        const Tensor x = in(node, 0);
        emit(CombineArgs{x, in(node, 1), out(node), x.dim[1].k}, touches_of(node));
        return;
      }
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

  void finish() {
    // Member scratch lies behind the shared items.
    program_.workspace_bytes = workspace_.bytes() + program_.scratch_bytes * device_->threads;
    program_.scratch = reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(workspace_base_) + workspace_.bytes());
    if (live_) {
      if (workspace_bound_ < program_.workspace_bytes) {
        fail(BRIM_INVALID_ARGUMENT, "the workspace (binding of value 0) has %llu bytes; the program needs %llu",
             static_cast<unsigned long long>(workspace_bound_),
             static_cast<unsigned long long>(program_.workspace_bytes));
      }
      if (program_.workspace_bytes != 0 &&
          reinterpret_cast<uintptr_t>(workspace_base_) % alignof(std::max_align_t) != 0) {
        fail(BRIM_INVALID_ARGUMENT, "the workspace (binding of value 0) is not aligned to %llu bytes",
             static_cast<unsigned long long>(alignof(std::max_align_t)));
      }
    }
    // As many phases as steps is the most there can be; measuring and creating hold the same bytes.
    program_.steps.reserve(steps_.size());
    program_.phases.reserve(steps_.size());
    if (!live_) return;
    chain_rows(steps_);
    const uint32_t phases = schedule(steps_);
    for (uint32_t phase = 0; phase < phases; ++phase) {
      Phase filled{static_cast<uint32_t>(program_.steps.size()), 0, 0, false};
      for (const PlannedStep& planned : steps_) {
        if (planned.phase == phase) program_.steps.push_back({planned.step, planned.chained, planned.rows, 0});
      }
      filled.n_steps = static_cast<uint32_t>(program_.steps.size()) - filled.first_step;
      program_.phases.push_back(filled);
    }
  }

  brim_device* device_;
  const brim_program_info& info_;
  const bool live_;
  brim_program& program_;
  Arena& arena_;
  Values values_;
  Array<PlannedStep> steps_;
  Workspace workspace_;
  Array<Prepared> prepared_;
  Array<Angles> angles_;
  std::byte* workspace_base_ = nullptr;
  uint64_t workspace_bound_ = 0;
  uint64_t now_ = 0;  // index in info.nodes
};

void check_info(const brim_program_info& info) {
  if (info.graph == nullptr || info.bucket == nullptr || info.step == nullptr ||
      (info.n_nodes != 0 && info.nodes == nullptr)) {
    fail(BRIM_INVALID_ARGUMENT, "a program needs a graph, nodes, a bucket and a step layout");
  }
}

brim_program* build(brim_device* device, const brim_program_info& info, bool live, uint64_t* build_peak) {
  check_info(info);
  const brim_plugin& plugin = *device->plugin;
  brim_program* program = make<brim_program>(plugin.api, plugin.host, device);
  try {
    std::memcpy(&program->bucket, info.bucket, std::min<size_t>(info.bucket->struct_size, sizeof program->bucket));
    std::memcpy(&program->step, info.step, std::min<size_t>(info.step->struct_size, sizeof program->step));
    program->step.groups = nullptr;
    Memory scratch(plugin.api, plugin.host);
    {
      Compiler compiler(device, info, live, *program, scratch);
      compiler.compile();
    }
    *build_peak = scratch.peak() + program->memory.peak() - program->memory.live();
    return program;
  } catch (...) {
    destroy_program(program);
    throw;
  }
}

}  // namespace

brim_program* create_program(brim_device* device, const brim_program_info& info) {
  need_live(device, "creating a program");
  uint64_t peak = 0;
  return build(device, info, true, &peak);
}

void measure_program(brim_device* device, const brim_program_info& info, brim_program_cost* out) {
  brim_program_cost cost{};
  brim_program* program = build(device, info, false, &cost.build_peak);
  cost.workspace = program->workspace_bytes;
  cost.persistent = sizeof *program + program->memory.live();
  destroy_program(program);
  answer(out, cost);
}

void destroy_program(brim_program* program) noexcept {
  if (program != nullptr) unmake(program->device->plugin->api, program->device->plugin->host, program);
}

}  // namespace brim_cpu
