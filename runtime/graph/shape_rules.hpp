// The rule of every op: how many inputs and outputs, which attributes and feature bits, which shapes go together and
// what comes out. ops.h says it in words; this is the checked form. A new op is a row of the table in the .cpp.
#pragma once

#include <brim/ops.h>

#include <span>

namespace brim::graph {

// One node on its way into a graph. Inputs are null where an optional one is absent.
struct NodeDraft {
  uint32_t op = 0;
  uint32_t op_rev = 0;
  uint64_t must = 0;           // bits that inputs imply (BIAS, FACTORS) are added
  const void* attr = nullptr;  // the host's own copy, of attribute_size() bytes
  std::span<const brim_value_desc* const> in;
  std::span<const brim_value> in_ids;
  std::span<brim_value_desc> out;  // kind, dtype, rank, dim, stride, base and offset are set here
};

// Bytes of the op's attribute struct in this minor, 0 if it has none. Throws UNSUPPORTED for an op that is not known.
uint32_t attribute_size(uint32_t op);

// Throws INVALID_ARGUMENT or UNSUPPORTED saying what does not fit.
void infer(NodeDraft& node);

// Row-major strides for the dims. Throws UNSUPPORTED where a stride would need the product of two symbols.
void set_contiguous(brim_value_desc& value);

}  // namespace brim::graph
