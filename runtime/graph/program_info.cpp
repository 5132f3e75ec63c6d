#include <algorithm>
#include <base/error.hpp>
#include <graph/program_info.hpp>

namespace brim::graph {

std::vector<brim_value> touched(const Graph& graph, const Segment& segment) {
  std::vector<brim_value> values;
  const auto add = [&](brim_value v) {
    if (v == 0) return;
    const brim_value storage = graph.storage(v);
    const brim_value_desc& desc = graph.value(storage);
    if (desc.kind == BRIM_VALUE_STATE) return;
    if (desc.kind == BRIM_VALUE_INPUT && desc.role != BRIM_INPUT_EMBEDDING) return;
    values.push_back(storage);
  };
  for (const uint32_t index : segment.nodes) {
    const brim_node& node = graph.nodes()[index];
    for (uint32_t j = 0; j < node.n_in; ++j) add(node.in[j]);
    for (uint32_t j = 0; j < node.n_out; ++j) add(node.out[j]);
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

ProgramInfo::ProgramInfo(const Graph& graph, const Segment& segment, const StepLayout& step, uint32_t numerics,
                         std::span<const brim_state_desc> state_descs, std::span<const brim_program_state> states)
    : bucket_(step.bucket()) {
  view_.struct_size = sizeof(view_);
  view_.numerics = numerics;
  view_.graph = &graph.view();
  view_.nodes = segment.nodes.data();
  view_.n_nodes = static_cast<uint32_t>(segment.nodes.size());
  view_.bucket = &bucket_;
  view_.step = &step.view();
  view_.states = states.data();
  view_.n_states = static_cast<uint32_t>(states.size());
  view_.state_stride = sizeof(brim_program_state);
  view_.state_descs = state_descs.data();
  view_.n_state_descs = static_cast<uint32_t>(state_descs.size());
  view_.state_desc_stride = sizeof(brim_state_desc);
}

void ProgramInfo::bind(brim_value value, brim_buffer* buffer, uint64_t offset, uint64_t bytes, uint64_t layout_id,
                       uint64_t first_row, uint64_t n_rows) {
  bindings_.push_back({sizeof(brim_binding), value, buffer, offset, bytes, layout_id, first_row, n_rows});
}

void ProgramInfo::bind_in_pieces(brim_value value, brim_buffer* buffer, uint64_t offset, uint64_t bytes, uint64_t rows,
                                 uint64_t max_binding) {
  if (max_binding == 0 || bytes <= max_binding || rows == 0) return bind(value, buffer, offset, bytes);
  const uint64_t row_bytes = bytes / rows;
  const uint64_t per_piece = max_binding / row_bytes;
  if (per_piece == 0) {
    fail(BRIM_UNSUPPORTED, "a row of {} bytes exceeds the device's largest binding of {} bytes", row_bytes,
         max_binding);
  }
  for (uint64_t row = 0; row < rows; row += per_piece) {
    const uint64_t n = std::min(per_piece, rows - row);
    bind(value, buffer, offset + row * row_bytes, n * row_bytes, 0, row, n);
  }
}

const brim_program_info& ProgramInfo::view() {
  view_.bindings = bindings_.data();
  view_.n_bindings = static_cast<uint32_t>(bindings_.size());
  view_.binding_stride = sizeof(brim_binding);
  return view_;
}

}  // namespace brim::graph
