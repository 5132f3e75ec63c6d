// A compiled program: steps grouped into phases, and the tables that a run fills. Everything is allocated when it is
// created; a run only writes into these tables, the workspace and the values.
#pragma once

#include "device/device.hpp"
#include "ops/attention.hpp"
#include "program/arena.hpp"

namespace brim_cpu {

// What a run verifies of the step block for one KV group before a kernel follows its numbers.
struct KvUse {
  brim_group_layout group;
  uint32_t n_blocks;
  uint32_t window;  // of an attention that reads the group; 0: it reads from the first token on
  bool reads, causal, writes;
};

struct Phase {
  uint32_t first_step, n_steps;
  uint32_t chunks;  // of this run
  bool serial;      // of this run: whoever comes to it does all of it, without the others
};

struct PhaseStep {
  Step step;
  uint32_t chained;    // steps of the chain that begins here (schedule.hpp); 0: a step of the chain before it
  const Tensor* rows;  // that the chain goes through
  uint32_t chunks;     // of this run
};

}  // namespace brim_cpu

struct brim_program {
  brim_device* device;
  brim_cpu::Memory memory;
  brim_cpu::Arena arena;
  brim_bucket bucket{};
  brim_step_layout step{};  // its groups are not kept: steps hold their own
  brim_cpu::Array<brim_cpu::PhaseStep> steps;
  brim_cpu::Array<brim_cpu::Phase> phases;
  brim_cpu::Array<brim_cpu::KvUse> kv_uses;
  std::byte* scratch = nullptr;  // of member 0; one per thread, scratch_bytes apart, in the workspace
  uint64_t scratch_bytes = 0;
  uint64_t workspace_bytes = 0;
  uint32_t n_slots = 0;  // that state_read and state_write may name; 0: no op of the program follows them

  explicit brim_program(brim_device* of)
      : device(of),
        memory(of->plugin->api, of->plugin->host),
        arena(memory),
        steps(brim_cpu::HostAllocator<brim_cpu::PhaseStep>(memory)),
        phases(brim_cpu::HostAllocator<brim_cpu::Phase>(memory)),
        kv_uses(brim_cpu::HostAllocator<brim_cpu::KvUse>(memory)) {}
};

namespace brim_cpu {

brim_program* create_program(brim_device* device, const brim_program_info& info);
void measure_program(brim_device* device, const brim_program_info& info, brim_program_cost* out);
void destroy_program(brim_program* program) noexcept;

// Returns OK or CANCELLED; throws on a step block that does not fit the program.
brim_status run_program(brim_program* program, brim_queue* queue, const brim_run& run);

}  // namespace brim_cpu
