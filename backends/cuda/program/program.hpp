// A program: a graph of kernel launches, made when the program is created and launched again for every step.
//
// What changes from step to step is the step block and its counts. The graph's first node brings the step block to
// device memory and writes a Run block from its own arguments; those are set before each launch and hold for that
// launch, so a program may be in the queue several times, each with its own step. Launches are as wide as the bucket; kernels read
// the real counts and leave the rest. Launches of one level may run side by side, a level waits for the one before it.
#pragma once

#include <gpu/lower.hpp>

#include "device/queue.hpp"

struct brim_program {
  explicit brim_program(brim_cuda::Device* of) : device(of) {}

  brim_cuda::Device* device;
  brim_bucket bucket{};
  uint64_t step_bytes = 0;
  uint32_t launches = 0, levels = 0;
  brim_buffer* tables = nullptr;  // the Run block, the step block's copy, tables that kernels read
  CUgraph graph = nullptr;
  CUgraphExec ready = nullptr;
  CUgraphNode first = nullptr;  // begin_run
  CUfunction begin = nullptr;
};

namespace brim_cuda {

void measure_program(Device* device, const brim_program_info& info, brim_program_cost* out);
brim_program* create_program(Device* device, const brim_program_info& info);
void destroy_program(brim_program* program) noexcept;
void run_program(brim_program* program, brim_queue* queue, const brim_run& run);

// One graph launch; the context is current and the queue mutex held.
void launch_program(brim_program* program, CUstream stream, const Run& run);

}  // namespace brim_cuda
