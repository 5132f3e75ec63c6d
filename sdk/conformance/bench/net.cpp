#include "net.hpp"

#include <algorithm>

namespace check {

brim_value Net::add(uint32_t kind, uint32_t role, uint32_t dtype, const Dims& dims) {
  brim_value_desc v{};
  v.kind = kind;
  v.role = role;
  v.dtype = dtype;
  v.rank = static_cast<uint32_t>(dims.size());
  std::copy(dims.begin(), dims.end(), v.dim);
  v.producer = BRIM_NO_NODE;
  // Row-major; a symbol can only be in the outermost dimension of what is built here, so strides are constants.
  uint32_t stride = 1;
  for (uint32_t i = v.rank; i-- > 0;) {
    v.stride[i] = fixed(stride);
    stride *= v.dim[i].k;
  }
  values.push_back(v);
  weights.resize(values.size());
  return static_cast<brim_value>(values.size() - 1);
}

brim_value Net::input(uint32_t role) {
  switch (role) {
    case BRIM_INPUT_POSITION:
      return add(BRIM_VALUE_INPUT, role, BRIM_DTYPE_I32, {tokens(), fixed(1)});
    case BRIM_INPUT_OUTPUT_ROW:
      return add(BRIM_VALUE_INPUT, role, BRIM_DTYPE_I32, {outputs()});
    default:
      return add(BRIM_VALUE_INPUT, role, BRIM_DTYPE_I32, {tokens()});
  }
}
brim_value Net::embedding(uint32_t width) {
  return add(BRIM_VALUE_INPUT, BRIM_INPUT_EMBEDDING, BRIM_DTYPE_F32, {tokens(), fixed(width)});
}
brim_value Net::temp(const Dims& dims, uint32_t dtype) { return add(BRIM_VALUE_TEMP, 0, dtype, dims); }
brim_value Net::output(const Dims& dims, uint32_t role) { return add(BRIM_VALUE_OUTPUT, role, BRIM_DTYPE_F32, dims); }

brim_value Net::weight(const Dims& dims, uint32_t dtype, std::vector<std::byte> bytes) {
  const brim_value v = add(BRIM_VALUE_WEIGHT, static_cast<uint32_t>(values.size()), dtype, dims);
  weights[v] = std::move(bytes);
  return v;
}
brim_value Net::weight(const Dims& dims, const std::vector<float>& data) {
  std::vector<std::byte> bytes(data.size() * sizeof(float));
  std::memcpy(bytes.data(), data.data(), bytes.size());
  return weight(dims, BRIM_DTYPE_F32, std::move(bytes));
}

brim_value Net::reshaped(brim_value base, const Dims& dims) {
  const brim_value v = add(BRIM_VALUE_VIEW, 0, values[base].dtype, dims);
  values[v].base = base;
  return v;
}
brim_value Net::view(brim_value base, const Dims& dims, const Dims& strides, uint64_t offset) {
  const brim_value v = reshaped(base, dims);
  values[v].offset = offset;
  std::copy(strides.begin(), strides.end(), values[v].stride);
  return v;
}

brim_value Net::state(const brim_state_desc& desc) {
  states.push_back(desc);
  return add(BRIM_VALUE_STATE, static_cast<uint32_t>(states.size() - 1), BRIM_DTYPE_NONE, {});
}
brim_value Net::next_version(brim_value state) {
  return add(BRIM_VALUE_STATE, values[state].role, BRIM_DTYPE_NONE, {});
}

uint32_t Net::node_bytes(uint32_t op, std::vector<brim_value> in, std::vector<brim_value> out,
                         std::vector<std::byte> attr, uint64_t must) {
  const auto index = static_cast<uint32_t>(nodes.size());
  for (const brim_value v : out) values[v].producer = index;
  for (const brim_value v : in) {
    if (v == 0) continue;
    ++values[v].n_uses;
    if (values[v].kind == BRIM_VALUE_VIEW) ++values[values[v].base].n_uses;
  }
  for (const brim_value v : out) {
    if (values[v].kind == BRIM_VALUE_OUTPUT) ++values[v].n_uses;
  }
  nodes.push_back({op, 1, must, std::move(in), std::move(out), std::move(attr)});
  return index;
}

Strides Strides::exact() {
  Strides s;
  s.value = sizeof(brim_value_desc), s.node = sizeof(brim_node), s.binding = sizeof(brim_binding);
  s.state = sizeof(brim_program_state), s.state_desc = sizeof(brim_state_desc), s.group = sizeof(brim_group_layout);
  s.attr = 0;
  s.info = sizeof(brim_program_info), s.run = sizeof(brim_run), s.graph = sizeof(brim_graph);
  s.bucket = sizeof(brim_bucket), s.step = sizeof(brim_step_layout);
  return s;
}

Image::Image(const Net& net, const Strides& strides) {
  std::vector<brim_node> nodes;
  for (const Net::Node& node : net.nodes) {
    brim_node n{};
    n.op = node.op;
    n.op_rev = node.rev;
    n.must = node.must;
    n.n_in = static_cast<uint32_t>(node.in.size());
    n.n_out = static_cast<uint32_t>(node.out.size());
    n.in = parts_.emplace_back(node.in.data(), node.in.size() * sizeof(brim_value), 4).as<brim_value>();
    n.out = parts_.emplace_back(node.out.data(), node.out.size() * sizeof(brim_value), 4).as<brim_value>();
    if (!node.attr.empty()) {
      const auto size = static_cast<uint32_t>(static_cast<int64_t>(node.attr.size()) + strides.attr);
      const Fenced& attr = parts_.emplace_back(uint64_t{size}, 4);
      std::memcpy(attr.data(), node.attr.data(), std::min<size_t>(size, node.attr.size()));
      std::memcpy(attr.data(), &size, sizeof(size));
      n.attr = attr.data();
    }
    n.layer = 0;
    nodes.push_back(n);
  }
  brim_graph graph{};
  graph.phase = BRIM_PHASE_PREFILL;
  graph.values = parts_.emplace_back(fenced_array(net.values, strides.value)).data();
  graph.n_values = static_cast<uint32_t>(net.values.size());
  graph.value_stride = strides.value;
  graph.nodes = parts_.emplace_back(fenced_array(nodes, strides.node)).data();
  graph.n_nodes = static_cast<uint32_t>(nodes.size());
  graph.node_stride = strides.node;
  graph.hash[0] = 0x5eed, graph.hash[1] = net.nodes.size();
  graph_ = std::make_unique<Fenced>(fenced_struct(graph, strides.graph));
  for (const Fenced& part : parts_) part.seal();
  graph_->seal();
}

void Image::close() const {
  for (const Fenced& part : parts_) part.close();
  graph_->close();
}

uint64_t elements_of(const brim_value_desc& value, const brim_bucket& bucket) {
  uint64_t n = 1;
  for (uint32_t i = 0; i < value.rank; ++i) n *= brim_dim_size(value.dim[i], &bucket);
  return n;
}

uint64_t bytes_of(const brim_value_desc& value, const brim_bucket& bucket) {
  return elements_of(value, bucket) / brim_dtype_block_elements(value.dtype) * brim_dtype_block_bytes(value.dtype);
}

brim_state_desc kv_state(uint32_t heads, uint32_t k_width, uint32_t v_width, uint32_t window) {
  brim_state_desc s{};
  s.struct_size = sizeof(s);
  s.kind = window ? BRIM_STATE_KV_WINDOW : BRIM_STATE_KV_FULL;
  s.n_head = heads;
  s.k_width = k_width;
  s.v_width = v_width;
  s.window = window;
  return s;
}

}  // namespace check
