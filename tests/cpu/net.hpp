// Small graphs by hand, and their programs: values with a buffer each, a step block filled from a list of sequences.
#pragma once

#include <algorithm>
#include <cmath>
#include <deque>
#include <random>

#include "host.hpp"

namespace cpu_test {

using Dims = std::vector<brim_dim>;
inline brim_dim n(uint32_t k) { return {BRIM_SYM_NONE, k}; }
inline brim_dim tokens(uint32_t k = 1) { return {BRIM_SYM_N_TOKENS, k}; }
inline brim_dim outputs() { return {BRIM_SYM_N_OUTPUTS, 1}; }

using Floats = std::vector<float>;

inline Floats random_floats(size_t count, uint32_t seed, float scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, scale);
  Floats values(count);
  for (float& v : values) v = normal(generator);
  return values;
}

class Net {
 public:
  Net() { values_.push_back({}); }

  brim_value add(uint32_t kind, uint32_t role, uint32_t dtype, const Dims& dims) {
    brim_value_desc v{};
    v.kind = kind;
    v.role = role;
    v.dtype = dtype;
    v.rank = static_cast<uint32_t>(dims.size());
    std::copy(dims.begin(), dims.end(), v.dim);
    v.producer = BRIM_NO_NODE;
    values_.push_back(v);
    return static_cast<brim_value>(values_.size() - 1);
  }
  brim_value embedding(const Dims& dims) { return add(BRIM_VALUE_INPUT, BRIM_INPUT_EMBEDDING, BRIM_DTYPE_F32, dims); }
  brim_value token() { return add(BRIM_VALUE_INPUT, BRIM_INPUT_TOKEN, BRIM_DTYPE_I32, {tokens()}); }
  brim_value position() { return add(BRIM_VALUE_INPUT, BRIM_INPUT_POSITION, BRIM_DTYPE_I32, {tokens(), n(1)}); }
  brim_value output_row() { return add(BRIM_VALUE_INPUT, BRIM_INPUT_OUTPUT_ROW, BRIM_DTYPE_I32, {outputs()}); }
  brim_value temp(const Dims& dims, uint32_t dtype = BRIM_DTYPE_F32) { return add(BRIM_VALUE_TEMP, 0, dtype, dims); }
  brim_value output(const Dims& dims, uint32_t dtype = BRIM_DTYPE_F32) {
    return add(BRIM_VALUE_OUTPUT, BRIM_OUTPUT_HIDDEN, dtype, dims);
  }
  brim_value weight(const Dims& dims, uint32_t dtype, const void* data, size_t bytes) {
    const brim_value v = add(BRIM_VALUE_WEIGHT, 0, dtype, dims);
    const auto* from = static_cast<const std::byte*>(data);
    weights_.resize(values_.size());
    weights_[v].assign(from, from + bytes);
    return v;
  }
  brim_value weight(const Dims& dims, const Floats& data) {
    return weight(dims, BRIM_DTYPE_F32, data.data(), data.size() * sizeof(float));
  }
  brim_value weight(const Dims& dims, const std::vector<int32_t>& data) {
    return weight(dims, BRIM_DTYPE_I32, data.data(), data.size() * sizeof(int32_t));
  }
  brim_value view(brim_value base, const Dims& dims, const Dims& strides, uint64_t offset = 0) {
    const brim_value v = add(BRIM_VALUE_VIEW, 0, values_[base].dtype, dims);
    values_[v].base = base;
    values_[v].offset = offset;
    std::copy(strides.begin(), strides.end(), values_[v].stride);
    return v;
  }
  // A new state; later versions of it are `version(state)`.
  brim_value state(const brim_state_desc& desc) {
    states.push_back(desc);
    return add(BRIM_VALUE_STATE, static_cast<uint32_t>(states.size() - 1), BRIM_DTYPE_NONE, {});
  }
  brim_value version(brim_value state) { return add(BRIM_VALUE_STATE, values_[state].role, BRIM_DTYPE_NONE, {}); }

  template <class Attr = uint32_t>
  uint32_t node(uint32_t op, std::vector<brim_value> in, std::vector<brim_value> out, Attr attr = {},
                uint64_t must = 0) {
    kept_.emplace_back(std::move(in));
    brim_node made{};
    made.op = op;
    made.op_rev = 1;
    made.must = must;
    made.n_in = static_cast<uint32_t>(kept_.back().size());
    made.in = kept_.back().data();
    kept_.emplace_back(std::move(out));
    made.n_out = static_cast<uint32_t>(kept_.back().size());
    made.out = kept_.back().data();
    if constexpr (!std::is_same_v<Attr, uint32_t>) {
      attr.struct_size = sizeof attr;
      attributes_.emplace_back(sizeof attr);
      std::memcpy(attributes_.back().data(), &attr, sizeof attr);
      made.attr = attributes_.back().data();
    }
    nodes_.push_back(made);
    return static_cast<uint32_t>(nodes_.size() - 1);
  }

  brim_graph graph() const {
    brim_graph g{};
    g.struct_size = sizeof g;
    g.phase = BRIM_PHASE_PREFILL;
    g.values = values_.data();
    g.n_values = static_cast<uint32_t>(values_.size());
    g.value_stride = sizeof(brim_value_desc);
    g.nodes = nodes_.data();
    g.n_nodes = static_cast<uint32_t>(nodes_.size());
    g.node_stride = sizeof(brim_node);
    return g;
  }
  const brim_value_desc& desc(brim_value v) const { return values_[v]; }
  const std::vector<std::byte>* data(brim_value v) const {
    return v < weights_.size() && values_[v].kind == BRIM_VALUE_WEIGHT ? &weights_[v] : nullptr;
  }

  std::vector<brim_state_desc> states;

 private:
  std::vector<brim_value_desc> values_;
  std::vector<brim_node> nodes_;
  std::deque<std::vector<brim_value>> kept_;
  std::deque<std::vector<std::byte>> attributes_;
  std::vector<std::vector<std::byte>> weights_;
};

inline brim_state_desc kv_state(uint32_t heads, uint32_t k_width, uint32_t v_width, uint32_t window = 0) {
  brim_state_desc state{};
  state.struct_size = sizeof state;
  state.kind = window == 0 ? BRIM_STATE_KV_FULL : BRIM_STATE_KV_WINDOW;
  state.n_head = heads;
  state.k_width = k_width;
  state.v_width = v_width;
  state.window = window;
  return state;
}

// Rows of one sequence in a step. Logical block i of the sequence lies in physical block blocks[i].
struct Sequence {
  uint32_t rows;
  uint32_t length_after;  // visible tokens after this step
  std::vector<uint32_t> blocks;
  uint32_t kv_first = 0;  // tokens before the table's first entry
  int32_t state_read = -1, state_write = -1;
};

struct Options {
  uint32_t numerics = BRIM_NUMERICS_STRICT;
  uint32_t kv = BRIM_DTYPE_F32;
  uint32_t n_blocks = 0;
  uint32_t pieces = 1;  // of every weight matrix
};

// A program of all nodes of a net, with buffers for all its values. States may be another program's.
class Program {
 public:
  Program(Machine& machine, const Net& net, brim_bucket bucket, Options options = {}, Program* states_of = nullptr)
      : machine_(machine), net_(net), bucket_(bucket), options_(options) {
    bucket_.struct_size = sizeof bucket_;
    bucket_.n_position = 1;
    graph_ = net.graph();
    lay_out_step();
    lay_out_states(states_of);
    bind();
  }
  ~Program() {
    if (program != nullptr) machine_.backend->program_destroy(program);
    for (brim_buffer* buffer : owned_) machine_.backend->buffer_free(buffer);
  }
  Program(const Program&) = delete;

  brim_program_info info(bool with_buffers) {
    for (brim_binding& b : bindings_) {
      if (!with_buffers) b.buffer = nullptr;
    }
    nodes_.resize(graph_.n_nodes);
    for (uint32_t i = 0; i < graph_.n_nodes; ++i) nodes_[i] = i;
    brim_program_info info{};
    info.struct_size = sizeof info;
    info.numerics = options_.numerics;
    info.graph = &graph_;
    info.nodes = nodes_.data();
    info.n_nodes = graph_.n_nodes;
    info.bucket = &bucket_;
    info.step = &layout_;
    info.bindings = bindings_.data();
    info.n_bindings = static_cast<uint32_t>(bindings_.size());
    info.binding_stride = sizeof(brim_binding);
    info.states = states_.data();
    info.n_states = static_cast<uint32_t>(states_.size());
    info.state_stride = sizeof(brim_program_state);
    info.state_descs = net_.states.data();
    info.n_state_descs = static_cast<uint32_t>(net_.states.size());
    info.state_desc_stride = sizeof(brim_state_desc);
    return info;
  }

  brim_status create() {
    std::vector<brim_binding> bound = bindings_;
    brim_program_info measured = info(false);
    cost.struct_size = sizeof cost;
    brim_status status = machine_.backend->program_measure(machine_.device, &measured, &cost, &machine_.error);
    bindings_ = bound;
    if (status != BRIM_OK) return status;
    workspace_ = own(cost.workspace);
    bindings_.push_back(binding(0, workspace_, cost.workspace));
    brim_program_info full = info(true);
    const int64_t before = machine_.host.live;
    status = machine_.backend->program_create(machine_.device, &full, &program, &machine_.error);
    held = machine_.host.live - before;
    return status;
  }

  // Fills the step block's header and arrays. Positions go on from the tokens seen before.
  void step(const std::vector<Sequence>& sequences, const std::vector<int32_t>& token_ids = {},
            const std::vector<int32_t>& output_rows = {}) {
    std::byte* at = machine_.map(step_);
    std::memset(at, 0, layout_.bytes);
    brim_step_header header{};
    header.struct_size = sizeof header;
    header.n_seqs = static_cast<uint32_t>(sequences.size());
    header.n_outputs = static_cast<uint32_t>(output_rows.size());
    auto ints = [&](uint64_t offset) { return reinterpret_cast<int32_t*>(at + offset); };
    const brim_group_layout& group = group_;
    for (uint32_t t = 0; t < bucket_.n_tokens; ++t) ints(layout_.sequence)[t] = ints(group.kv_slot)[t] = -1;
    for (uint64_t i = 0; i < static_cast<uint64_t>(bucket_.n_seqs) * group.max_blocks; ++i)
      ints(group.block_table)[i] = -1;
    int32_t row = 0;
    for (uint32_t s = 0; s < sequences.size(); ++s) {
      const Sequence& sequence = sequences[s];
      ints(layout_.q_begin)[s] = row;
      ints(group.kv_len)[s] = static_cast<int32_t>(sequence.length_after);
      ints(group.kv_first)[s] = static_cast<int32_t>(sequence.kv_first);
      ints(layout_.state_read)[s] = sequence.state_read;
      ints(layout_.state_write)[s] = sequence.state_write;
      const uint32_t first_block = sequence.kv_first / 32;
      for (uint32_t i = 0; i * 32 + sequence.kv_first < sequence.length_after && !sequence.blocks.empty(); ++i) {
        ints(group.block_table)[s * group.max_blocks + i] = static_cast<int32_t>(sequence.blocks[first_block + i]);
      }
      for (uint32_t r = 0; r < sequence.rows; ++r, ++row) {
        const uint32_t place = sequence.length_after - sequence.rows + r;
        ints(layout_.sequence)[row] = static_cast<int32_t>(s);
        ints(layout_.position)[row] = static_cast<int32_t>(place);
        if (!sequence.blocks.empty()) {
          ints(group.kv_slot)[row] = static_cast<int32_t>(sequence.blocks[place / 32] * 32 + place % 32);
        }
      }
      header.n_kv = std::max(header.n_kv, sequence.length_after);
    }
    for (uint32_t s = static_cast<uint32_t>(sequences.size()); s <= bucket_.n_seqs; ++s) ints(layout_.q_begin)[s] = row;
    header.n_tokens = static_cast<uint32_t>(row);
    for (size_t i = 0; i < token_ids.size(); ++i) ints(layout_.token)[i] = token_ids[i];
    for (size_t i = 0; i < output_rows.size(); ++i) ints(layout_.output_row)[i] = output_rows[i];
    std::memcpy(at, &header, sizeof header);
  }

  brim_status run(const volatile uint32_t* cancel = nullptr) {
    brim_run run{};
    run.struct_size = sizeof run;
    run.step_block = step_;
    run.counts = reinterpret_cast<const brim_step_header*>(machine_.map(step_));
    run.cancel = cancel;
    return machine_.backend->program_run(program, machine_.queue, &run, &machine_.error);
  }

  // A step without KV: `rows` tokens of one sequence, as many outputs.
  void run_rows(uint32_t rows) {
    step({{rows, rows, {}}});
    auto* header = reinterpret_cast<brim_step_header*>(machine_.map(step_));
    header->n_outputs = 0;
    REQUIRE_MESSAGE(run() == BRIM_OK, machine_.error.message);
  }

  template <class T = float>
  T* at(brim_value v) {
    return reinterpret_cast<T*>(machine_.map(buffers_[v]));
  }
  Floats read(brim_value v, size_t count) { return Floats(at(v), at(v) + count); }
  std::byte* step_block() { return machine_.map(step_); }
  const brim_step_layout& layout() const { return layout_; }
  const brim_group_layout& group() const { return group_; }
  const std::vector<brim_program_state>& states() const { return states_; }

  brim_program* program = nullptr;
  brim_program_cost cost{};
  int64_t held = 0;  // host bytes that the program took

 private:
  brim_buffer* own(uint64_t bytes) {
    owned_.push_back(machine_.buffer(bytes));
    return owned_.back();
  }
  static brim_binding binding(brim_value v, brim_buffer* buffer, uint64_t bytes) {
    brim_binding b{};
    b.struct_size = sizeof b;
    b.value = v;
    b.buffer = buffer;
    b.bytes = bytes;
    return b;
  }

  void lay_out_step() {
    uint64_t at = 64;
    const auto place = [&](uint64_t count) {
      const uint64_t here = at;
      at += (count * 4 + 63) / 64 * 64;
      return here;
    };
    const uint64_t t = bucket_.n_tokens, s = bucket_.n_seqs;
    layout_.struct_size = sizeof layout_;
    layout_.token = place(t);
    layout_.position = place(t);
    layout_.sequence = place(t);
    layout_.q_begin = place(s + 1);
    layout_.state_read = place(s);
    layout_.state_write = place(s);
    layout_.output_row = place(bucket_.n_outputs);
    layout_.adapter = place(t);
    group_.kv_slot = place(t);
    group_.kv_len = place(s);
    group_.kv_first = place(s);
    group_.max_blocks = std::max(1u, (bucket_.n_kv + 31) / 32);
    group_.block_table = place(s * group_.max_blocks);
    group_.block_tokens = 32;
    layout_.bytes = at;
    layout_.n_groups = 1;
    layout_.groups = &group_;
    layout_.group_stride = sizeof group_;
    step_ = own(at);
  }

  void lay_out_states(Program* states_of) {
    if (states_of != nullptr) {
      states_ = states_of->states_;
      return;
    }
    for (uint32_t i = 0; i < net_.states.size(); ++i) {
      brim_state_layout layout{};
      layout.struct_size = sizeof layout;
      const bool slots = net_.states[i].kind >= BRIM_STATE_CONV;
      const uint32_t dtype = slots ? BRIM_DTYPE_F32 : options_.kv;
      REQUIRE(machine_.backend->state_layout(machine_.device, &net_.states[i], dtype, &layout, &machine_.error) ==
              BRIM_OK);
      brim_program_state state{};
      state.struct_size = sizeof state;
      state.state = i;
      state.dtype = dtype;
      state.layout_id = layout.layout_id;
      state.n_blocks = options_.n_blocks;
      state.buffer = own(layout.block_bytes * options_.n_blocks);
      states_.push_back(state);
    }
  }

  void bind() {
    buffers_.resize(graph_.n_values);
    for (brim_value v = 1; v < graph_.n_values; ++v) {
      const brim_value_desc& desc = net_.desc(v);
      if (desc.kind == BRIM_VALUE_VIEW || desc.kind == BRIM_VALUE_STATE) continue;
      if (desc.kind == BRIM_VALUE_INPUT && desc.role != BRIM_INPUT_EMBEDDING) continue;
      uint64_t elements = 1;
      for (uint32_t i = 0; i < desc.rank; ++i) elements *= brim_dim_size(desc.dim[i], &bucket_);
      const uint64_t bytes = elements / brim_dtype_block_elements(desc.dtype) * brim_dtype_block_bytes(desc.dtype);
      const std::vector<std::byte>* data = net_.data(v);
      const uint64_t rows = desc.rank == 0 ? 1 : brim_dim_size(desc.dim[0], &bucket_);
      if (data != nullptr && desc.rank >= 2 && options_.pieces > 1 && rows >= options_.pieces) {
        for (uint32_t p = 0; p < options_.pieces; ++p) {
          const uint64_t first = rows * p / options_.pieces, last = rows * (p + 1) / options_.pieces;
          const uint64_t row = bytes / rows;
          brim_buffer* piece = own((last - first) * row);
          std::memcpy(machine_.map(piece), data->data() + first * row, (last - first) * row);
          brim_binding b = binding(v, piece, (last - first) * row);
          b.first_row = first;
          b.n_rows = last - first;
          bindings_.push_back(b);
        }
        continue;
      }
      buffers_[v] = own(bytes);
      if (data != nullptr) std::memcpy(machine_.map(buffers_[v]), data->data(), bytes);
      bindings_.push_back(binding(v, buffers_[v], bytes));
    }
  }

  Machine& machine_;
  const Net& net_;
  brim_bucket bucket_;
  Options options_;
  brim_graph graph_{};
  brim_step_layout layout_{};
  brim_group_layout group_{};
  brim_buffer *step_ = nullptr, *workspace_ = nullptr;
  std::vector<brim_buffer*> owned_, buffers_;
  std::vector<brim_binding> bindings_;
  std::vector<brim_program_state> states_;
  std::vector<uint32_t> nodes_;
};

inline brim_bucket bucket_of(uint32_t n_tokens, uint32_t n_seqs = 1, uint32_t n_kv = 32, uint32_t n_outputs = 1) {
  brim_bucket bucket{};
  bucket.n_tokens = n_tokens;
  bucket.n_seqs = n_seqs;
  bucket.n_kv = n_kv;
  bucket.n_outputs = n_outputs;
  return bucket;
}

// sqrt(sum (a - b)^2 / sum b^2)
template <class A, class B>
double rms_error(const A& got, const B& expected) {
  double difference = 0, size = 1e-300;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double d = static_cast<double>(got[i]) - static_cast<double>(expected[i]);
    difference += d * d;
    size += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return std::sqrt(difference / size);
}

inline bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace cpu_test
