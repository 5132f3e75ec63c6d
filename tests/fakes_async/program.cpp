#include "program.hpp"

#include <algorithm>
#include <memory>

#include "weights.hpp"

namespace brim_async {
namespace {

uint64_t bytes_in(const brim_value_desc& v, const brim_bucket& bucket) {
  uint64_t rows = 1;
  for (uint32_t i = 0; i + 1 < v.rank; ++i) rows *= brim_dim_size(v.dim[i], &bucket);
  return rows * brim_dtype_row_bytes(v.dtype, brim_dim_size(v.dim[v.rank - 1], &bucket));
}

brim_value storage_of(const brim_program& p, brim_value v) {
  return p.values[v].kind == BRIM_VALUE_VIEW ? p.values[v].base : v;
}

std::string named(brim_value v) { return "value " + std::to_string(v); }

// Every value that a node touches is bound as a whole, in pieces that the device can bind.
void check_binding(const brim_program& p, brim_value v, bool buffers) {
  const brim_value_desc& desc = p.values[v];
  if (desc.kind == BRIM_VALUE_STATE) {
    const auto state = p.states.find(desc.role);
    if (state == p.states.end())
      p.plugin->refuse("state " + std::to_string(desc.role) + " is missing in the program's states");
    if (state->second.storage.layout_id != kv_layout_id(state->second.storage.dtype)) {
      p.plugin->refuse("state " + std::to_string(desc.role) + " comes with a wrong layout id");
    }
    return;
  }
  if (desc.kind == BRIM_VALUE_INPUT && desc.role != BRIM_INPUT_EMBEDDING) return;
  const auto bound = p.bindings.find(v);
  if (bound == p.bindings.end()) p.plugin->refuse(named(v) + " has no binding");
  const bool weight = desc.kind == BRIM_VALUE_WEIGHT;
  uint64_t bytes = 0, row = 0;
  for (const Piece& piece : bound->second) {
    const uint64_t wanted = weight && p.plugin->settings.packs(desc) ? kPackedLayout : 0;
    if (piece.layout != wanted) p.plugin->refuse(named(v) + " is bound with a wrong layout id");
    if (piece.layout == 0 && weight && piece.bytes > p.plugin->settings.max_binding) {
      p.plugin->refuse(named(v) + " is bound in a piece beyond max_binding");
    }
    if (piece.n_rows && piece.first_row != row) p.plugin->refuse(named(v) + " has pieces with a gap");
    row += piece.n_rows;
    bytes += piece.bytes;
    if (buffers) {
      p.plugin->want_live(piece.buffer, "a bound buffer");
      range(piece.buffer, piece.offset, piece.bytes, "a binding");
      if (piece.offset % p.plugin->settings.alignment())
        p.plugin->refuse(named(v) + " is bound at an offset that is not aligned");
    }
  }
  if (row && row != desc.dim[0].k) p.plugin->refuse(named(v) + " is not bound as a whole");
  if (bytes < bytes_in(desc, p.bucket)) p.plugin->refuse(named(v) + " is bound with too few bytes");
}

}  // namespace

void compile(brim_program& p, const brim_program_info& sent, bool buffers) {
  const brim_program_info info = taken(&sent, sent.struct_size);
  const brim_graph& graph = *info.graph;
  p.bucket = taken(info.bucket, info.bucket->struct_size);
  p.step = taken(info.step, info.step->struct_size);
  for (uint32_t g = 0; g < info.step->n_groups; ++g) {
    p.group_layouts.push_back(element<brim_group_layout>(p.step.groups, p.step.group_stride, g));
  }
  for (brim_value v = 0; v < graph.n_values; ++v) {
    p.values.push_back(element<brim_value_desc>(graph.values, graph.value_stride, v));
  }
  for (uint32_t i = 0; i < info.n_states; ++i) {
    const auto state = element<brim_program_state>(info.states, info.state_stride, i);
    p.states[state.state] = Kv(state, element<brim_state_desc>(info.state_descs, info.state_desc_stride, state.state));
    p.groups[state.state] = state.group;
    if (buffers) {
      p.plugin->want_live(state.buffer, "a state's buffer");
      range(state.buffer, state.offset, state.n_blocks * p.states[state.state].block_bytes(), "a state");
    }
  }
  for (uint32_t i = 0; i < info.n_bindings; ++i) {
    const auto b = element<brim_binding>(info.bindings, info.binding_stride, i);
    p.bindings[b.value].push_back({b.buffer, b.offset, b.bytes, b.layout_id, b.first_row, b.n_rows});
  }
  if (buffers && (!p.bindings.count(0) || p.bindings[0][0].bytes < kWorkspace)) {
    p.plugin->refuse("the workspace that program_measure asked for is missing");
  }
  for (uint32_t i = 0; i < info.n_nodes; ++i) {
    const auto node = element<brim_node>(graph.nodes, graph.node_stride, info.nodes[i]);
    if (!supported(graph, node)) p.plugin->refuse("a program holds a node that support refused");
    Node copy{node.op, {node.in, node.in + node.n_in}, {node.out, node.out + node.n_out}, {}};
    if (node.attr) {
      uint32_t size = 0;
      std::memcpy(&size, node.attr, sizeof(size));
      const auto* bytes = static_cast<const std::byte*>(node.attr);
      copy.attr.assign(bytes, bytes + size);
    }
    for (const auto* list : {&copy.in, &copy.out}) {
      for (const brim_value v : *list) {
        if (v) check_binding(p, storage_of(p, v), buffers);
      }
    }
    p.nodes.push_back(std::move(copy));
  }
}

void submit(brim_program* program, brim_queue* queue, const brim_run& sent) {
  const brim_run run = taken(&sent, sent.struct_size);
  brim_plugin& plugin = *program->plugin;
  const brim_step_header counts = *run.counts;
  const brim_bucket& bucket = program->bucket;
  if (counts.n_tokens > bucket.n_tokens || counts.n_seqs > bucket.n_seqs || counts.n_outputs > bucket.n_outputs ||
      counts.n_kv > bucket.n_kv) {
    plugin.refuse("a run has counts beyond its program's bucket");
  }
  if (run.step_offset % 64) plugin.refuse("the step block is not aligned to 64 bytes");
  if (run.cancel && *run.cancel) throw Failure{BRIM_CANCELLED, "cancelled before it began"};
  const auto block = std::make_shared<Untouched>(run.step_block, run.step_offset, program->step.bytes, "a step block");
  std::vector<brim_buffer*> uses = {run.step_block};
  for (const auto& [value, pieces] : program->bindings) {
    for (const Piece& piece : pieces) uses.push_back(piece.buffer);
  }
  for (const auto& [index, state] : program->states) uses.push_back(state.storage.buffer);
  queue->submit({[=] {
                   block->check();
                   const Step step{*program, run.step_block->data + run.step_offset, counts};
                   const Piece& scratch = program->bindings.at(0)[0];
                   std::memset(scratch.buffer->data + scratch.offset, 0xff, scratch.bytes);
                   for (const Node& node : program->nodes) {
                     for (const brim_value v : node.out) {
                       if (program->values[v].kind != BRIM_VALUE_STATE) step.poison(v);
                     }
                     compute(step, node);
                   }
                   block->check();
                 },
                 uses, &program->running});
}

// ---- what kernels read ---------------------------------------------------------------------------------------------

uint64_t Step::View::rows() const {
  uint64_t n = 1;
  for (uint32_t i = 0; i + 1 < rank; ++i) n *= dim[i];
  return n;
}

float* Step::View::row(uint64_t r) const {
  uint64_t at = 0;
  for (uint32_t i = rank - 1; i-- > 0;) {
    at += r % dim[i] * stride[i];
    r /= dim[i];
  }
  return reinterpret_cast<float*>(data) + at;
}

int32_t Step::View::integer(uint64_t i) const { return reinterpret_cast<const int32_t*>(data)[i]; }

Step::View Step::view(brim_value v) const {
  const brim_value_desc& desc = program.values[v];
  const brim_bucket real = {sizeof(real),     counts.n_tokens, counts.n_seqs,
                            counts.n_outputs, counts.n_kv,     program.bucket.n_position};
  View view;
  view.dtype = desc.dtype;
  view.rank = desc.rank;
  for (uint32_t i = 0; i < desc.rank; ++i) {
    view.dim[i] = brim_dim_size(desc.dim[i], &real);
    view.stride[i] = desc.stride[i].k;  // supported() wants constants
  }
  const brim_value at = storage_of(program, v);
  const brim_value_desc& base = program.values[at];
  if (base.kind == BRIM_VALUE_INPUT && base.role != BRIM_INPUT_EMBEDDING) {
    const brim_step_layout& s = program.step;
    view.data = block + (base.role == BRIM_INPUT_TOKEN        ? s.token
                         : base.role == BRIM_INPUT_POSITION   ? s.position
                         : base.role == BRIM_INPUT_OUTPUT_ROW ? s.output_row
                                                              : s.adapter);
  } else {
    const Piece& piece = program.bindings.at(at)[0];
    view.data = piece.buffer->data + piece.offset;
  }
  view.data += desc.kind == BRIM_VALUE_VIEW ? desc.offset * brim_dtype_block_bytes(desc.dtype) : 0;
  return view;
}

void Step::load_row(brim_value v, uint64_t row, float* out) const {
  const brim_value_desc& desc = program.values[v];
  const View x = view(v);
  if (desc.kind != BRIM_VALUE_WEIGHT) {
    std::copy_n(x.row(row), x.width(), out);
    return;
  }
  const uint64_t row_bytes = brim_dtype_row_bytes(desc.dtype, x.width());
  for (const Piece& piece : program.bindings.at(v)) {
    if (piece.n_rows && (row < piece.first_row || row >= piece.first_row + piece.n_rows)) continue;
    const std::byte* at = piece.buffer->data + piece.offset + (row - piece.first_row) * row_bytes;
    decode_row(desc.dtype, piece.layout, at, x.width(), out);
    return;
  }
}

void Step::poison(brim_value v) const {
  const Piece& piece = program.bindings.at(v)[0];
  std::memset(piece.buffer->data + piece.offset, 0xff, piece.bytes);
}

}  // namespace brim_async
