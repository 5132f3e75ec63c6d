// One step on the devices: composes the step block from rows that were chosen, keeps the compiled programs of each
// bucket, runs the segments in order with the copies between devices, and waits. It knows nothing of jobs and fairness.
#pragma once

#include <atomic>
#include <engine/residency.hpp>
#include <engine/sequences.hpp>
#include <list>
#include <span>

namespace brim::engine {

// One row as the devices will see it; rows of a sequence lie together.
struct StepRow {
  int32_t token;
  uint32_t sequence;  // the engine's id
  uint32_t index;     // place in its sequence
  int32_t adapter;
  std::array<int32_t, 4> position;
  bool wants_output;
  const float* embedding;  // null where rows are tokens
};

class Stepper {
 public:
  Stepper(std::shared_ptr<const negotiator::Plan> plan, const LoadOptions& options);
  ~Stepper();

  // Writes the step block of the rows, which fit the largest bucket. Reads the tables of their sequences only, which
  // nobody changes while their step is under way.
  void compose(std::span<const StepRow> rows, const Sequences& sequences);
  // Copies blocks that two sequences shared, in every state of their groups, and waits for it.
  void copy_blocks(std::span<const BlockCopy> copies);
  // Runs what compose() wrote and waits for it. Returns CANCELLED when *cancel (may be null) became nonzero in time;
  // throws what devices report.
  brim_status run(const std::atomic<uint32_t>* cancel);
  // The same with every node as a program of its own, each waited for and told.
  brim_status run_timed(const std::atomic<uint32_t>* cancel, brim_node_time_fn tell, void* user);
  // F32 rows of an output of the step that ran: [n_outputs, width]; sequence by sequence for POOLED.
  const float* output(uint32_t role) const;
  // Values of one row of that output; 0 where the plan has not asked for it.
  uint32_t output_width(uint32_t role) const;
  // The place of a sequence among those of the composed step.
  uint32_t sequence_index(uint32_t row) const { return row_sequence_[row]; }

  // Compiles what the first steps will need.
  void warm_up(const LoadOptions& options);
  Residency& residency() { return residency_; }

 private:
  struct Compiled {
    const graph::Graph* graph;
    uint32_t n_tokens, n_kv;
    std::unique_ptr<graph::StepLayout> layout;
    // One per segment.
    std::vector<Program> programs;
    std::vector<std::vector<uint32_t>> owners;  // the other devices in whose memory it works
  };

  // Waits for what is under way on any device.
  void settle();
  Compiled& compiled(const negotiator::Variant& variant, const brim_bucket& bucket);
  void prepare(size_t segment);
  void copy_across(const graph::Transfer& t);
  brim_status run_program(uint32_t device, brim_program* program, const std::atomic<uint32_t>* cancel);

  std::shared_ptr<const negotiator::Plan> plan_;
  Residency residency_;
  std::vector<graph::GroupShape> groups_;
  std::list<Compiled> programs_;  // most recently used first
  // The composed step.
  const negotiator::Variant* variant_ = nullptr;
  Compiled* current_ = nullptr;
  brim_step_header counts_{};
  std::vector<uint32_t> row_sequence_;  // [rows]
};

}  // namespace brim::engine
