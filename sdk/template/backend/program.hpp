// A program: the nodes of a brim_program_info compiled into an array of Node, in one block of host memory whose size
// program_measure can tell beforehand to the byte.
#pragma once

#include "device.hpp"
#include "op.hpp"

struct brim_program {
  brim_device* device;
  brim_step_layout step;
  brim_bucket bucket;
  std::byte* workspace;
  uint32_t n_nodes, n_bindings;
  plain::Piece* pieces;  // n_bindings of them, behind the nodes
  plain::Node nodes[1];  // n_nodes of them: the block is that much longer
};

namespace plain {

// What the backend's table says of its ops; the host masks nodes with it before it asks.
const brim_op_caps* op_caps(uint32_t* n);

bool supports(const brim_graph& graph, uint32_t node, uint32_t numerics);
brim_program_cost measure_program(brim_device* device, const brim_program_info& info);
brim_program* create_program(brim_device* device, const brim_program_info& info);
void destroy_program(brim_program* program) noexcept;
void run_program(const brim_program& program, brim_queue* queue, const brim_run& run);

}  // namespace plain
