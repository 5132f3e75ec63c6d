// Cuts a graph into segments that run one after the other, each on one device, and lists the values that have to cross
// between devices in front of each. Who runs what is decided elsewhere; this only draws the consequences.
#pragma once

#include <graph/graph.hpp>
#include <span>
#include <vector>

namespace brim::graph {

// A value's storage that is copied from one device's arena to another's.
struct Transfer {
  brim_value value;
  uint32_t from, to;  // devices
};

struct Segment {
  uint32_t device;
  std::vector<Transfer> transfers;  // before it runs
  std::vector<uint32_t> nodes;      // in the graph's order; view nodes are left out, they need no work
};

// device_of[i] is node i's device; of view nodes it is ignored. Throws INTERNAL when a state is used on two devices.
std::vector<Segment> partition(const Graph& graph, std::span<const uint32_t> device_of);

}  // namespace brim::graph
