// A compiled program: the nodes, values, bindings and states of a brim_program_info, copied and checked; and one run of
// it.
#pragma once

#include <map>
#include <span>

#include "state.hpp"
#include "timeline.hpp"

namespace brim_async {

struct Piece {
  brim_buffer* buffer;
  uint64_t offset, bytes, layout, first_row, n_rows;
};

struct Node {
  uint32_t op;
  std::vector<brim_value> in, out;
  std::vector<std::byte> attr;

  template <class T>
  T attribute() const {
    T a{};
    std::memcpy(&a, attr.data(), std::min(sizeof(a), attr.size()));
    return a;
  }
  brim_value input(size_t i) const { return i < in.size() ? in[i] : 0; }
};

// The ops that there are, and whether the kernels compute a node. Pure.
std::span<const brim_op_caps> caps();
bool supported(const brim_graph& graph, const brim_node& node);

}  // namespace brim_async

struct brim_program {
  brim_plugin* plugin = nullptr;
  std::vector<brim_value_desc> values;
  std::vector<brim_async::Node> nodes;
  std::map<brim_value, std::vector<brim_async::Piece>> bindings;  // in order of first_row
  std::map<uint32_t, brim_async::Kv> states;
  std::map<uint32_t, uint32_t> groups;  // of states
  brim_bucket bucket{};
  brim_step_layout step{};
  std::vector<brim_group_layout> group_layouts;
  std::atomic<uint32_t> running{0};
};

namespace brim_async {

// Fills `program` from info. Without buffers where it is only measured. Throws, as a breach by the host, what info
// lacks.
void compile(brim_program& program, const brim_program_info& info, bool buffers);
void submit(brim_program* program, brim_queue* queue, const brim_run& run);

// A step of a program on the device's thread: what kernels read.
struct Step {
  brim_program& program;
  std::byte* block;
  brim_step_header counts;

  // A value's elements where they are stored, with real counts in place of symbols.
  struct View {
    std::byte* data = nullptr;
    uint32_t dtype = 0, rank = 0;
    uint64_t dim[BRIM_MAX_RANK] = {}, stride[BRIM_MAX_RANK] = {};

    uint64_t width() const { return rank ? dim[rank - 1] : 1; }
    uint64_t rows() const;
    // Row r of [rows(), width()], counted over the outer dimensions.
    float* row(uint64_t r) const;
    int32_t integer(uint64_t i) const;  // of a contiguous i32 value
  };
  View view(brim_value v) const;
  // Row of a [rows, n] value as F32: of a weight in any layout, or of a temporary.
  void load_row(brim_value v, uint64_t row, float* out) const;
  const int32_t* array(uint64_t offset) const { return reinterpret_cast<const int32_t*>(block + offset); }
  // NaN over the whole of a value's storage, padding included.
  void poison(brim_value v) const;
};

void compute(const Step& step, const Node& node);

}  // namespace brim_async
