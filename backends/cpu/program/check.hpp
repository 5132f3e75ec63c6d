// What this backend can compute: the static table of ops and features, and the verdict on a single node. support() and
// program_create ask the same functions, so that what was promised is what is compiled.
//
// The host has checked sizes and dtypes against ops.h when the graph was built (graph.h); what is judged here is what
// kernels are not written for, and kinds of a later minor.
#pragma once

#include <algorithm>
#include <cstring>

#include "brim/backend.h"

namespace brim_cpu {

inline constexpr uint32_t kCapsCount = 27;
extern const brim_op_caps kCaps[kCapsCount];

struct Verdict {
  uint32_t level;            // BRIM_SUPPORT_*
  uint32_t need_contiguous;  // bit per input
  uint32_t in_place;         // bit per input
  const char* why;           // what stands against it; null with YES
};

// Of a node whose op, revision and features the table has; others are refused too.
Verdict judge(const brim_graph& graph, const brim_node& node, uint32_t numerics);

inline bool is_view_op(uint32_t op) { return op >= BRIM_OP_RESHAPE && op <= BRIM_OP_BROADCAST; }

// The attribute of a node as this build knows it: what the sender lacks reads as zero.
template <class Attr>
Attr attr_of(const brim_node& node) {
  Attr own{};
  if (node.attr == nullptr) return own;
  uint32_t size = 0;
  std::memcpy(&size, node.attr, sizeof size);
  std::memcpy(&own, node.attr, std::min<size_t>(size, sizeof own));
  return own;
}

}  // namespace brim_cpu
