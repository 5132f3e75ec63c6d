// Assembles brim_program_info: the same description, with buffers or without, serves program_measure and
// program_create, so that what is measured is what is made.
#pragma once

#include <brim/backend.h>

#include <graph/partition.hpp>
#include <graph/step_layout.hpp>
#include <span>
#include <vector>

namespace brim::graph {

// The values whose storage a segment's nodes touch: weights, temporaries, outputs and embedding inputs, each once.
// States and the step block's inputs are not among them.
std::vector<brim_value> touched(const Graph& graph, const Segment& segment);

class ProgramInfo {
 public:
  // Everything given outlives this object.
  ProgramInfo(const Graph& graph, const Segment& segment, const StepLayout& step, uint32_t numerics,
              std::span<const brim_state_desc> state_descs, std::span<const brim_program_state> states);
  ProgramInfo(const ProgramInfo&) = delete;
  ProgramInfo& operator=(const ProgramInfo&) = delete;

  // One piece of a value; buffer may be null for measuring. n_rows 0: all of the value.
  void bind(brim_value value, brim_buffer* buffer, uint64_t offset, uint64_t bytes, uint64_t layout_id = 0,
            uint64_t first_row = 0, uint64_t n_rows = 0);
  // Binds a value of `rows` outermost rows, cut into pieces of at most max_binding bytes (0: no limit) at row borders.
  void bind_in_pieces(brim_value value, brim_buffer* buffer, uint64_t offset, uint64_t bytes, uint64_t rows,
                      uint64_t max_binding);

  const brim_program_info& view();

 private:
  brim_bucket bucket_;
  std::vector<brim_binding> bindings_;
  brim_program_info view_{};
};

}  // namespace brim::graph
