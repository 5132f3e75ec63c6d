// What an op is here: a number, the feature bits that it knows, and a few functions. Each file in ops/ defines one or
// two of them, with everything that concerns them: what is supported, the kernel, the scratch it takes.
//
// To add an op: a file in ops/, its name in the lists below and in program.cpp. LAYER_NORM would be a good first one.
#pragma once

#include "formats.hpp"
#include "state.hpp"
#include "tensor.hpp"

namespace plain {

// ---- asked before there is a program --------------------------------------------------------------------------------

// One node of a graph on trial. Shapes were inferred and checked by the host; what is asked here is whether the kernels
// can do with these dtypes, strides and kinds. "No" is always right, "yes" has to be true.
class Question {
 public:
  Question(const brim_graph& graph, const brim_node& node) : graph_(graph), node_(node) {}

  const brim_node& node() const { return node_; }
  bool has(uint32_t input) const { return input < node_.n_in && node_.in[input] != 0; }
  brim_value_desc in(uint32_t i) const { return value(has(i) ? node_.in[i] : 0); }
  brim_value_desc out() const { return value(node_.n_out == 0 ? 0 : node_.out[0]); }
  bool must(uint64_t bit) const { return (node_.must & bit) != 0; }

  // The attribute; what an older host did not send reads as zero.
  template <class T>
  T attr() const {
    return taken(static_cast<const T*>(node_.attr));
  }

  // Input i is a tensor of this dtype whose rows are contiguous. rank 0: any.
  bool rows(uint32_t i, uint32_t dtype, uint32_t rank = 0) const;
  bool optional_rows(uint32_t i, uint32_t dtype, uint32_t rank = 0) const { return !has(i) || rows(i, dtype, rank); }
  // The same for weights and tables of any format that can be decoded, whose rows are whole blocks.
  bool decodable_rows(uint32_t i, uint32_t rank) const;
  // Input i has no state, block or symbol that kernels cannot follow; rows need not be contiguous.
  bool tensor(uint32_t i, uint32_t dtype, uint32_t rank = 0) const;
  bool state(uint32_t i) const { return in(i).kind == BRIM_VALUE_STATE; }
  bool makes(uint32_t dtype, uint32_t rank = 0) const;

 private:
  brim_value_desc value(brim_value v) const {
    return v < graph_.n_values ? element<brim_value_desc>(graph_.values, v, graph_.value_stride) : brim_value_desc{};
  }

  const brim_graph& graph_;
  const brim_node& node_;
};

bool same_shape(const brim_value_desc& a, const brim_value_desc& b);
inline bool same(brim_dim a, brim_dim b) { return a.sym == b.sym && a.k == b.k; }
inline bool constant(brim_dim dim) { return dim.sym == BRIM_SYM_NONE; }

// ---- in a program ---------------------------------------------------------------------------------------------------

struct Op;

// A node, compiled: everything that a step needs, in one piece.
struct Node {
  const Op* op;
  uint64_t must;  // feature bits of this node
  Operand in[3], out;
  Kv kv;                          // of ops on states
  alignas(8) std::byte attr[64];  // a copy: the graph may be gone

  template <class T>
  T attribute() const {
    static_assert(sizeof(T) <= sizeof attr);
    T out;
    std::memcpy(&out, attr, sizeof out);
    return out;
  }
};

// One run of a program, as kernels see it.
struct Step {
  const std::byte* block;  // the step block
  brim_step_layout layout;
  brim_bucket counts;  // real ones
  std::byte* workspace;
  const volatile uint32_t* cancel;

  Tensor tensor(const Operand& operand) const;
  const int32_t* array(uint64_t offset) const { return reinterpret_cast<const int32_t*>(block + offset); }
  // Kernels ask between rows, so that a cancelled step ends within one row's time. Throws CANCELLED.
  void stop_if_cancelled() const;
};

struct Op {
  uint32_t op;
  uint64_t features;  // bits of brim_node.must
  bool (*supports)(const Question&);
  void (*run)(const Step&, const Node&);
  uint64_t (*workspace)(const Node&, const brim_bucket&) = nullptr;  // bytes of scratch; NULL: none
  // Of an op on a state, whose shape a question does not know: throws where it does not fit the node.
  void (*check)(const Node&) = nullptr;
};

extern const Op kCopy, kGatherRows, kScatterRows, kUnary, kBinary, kAffineClamp, kGlu, kSoftmax, kRmsNorm, kArgmax,
    kMatmul, kRope, kKvWrite, kAttention;

}  // namespace plain
