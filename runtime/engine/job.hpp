// One brim_session_step on its way: the rows, how far they have come, what they gave. A session owns one job and uses
// it again and again, so that after the first steps nothing is allocated. The engine works on it between submit and
// done.
#pragma once

#include <brim/brim.h>

#include <array>
#include <atomic>
#include <base/error.hpp>
#include <vector>

namespace brim::engine {

inline constexpr uint32_t kOutputRoles = BRIM_OUTPUT_POOLED + 1;

struct Row {
  int32_t token;
  uint32_t sequence;  // the engine's id
  uint32_t outputs;   // bits (1 << BRIM_OUTPUT_*)
  int32_t adapter;
  uint32_t n_position;
  std::array<int32_t, 4> position;
  std::array<uint32_t, kOutputRoles> output_index;  // per role: which of the job's outputs this row gives
};

// A sequence that the job touches, as it was before.
struct Touched {
  uint32_t sequence;
  uint32_t length;
  uint32_t added = 0;  // rows taken into the step under way
};

struct Job {
  std::vector<Row> rows;
  std::vector<float> embeddings;  // [rows, width] where rows come as embeddings; else empty
  std::vector<Touched> touched;
  const std::atomic<uint32_t>* cancel = nullptr;
  brim_node_time_fn timed = nullptr;  // as brim_step's
  void* timed_user = nullptr;
  std::atomic<uint32_t> abandoned{0};  // set by a session that leaves

  uint32_t guessed = 0;  // rows at its end that may be taken back when it is done: a window keeps what they would free

  size_t next = 0;                                       // first row that has not run
  size_t taken = 0;                                      // rows in the step under way
  std::array<std::vector<float>, kOutputRoles> outputs;  // [n_outputs, width of the role]
  std::array<uint32_t, kOutputRoles> n_outputs{};

  bool active = false;               // submitted and not done; under the engine's lock
  brim_error error = empty_error();  // when done; code OK on success
};

}  // namespace brim::engine
