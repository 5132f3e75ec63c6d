// What this backend can compute: the static table of ops and features, and the verdict on a single node. support() and
// the lowering ask the same function, so that what was promised is what is compiled.
//
// The host has checked every shape when the graph was built; what is judged here is what kernels are not written for.
#pragma once

#include "backend.hpp"

namespace brim_gpu {

inline constexpr uint32_t kCapsCount = 27;
extern const brim_op_caps kCaps[kCapsCount];

struct Verdict {
  const char* why;    // what stands against it; null: it can be computed
  uint32_t in_place;  // bit per input whose storage output 0 may take
};

Verdict judge(const brim_graph& graph, const brim_node& node);

inline bool is_view_op(uint32_t op) { return op >= BRIM_OP_RESHAPE && op <= BRIM_OP_BROADCAST; }
inline bool is_constant(brim_dim dim) { return dim.sym == BRIM_SYM_NONE; }
inline bool has_input(const brim_node& node, uint32_t i) { return i < node.n_in && node.in[i] != 0; }

inline constexpr uint32_t kMostRank = 4;       // of values that kernels step through
inline constexpr uint32_t kMostExperts = 512;  // of MOE_ROUTE: they lie in shared memory
inline constexpr uint32_t kMostKeys = 192;     // d_k of LINEAR_ATTENTION: as many rows of 32 columns lie there
inline constexpr uint32_t kMostKWidth = 640, kMostVWidth = 512;  // of ATTENTION

}  // namespace brim_gpu
