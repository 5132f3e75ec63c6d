// Programs: one block of host memory with the nodes, what their values are bound to, and copies of all else that a run
// looks at. A run goes through the nodes in order; the items of each are shared out among the host's team.
#pragma once

#include "kernels.hpp"

struct brim_program {
  brim_plugin* plugin;
  uint64_t bytes;  // of this block
  saint::Node* nodes;
  saint::Piece* pieces;
  uint32_t n_nodes, members;
  brim_bucket bucket;
  brim_step_layout step;
  float* scores;
  int32_t first_position;  // for sins::position_baked alone, like what follows
  bool ran;
  const brim_graph* graph;
  std::thread::id maker;
};

namespace saint {

inline constexpr uint32_t kMostMembers = 16;

struct Cost {
  uint32_t members;
  uint64_t workspace, block;
};

inline brim_binding binding_of(const brim_program_info& info, uint32_t i) {
  const uint32_t stride = sins::binding_stride_assumed ? sizeof(brim_binding) : info.binding_stride;
  if (!sins::binding_tail_read) return sized_element<brim_binding>(info.bindings, stride, i);
  return *reinterpret_cast<const brim_binding*>(static_cast<const std::byte*>(info.bindings) + i * uint64_t{stride});
}

inline Cost cost_of(const Services& services, const brim_program_info& info) {
  const brim_graph graph = read(info.graph);
  const brim_bucket bucket = read(info.bucket);
  Cost cost{std::clamp(services.api.team_size(services.host), 1u, kMostMembers), 0, 0};
  for (uint32_t i = 0; i < info.n_nodes; ++i) {
    if (node_of(graph, info.nodes[i]).op == BRIM_OP_ATTENTION)
      cost.workspace = uint64_t{cost.members} * bucket.n_kv * 4;
  }
  // One place for the workspace, too, whose binding program_measure does not have yet.
  uint32_t n_pieces = 1;
  for (uint32_t i = 0; i < info.n_bindings; ++i) n_pieces += binding_of(info, i).value != 0;
  cost.block = sizeof(brim_program) + info.n_nodes * sizeof(Node) + n_pieces * sizeof(Piece);
  return cost;
}

inline brim_status program_measure(brim_device* device, const brim_program_info* theirs, brim_program_cost* out,
                                   brim_error*) {
  const Services& services = services_of(device->plugin);
  const Cost cost = cost_of(services, read(theirs));
  brim_program_cost own{};
  own.workspace = sins::workspace_understated ? cost.workspace / 2 : cost.workspace;
  own.persistent = sins::persistent_understated ? cost.block / 2 : cost.block;
  if (sins::measure_leaks) services.take(64);
  answer(out, own);
  return BRIM_OK;
}

// Reads what program_create was given.
class Compiler {
 public:
  Compiler(brim_program* program, const brim_program_info& info)
      : program_(*program), info_(info), graph_(read(info.graph)), step_(read(info.step)) {
    for (uint32_t i = 0; i < info.n_bindings; ++i) {
      const brim_binding binding = binding_of(info, i);
      auto* data = binding.buffer->data + binding.offset;
      program->pieces[i] = {data, binding.first_row, binding.n_rows};
      if (binding.value == 0) program->scores = reinterpret_cast<float*>(data);
    }
  }

  brim_status compile(Node* out, uint32_t i, brim_error* error) {
    const brim_node node = node_of(graph_, i);
    const char* why = objection(graph_, node);
    const bool refused = sins::says_yes_and_refuses && node.op == BRIM_OP_BINARY &&
                         attribute_of<brim_binary_attr>(node).kind == BRIM_BINARY_POW;
    if (refused) why = "pow is not done yet";
    if (why != nullptr) {
      return fail(error, BRIM_UNSUPPORTED, "node %u, op %u revision %u: %s", i, node.op, node.op_rev, why);
    }
    out->op = node.op;
    out->must = node.must;
    for (uint32_t k = 0; k < 4; ++k) {
      const brim_value value = input_of(node, k);
      out->has[k] = value != 0;
      if (value == 0) continue;
      const bool takes_pieces = k == 0 && (node.op == BRIM_OP_MATMUL || node.op == BRIM_OP_GATHER_ROWS);
      const brim_status status = place(&out->in[k], out, value, takes_pieces, error);
      if (status != BRIM_OK) return status;
    }
    for (uint32_t k = 0; k < node.n_out; ++k) {
      if (value_of(graph_, node.out[k]).kind == BRIM_VALUE_STATE) continue;
      const brim_status status = place(&out->out, out, node.out[k], false, error);
      if (status != BRIM_OK) return status;
    }
    attributes(out, node);
    return BRIM_OK;
  }

 private:
  brim_status place(Tensor* out, Node* node, brim_value value, bool takes_pieces, brim_error* error) {
    const brim_value_desc v = value_of(graph_, value);
    if (v.kind == BRIM_VALUE_STATE) return state(node, v.role, error);
    out->rank = v.rank;
    out->rows = v.dim[0];
    out->row = 1;
    for (uint32_t i = 1; i < v.rank; ++i) out->row *= out->dim[i] = v.dim[i].k;
    out->n = v.rank == 1 ? 1 : v.dim[v.rank - 1].k;
    out->offset = v.kind == BRIM_VALUE_VIEW ? v.offset * 4 : 0;
    const brim_value storage = v.kind == BRIM_VALUE_VIEW ? v.base : value;
    const brim_value_desc base = value_of(graph_, storage);
    if (base.kind == BRIM_VALUE_INPUT && base.role != BRIM_INPUT_EMBEDDING) {
      out->pieces = nullptr;
      out->offset += base.role == BRIM_INPUT_TOKEN        ? step_.token
                     : base.role == BRIM_INPUT_POSITION   ? step_.position
                     : base.role == BRIM_INPUT_OUTPUT_ROW ? step_.output_row
                                                          : step_.adapter;
      return BRIM_OK;
    }
    out->n_pieces = 0;
    for (uint32_t i = 0; i < info_.n_bindings; ++i) {
      const brim_binding binding = binding_of(info_, i);
      if (binding.value != storage) continue;
      if (binding.layout_id != 0) {
        return fail(error, BRIM_INVALID_ARGUMENT, "value %u is bound in layout %llu; there is the plain one only",
                    storage, static_cast<unsigned long long>(binding.layout_id));
      }
      if (out->n_pieces++ == 0) out->pieces = program_.pieces + i;
    }
    if (out->n_pieces == 1 || (out->n_pieces > 1 && takes_pieces)) return BRIM_OK;
    return fail(error, out->n_pieces ? BRIM_UNSUPPORTED : BRIM_INVALID_ARGUMENT,
                "value %u is bound %u times; once was expected (a table or a matrix may come in pieces)", storage,
                out->n_pieces);
  }

  brim_status state(Node* node, uint32_t role, brim_error* error) {
    if (role < info_.n_state_descs) {
      node->state.desc = sized_element<brim_state_desc>(
          info_.state_descs, sins::state_stride_assumed ? sizeof(brim_state_desc) : info_.state_desc_stride, role);
      for (uint32_t i = 0; i < info_.n_states; ++i) {
        const auto s = sized_element<brim_program_state>(
            info_.states, sins::state_stride_assumed ? sizeof(brim_program_state) : info_.state_stride, i);
        if (s.state != role) continue;
        node->state.data = reinterpret_cast<float*>(s.buffer->data + s.offset);
        node->state.n_blocks = s.n_blocks;
        if (s.group < step_.n_groups) {
          const uint32_t stride = sins::group_stride_assumed ? sizeof(brim_group_layout) : step_.group_stride;
          node->state.group = element<brim_group_layout>(step_.groups, stride, s.group);
        }
        return BRIM_OK;
      }
    }
    return fail(error, BRIM_INVALID_ARGUMENT, "the program has no storage for state %u", role);
  }

  void attributes(Node* out, const brim_node& node) const {
    switch (node.op) {
      case BRIM_OP_BINARY:
        out->attr.binary = attribute_of<brim_binary_attr>(node);
        break;
      case BRIM_OP_AFFINE_CLAMP:
        out->attr.affine = attribute_of<brim_affine_attr>(node);
        break;
      case BRIM_OP_GLU:
        out->attr.glu = attribute_of<brim_glu_attr>(node);
        break;
      case BRIM_OP_RMS_NORM:
        out->attr.norm = attribute_of<brim_norm_attr>(node);
        break;
      case BRIM_OP_ROPE:
        out->attr.rope = attribute_of<brim_rope_attr>(node);
        break;
      case BRIM_OP_ATTENTION:
        out->attr.attention = attribute_of<brim_attention_attr>(node);
        break;
      case BRIM_OP_CAUSAL_CONV1D:
        out->attr.conv = attribute_of<brim_conv1d_attr>(node);
        break;
      default:
        break;
    }
  }

  brim_program& program_;
  const brim_program_info& info_;
  const brim_graph graph_;
  const brim_step_layout step_;
};

inline void program_destroy(brim_program* program) {
  const Services services = services_of(program->plugin);
  const uint64_t bytes = program->bytes;
  program->~brim_program();
  if (!sins::leak_per_program) services.give_back(program, bytes);
}

inline brim_status program_create(brim_device* device, const brim_program_info* theirs, brim_program** out,
                                  brim_error* error) {
  if (const brim_status status = lost(device, error); status != BRIM_OK) return status;
  const Services& services = services_of(device->plugin);
  const brim_program_info info = read(theirs);
  const Cost cost = cost_of(services, info);
  void* block = services.take(cost.block);
  if (block == nullptr && !sins::out_of_memory_not_looked_for) {
    return fail_memory(error, cost.block, 0, "no host memory for a program of %u nodes", info.n_nodes);
  }
  std::memset(block, 0, cost.block);
  auto* program = new (block) brim_program{};
  program->plugin = device->plugin;
  program->bytes = cost.block;
  program->nodes = reinterpret_cast<Node*>(program + 1);
  program->pieces = reinterpret_cast<Piece*>(program->nodes + info.n_nodes);
  program->n_nodes = info.n_nodes;
  program->members = cost.members;
  program->bucket = read(info.bucket);
  program->step = read(info.step);
  program->graph = theirs->graph;
  program->maker = std::this_thread::get_id();
  if (sins::prints) std::printf("compiled %u nodes\n", info.n_nodes), std::fflush(stdout);
  Compiler compiler(program, info);
  for (uint32_t i = 0; i < info.n_nodes; ++i) {
    const brim_status status = compiler.compile(program->nodes + i, info.nodes[i], error);
    if (status == BRIM_OK) continue;
    if (!sins::leak_when_create_fails) program_destroy(program);
    return status;
  }
  *out = program;
  return BRIM_OK;
}

struct Task {
  const Frame* frame;
  const Node* node;
  uint64_t items;
  const Services* services;
};

inline void BRIM_CALL run_slice(void* arg, uint32_t member, uint32_t members) {
  const Task& task = *static_cast<Task*>(arg);
  const uint64_t begin = task.items * member / members, end = task.items * (member + 1) / members;
  if (sins::team_in_team && member == 0 && members > 1) {
    task.services->api.team_run(
        task.services->host, 2, [](void*, uint32_t, uint32_t) {}, nullptr);
  }
  compute(*task.frame, *task.node, {begin, end, member, members});
}

inline brim_status program_run(brim_program* program, brim_queue* queue, const brim_run* theirs, brim_error* error) {
  const Services& services = services_of(program->plugin);
  const brim_run run = sins::run_read_past_its_size ? *theirs : read(theirs);
  Frame frame{};
  frame.counts = read(run.counts);
  const brim_bucket& most = frame.bucket = program->bucket;
  if (frame.counts.n_tokens > most.n_tokens || frame.counts.n_seqs > most.n_seqs ||
      frame.counts.n_outputs > most.n_outputs || frame.counts.n_kv > most.n_kv) {
    return fail(error, BRIM_INVALID_ARGUMENT, "the step has %u tokens, %u sequences, %u outputs; the bucket %u, %u, %u",
                frame.counts.n_tokens, frame.counts.n_seqs, frame.counts.n_outputs, most.n_tokens, most.n_seqs,
                most.n_outputs);
  }
  if (sins::runs_on_its_makers_thread && program->maker != std::this_thread::get_id()) {
    return fail(error, BRIM_FAILED_PRECONDITION, "the program was made on another thread");
  }
  if (const brim_status status = lost_at_work(queue->device, error); status != BRIM_OK) return status;
  drain(queue);
  frame.step = run.step_block->data + (sins::step_offset_ignored ? 0 : run.step_offset);
  frame.layout = program->step;
  frame.scores = program->scores;
  if (sins::position_baked) {
    if (!program->ran) program->first_position = frame.ints(frame.layout.position)[0];
    program->ran = true;
    frame.first_position = program->first_position;
  }
  if (sins::graph_kept && program->graph->n_nodes == 0) return BRIM_OK;
  if (sins::leak_per_run) services.take(64);
  if (sins::allocates_in_run) delete[] new (std::nothrow) char[program->n_nodes * 64];
  if (sins::takes_host_memory_in_run) services.give_back(services.take(64), 64);
  if (sins::writes_the_step_block) const_cast<int32_t*>(frame.ints(frame.layout.adapter))[0] = 0;
  for (uint32_t i = 0; i < program->n_nodes; ++i) {
    const Node& node = program->nodes[i];
    if (run.cancel != nullptr && *run.cancel != 0 && !sins::cancel_ignored) {
      if (sins::cancel_wipes_the_state) {
        for (uint32_t k = 0; k < program->n_nodes; ++k) {
          const State& state = program->nodes[k].state;
          if (state.data != nullptr) std::memset(state.data, 0, row_floats(state.desc) * kBlockTokens * 4);
        }
      }
      return fail(error, BRIM_CANCELLED, "the run was cancelled before node %u of %u", i, program->n_nodes);
    }
    Task task{&frame, &node, items_of(frame, node), &services};
    if (task.items == 0) continue;
    if (sins::own_thread && node.op == BRIM_OP_MATMUL) {
      std::thread([&] { run_slice(&task, 0, 1); }).join();
      continue;
    }
    services.api.team_run(services.host, program->members, run_slice, &task);
  }
  return BRIM_OK;
}

}  // namespace saint
