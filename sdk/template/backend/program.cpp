#include "program.hpp"

#include <array>
#include <iterator>

namespace plain {
namespace {

constexpr const Op* kOps[] = {&kCopy,    &kGatherRows, &kScatterRows, &kUnary,  &kBinary, &kAffineClamp, &kGlu,
                              &kSoftmax, &kRmsNorm,    &kArgmax,      &kMatmul, &kRope,   &kKvWrite,     &kAttention};

const Op* find_op(uint32_t number) {
  for (const Op* op : kOps) {
    if (op->op == number) return op;
  }
  return nullptr;
}

// The op that computes the node, or NULL. support() and program_create both ask here, so that what was promised is what
// is compiled.
const Op* op_for(const brim_graph& graph, const brim_node& node, uint32_t numerics) {
  const Op* op = find_op(node.op);
  if (op == nullptr || node.op_rev != 1 || (node.must & ~op->features) != 0) return nullptr;
  // There is no fast path: both numerics are computed strictly.
  if (numerics != BRIM_NUMERICS_STRICT && numerics != BRIM_NUMERICS_FAST) return nullptr;
  if (node.n_in > 3 || node.n_out != 1) return nullptr;
  return op->supports(Question(graph, node)) ? op : nullptr;
}

// What a program_info says, read field by field: every struct and every array in it may be of another size than ours.
class Compiler {
 public:
  // `pieces`: room for one a binding. Without it nothing is placed, only checked and measured: there are no buffers
  // yet.
  explicit Compiler(const brim_program_info& info, Piece* pieces)
      : info_(info), graph_(taken(info.graph)), bucket_(taken(info.bucket)), step_(taken(info.step)), pieces_(pieces) {}

  const brim_bucket& bucket() const { return bucket_; }
  const brim_step_layout& step() const { return step_; }

  // Node i of the program.
  void compile(uint32_t i, Node* out) const {
    const uint32_t index = info_.nodes[i];
    if (index >= graph_.n_nodes) {
      fail(BRIM_INVALID_ARGUMENT, "a program names node %u of a graph that has %u", index, graph_.n_nodes);
    }
    const auto node = element<brim_node>(graph_.nodes, index, graph_.node_stride);
    *out = {};
    out->op = op_for(graph_, node, info_.numerics);
    if (out->op == nullptr) {
      fail(BRIM_UNSUPPORTED, "the plain backend does not support node %u (op %u, revision %u, features %#llx)", index,
           node.op, node.op_rev, static_cast<unsigned long long>(node.must));
    }
    out->must = node.must;
    if (node.attr != nullptr) {
      uint32_t size;
      std::memcpy(&size, node.attr, sizeof size);
      std::memcpy(out->attr, node.attr, std::min<size_t>(size, sizeof out->attr));
    }
    for (uint32_t j = 0; j < node.n_in; ++j) {
      const brim_value v = node.in[j];
      if (v == 0) continue;
      if (value(v).kind == BRIM_VALUE_STATE) {
        out->kv = state(value(v).role);
      } else {
        out->in[j] = operand(v, false);
      }
    }
    if (value(node.out[0]).kind != BRIM_VALUE_STATE) out->out = operand(node.out[0], true);
    if (out->op->check != nullptr) out->op->check(*out);
  }

  // The scratch that the host gives, bound as value 0; `bytes` are needed.
  std::byte* workspace(uint64_t bytes) const {
    return bytes == 0 ? nullptr : address(binding(first_binding(0)), bytes, true);
  }

 private:
  brim_value_desc value(brim_value v) const {
    if (v >= graph_.n_values)
      fail(BRIM_INVALID_ARGUMENT, "a node names value %u; the graph has %u", v, graph_.n_values);
    return element<brim_value_desc>(graph_.values, v, graph_.value_stride);
  }

  uint64_t size(brim_dim dim) const { return brim_dim_size(dim, &bucket_); }

  uint64_t bytes_of(const brim_value_desc& v) const {
    uint64_t rows = 1;
    for (uint32_t i = 0; i + 1 < v.rank; ++i) rows *= size(v.dim[i]);
    return v.rank == 0 ? 0 : rows * brim_dtype_row_bytes(v.dtype, size(v.dim[v.rank - 1]));
  }

  brim_binding binding(uint32_t i) const { return element<brim_binding>(info_.bindings, i, info_.binding_stride); }

  uint32_t first_binding(brim_value v) const {
    for (uint32_t i = 0; i < info_.n_bindings; ++i) {
      if (binding(i).value == v) return i;
    }
    fail(BRIM_INVALID_ARGUMENT, "value %u has no binding", v);
  }

  // The place that a binding names, of which `bytes` are needed; NULL while a program is only measured.
  std::byte* address(const brim_binding& b, uint64_t bytes, bool written) const {
    if (b.layout_id != 0) {
      fail(BRIM_INVALID_ARGUMENT, "value %u is bound in layout %llu; the plain backend takes 0, the plain one", b.value,
           static_cast<unsigned long long>(b.layout_id));
    }
    if (b.bytes < bytes) {
      fail(BRIM_INVALID_ARGUMENT, "value %u is bound with %llu bytes; %llu are needed", b.value,
           static_cast<unsigned long long>(b.bytes), static_cast<unsigned long long>(bytes));
    }
    if (pieces_ == nullptr) return nullptr;
    return written ? writable_range_of(b.buffer, b.offset, bytes, "a binding")
                   : range_of(b.buffer, b.offset, bytes, "a binding");
  }

  // Value v, in one binding or in several, each of some rows of its outermost dimension. A piece is kept at the number
  // of its binding.
  void place(brim_value v, const brim_value_desc& desc, bool written, Operand* out) const {
    const uint32_t first = first_binding(v);
    const uint64_t bytes = bytes_of(desc), rows = size(desc.dim[0]);
    if (binding(first).n_rows == 0 || binding(first).n_rows == rows) {
      out->data = address(binding(first), bytes, written);
      return;
    }
    uint64_t done = 0;
    for (uint32_t i = first; i < info_.n_bindings && done < rows; ++i) {
      const brim_binding b = binding(i);
      if (b.value != v || b.first_row != done || b.n_rows > rows - done) break;
      std::byte* data = address(b, b.n_rows * (bytes / rows), written);
      if (pieces_ != nullptr) pieces_[i] = {data, b.n_rows};
      done += b.n_rows;
    }
    if (done != rows || desc.rank < 2) {
      fail(BRIM_INVALID_ARGUMENT, "the pieces of value %u hold %llu of its %llu rows, in order", v,
           static_cast<unsigned long long>(done), static_cast<unsigned long long>(rows));
    }
    if (pieces_ != nullptr) out->pieces = pieces_ + first;
  }

  // Arrays of the step block: they have no binding.
  uint64_t step_offset(uint32_t role) const {
    switch (role) {
      case BRIM_INPUT_TOKEN:
        return step_.token;
      case BRIM_INPUT_POSITION:
        return step_.position;
      case BRIM_INPUT_OUTPUT_ROW:
        return step_.output_row;
      case BRIM_INPUT_ADAPTER:
        return step_.adapter;
      default:
        fail(BRIM_UNSUPPORTED, "the plain backend does not know inputs of role %u", role);
    }
  }

  Operand operand(brim_value v, bool written) const {
    const brim_value_desc desc = value(v);
    const bool view = desc.kind == BRIM_VALUE_VIEW;
    const brim_value storage = view ? desc.base : v;
    const brim_value_desc base = view ? value(storage) : desc;
    Operand out{};
    out.present = true;
    out.dtype = desc.dtype;
    out.rank = desc.rank;
    uint64_t row_major = 1, last = desc.offset;
    bool empty = false;
    for (uint32_t i = desc.rank; i-- > 0;) {
      out.dim[i] = desc.dim[i];
      out.stride[i] = view ? size(desc.stride[i]) : row_major;
      row_major *= size(desc.dim[i]);
      empty = empty || size(desc.dim[i]) == 0;
      if (size(desc.dim[i]) > 1) last += (size(desc.dim[i]) - 1) * out.stride[i];
    }
    if (size(desc.dim[desc.rank - 1]) == 1) out.stride[desc.rank - 1] = 1;  // of a single element any stride is right
    const uint64_t all = bytes_of(base), block = brim_dtype_block_elements(desc.dtype);
    const uint64_t at = view ? desc.offset / block * brim_dtype_block_bytes(desc.dtype) : 0;
    if (view && !empty && last / block * brim_dtype_block_bytes(desc.dtype) >= all) {
      fail(BRIM_INVALID_ARGUMENT, "value %u is a view that reaches behind its base, value %u", v, storage);
    }
    if (base.kind == BRIM_VALUE_INPUT && base.role != BRIM_INPUT_EMBEDDING) {
      const uint64_t array = step_offset(base.role);
      if (array == 0 || array > step_.bytes || all > step_.bytes - array) {
        fail(BRIM_INVALID_ARGUMENT, "the step block has no array for value %u (input role %u)", storage, base.role);
      }
      out.in_step = true;
      out.step_offset = array + at;
    } else {
      place(storage, base, written, &out);
      if (view && out.pieces != nullptr) fail(BRIM_UNSUPPORTED, "value %u is a view of a value in pieces", v);
      if (out.data != nullptr) out.data += at;
    }
    return out;
  }

  Kv state(uint32_t role) const {
    if (role >= info_.n_state_descs) {
      fail(BRIM_INVALID_ARGUMENT, "a node uses state %u; %u are described", role, info_.n_state_descs);
    }
    const auto desc = element<brim_state_desc>(info_.state_descs, role, info_.state_desc_stride);
    for (uint32_t i = 0; i < info_.n_states; ++i) {
      const auto storage = element<brim_program_state>(info_.states, i, info_.state_stride);
      if (storage.state != role) continue;
      if (storage.group >= step_.n_groups) {
        fail(BRIM_INVALID_ARGUMENT, "state %u is of KV group %u; the step block has %u", role, storage.group,
             step_.n_groups);
      }
      Kv kv = open_state(desc, storage);
      kv.group = element<brim_group_layout>(step_.groups, storage.group, step_.group_stride);
      return kv;
    }
    fail(BRIM_INVALID_ARGUMENT, "state %u is not among the program's states", role);
  }

  const brim_program_info& info_;
  const brim_graph graph_;
  const brim_bucket bucket_;
  const brim_step_layout step_;
  Piece* const pieces_;
};

uint64_t program_bytes(uint32_t n_nodes, uint32_t n_bindings) {
  return offsetof(brim_program, nodes) + n_nodes * sizeof(Node) + n_bindings * sizeof(Piece);
}

uint64_t workspace_of(const Node& node, const brim_bucket& bucket) {
  return node.op->workspace == nullptr ? 0 : node.op->workspace(node, bucket);
}

}  // namespace

const brim_op_caps* op_caps(uint32_t* n) {
  constexpr size_t kCount = std::size(kOps);
  static const auto caps = [] {
    std::array<brim_op_caps, kCount> out{};
    for (size_t i = 0; i < kCount; ++i) out[i] = {kOps[i]->op, 1, kOps[i]->features};
    return out;
  }();
  *n = kCount;
  return caps.data();
}

bool supports(const brim_graph& graph, uint32_t node, uint32_t numerics) {
  if (node >= graph.n_nodes)
    fail(BRIM_INVALID_ARGUMENT, "the graph has %u nodes; number %u was asked", graph.n_nodes, node);
  return op_for(graph, element<brim_node>(graph.nodes, node, graph.node_stride), numerics) != nullptr;
}

brim_program_cost measure_program(brim_device*, const brim_program_info& info) {
  const Compiler compiler(info, nullptr);
  brim_program_cost cost{};
  cost.persistent = program_bytes(info.n_nodes, info.n_bindings + 1);  // the workspace's comes on top
  for (uint32_t i = 0; i < info.n_nodes; ++i) {
    Node node;
    compiler.compile(i, &node);
    cost.workspace = std::max(cost.workspace, workspace_of(node, compiler.bucket()));  // one node after the other
  }
  return cost;
}

brim_program* create_program(brim_device* device, const brim_program_info& info) {
  const uint64_t bytes = program_bytes(info.n_nodes, info.n_bindings);
  auto* program = static_cast<brim_program*>(take_memory(device->plugin, bytes, alignof(brim_program)));
  try {
    std::memset(static_cast<void*>(program), 0, bytes);
    program->pieces = reinterpret_cast<Piece*>(&program->nodes[0] + info.n_nodes);
    const Compiler compiler(info, program->pieces);
    program->device = device;
    program->step = compiler.step();
    program->step.groups = nullptr;  // the host's array may go; each node has its group
    program->bucket = compiler.bucket();
    program->n_nodes = info.n_nodes;
    program->n_bindings = info.n_bindings;
    uint64_t workspace = 0;
    for (uint32_t i = 0; i < info.n_nodes; ++i) {
      compiler.compile(i, &program->nodes[i]);
      workspace = std::max(workspace, workspace_of(program->nodes[i], compiler.bucket()));
    }
    program->workspace = compiler.workspace(workspace);
    return program;
  } catch (...) {
    give_memory(device->plugin, program, bytes, alignof(brim_program));
    throw;
  }
}

void destroy_program(brim_program* program) noexcept {
  if (program == nullptr) return;
  give_memory(program->device->plugin, program, program_bytes(program->n_nodes, program->n_bindings),
              alignof(brim_program));
}

Tensor Step::tensor(const Operand& operand) const {
  Tensor out{};
  if (!operand.present) return out;
  out.data = operand.in_step ? const_cast<std::byte*>(block) + operand.step_offset : operand.data;
  out.pieces = operand.pieces;
  out.dtype = operand.dtype;
  out.rank = operand.rank;
  for (uint32_t i = 0; i < operand.rank; ++i) {
    out.dim[i] = brim_dim_size(operand.dim[i], &counts);
    out.stride[i] = operand.stride[i];
  }
  return out;
}

void Step::stop_if_cancelled() const {
  if (cancel != nullptr && *cancel != 0) fail(BRIM_CANCELLED, "the step was cancelled before its last op");
}

void run_program(const brim_program& program, brim_queue* queue, const brim_run& run) {
  drain(queue);
  const std::byte* block = range_of(run.step_block, run.step_offset, program.step.bytes, "the step block");
  brim_step_header header;
  std::memcpy(&header, block, sizeof header);
  if (header.n_tokens > program.bucket.n_tokens || header.n_seqs > program.bucket.n_seqs ||
      header.n_outputs > program.bucket.n_outputs) {
    fail(BRIM_INVALID_ARGUMENT, "a step of %u tokens, %u sequences and %u outputs; the program is for %u, %u and %u",
         header.n_tokens, header.n_seqs, header.n_outputs, program.bucket.n_tokens, program.bucket.n_seqs,
         program.bucket.n_outputs);
  }
  Step step{block, program.step, program.bucket, program.workspace, run.cancel};
  step.counts.n_tokens = header.n_tokens;
  step.counts.n_seqs = header.n_seqs;
  step.counts.n_outputs = header.n_outputs;
  for (uint32_t i = 0; i < program.n_nodes; ++i) {
    step.stop_if_cancelled();
    program.nodes[i].op->run(step, program.nodes[i]);
  }
}

}  // namespace plain
