#include <base/error.hpp>
#include <graph/partition.hpp>
#include <map>
#include <set>

namespace brim::graph {

std::vector<Segment> partition(const Graph& graph, std::span<const uint32_t> device_of) {
  std::vector<Segment> segments;
  std::map<uint32_t, uint32_t> state_device;                       // state -> the one device that touches it
  std::vector<std::set<uint32_t>> present(graph.values().size());  // where a temp's bytes are
  for (uint32_t i = 0; i < graph.nodes().size(); ++i) {
    const brim_node& node = graph.nodes()[i];
    if (is_view_op(node.op)) continue;
    const uint32_t device = device_of[i];
    if (segments.empty() || segments.back().device != device) segments.push_back({device, {}, {}});
    Segment& segment = segments.back();
    for (uint32_t j = 0; j < node.n_in; ++j) {
      if (node.in[j] == 0) continue;
      const brim_value storage = graph.storage(node.in[j]);
      const brim_value_desc& desc = graph.value(storage);
      if (desc.kind == BRIM_VALUE_STATE) {
        if (state_device.try_emplace(desc.role, device).first->second != device) {
          fail(BRIM_INTERNAL, "state {} is used on two devices", desc.role);
        }
      } else if (desc.kind == BRIM_VALUE_TEMP || desc.kind == BRIM_VALUE_OUTPUT) {
        if (present[storage].insert(device).second) {
          segment.transfers.push_back({storage, device_of[desc.producer], device});
        }
      }
    }
    for (uint32_t j = 0; j < node.n_out; ++j) present[node.out[j]].insert(device);
    segment.nodes.push_back(i);
  }
  return segments;
}

}  // namespace brim::graph
