// Small graphs by hand, and the form in which a plugin meets them: arrays with strides of the checker's choosing,
// sealed and against untouchable pages.
#pragma once

#include <brim/backend.h>

#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "fenced.hpp"

namespace check {

using Dims = std::vector<brim_dim>;
inline brim_dim fixed(uint32_t k) { return {BRIM_SYM_NONE, k}; }
inline brim_dim tokens(uint32_t k = 1) { return {BRIM_SYM_N_TOKENS, k}; }
inline brim_dim outputs() { return {BRIM_SYM_N_OUTPUTS, 1}; }

class Net {
 public:
  Net() { values.emplace_back(); }

  brim_value add(uint32_t kind, uint32_t role, uint32_t dtype, const Dims& dims);
  brim_value input(uint32_t role);       // TOKEN, POSITION, OUTPUT_ROW
  brim_value embedding(uint32_t width);  // f32 [T, width], given by the host
  brim_value temp(const Dims& dims, uint32_t dtype = BRIM_DTYPE_F32);
  brim_value output(const Dims& dims, uint32_t role = BRIM_OUTPUT_HIDDEN);
  brim_value weight(const Dims& dims, uint32_t dtype, std::vector<std::byte> bytes);
  brim_value weight(const Dims& dims, const std::vector<float>& values);
  // The same elements under other dimensions, row-major.
  brim_value reshaped(brim_value base, const Dims& dims);
  brim_value view(brim_value base, const Dims& dims, const Dims& strides, uint64_t offset);
  brim_value state(const brim_state_desc& desc);
  brim_value next_version(brim_value state);

  // Attributes get their struct_size here; Attr = void where the op has none.
  template <class Attr = std::nullptr_t>
  uint32_t node(uint32_t op, std::vector<brim_value> in, std::vector<brim_value> out, Attr attr = {},
                uint64_t must = 0) {
    std::vector<std::byte> bytes;
    if constexpr (!std::is_same_v<Attr, std::nullptr_t>) {
      attr.struct_size = sizeof(attr);
      bytes.resize(sizeof(attr));
      std::memcpy(bytes.data(), &attr, sizeof(attr));
    }
    return node_bytes(op, std::move(in), std::move(out), std::move(bytes), must);
  }
  uint32_t node_bytes(uint32_t op, std::vector<brim_value> in, std::vector<brim_value> out, std::vector<std::byte> attr,
                      uint64_t must);

  struct Node {
    uint32_t op, rev = 1;
    uint64_t must;
    std::vector<brim_value> in, out;
    std::vector<std::byte> attr;
  };
  std::vector<brim_value_desc> values;
  std::vector<Node> nodes;
  std::vector<brim_state_desc> states;
  std::vector<std::vector<std::byte>> weights;  // by value
};

// Bytes from one element to the next, and how much larger attributes say that they are (a tail of zeros).
struct Strides {
  uint32_t value = sizeof(brim_value_desc) + 24, node = sizeof(brim_node) + 40, binding = sizeof(brim_binding) + 24,
           state = sizeof(brim_program_state) + 8, state_desc = sizeof(brim_state_desc) + 16,
           group = sizeof(brim_group_layout) + 16;
  int32_t attr = 16;
  uint32_t info = sizeof(brim_program_info) + 32, run = sizeof(brim_run) + 24, graph = sizeof(brim_graph) + 16,
           bucket = sizeof(brim_bucket) + 4096, step = sizeof(brim_step_layout) + 16;
  // As a host of this ABI's own version has them.
  static Strides exact();
};

// A graph in the plugin's form; lives on its own.
class Image {
 public:
  Image(const Net& net, const Strides& strides);
  const brim_graph* graph() const { return graph_->as<brim_graph>(); }
  // All of it becomes unreadable: what was to be copied can no longer be looked up.
  void close() const;

 private:
  std::deque<Fenced> parts_;
  std::unique_ptr<Fenced> graph_;
};

// Elements and bytes of a value in a bucket.
uint64_t elements_of(const brim_value_desc& value, const brim_bucket& bucket);
uint64_t bytes_of(const brim_value_desc& value, const brim_bucket& bucket);

brim_state_desc kv_state(uint32_t heads, uint32_t k_width, uint32_t v_width, uint32_t window = 0);

}  // namespace check
