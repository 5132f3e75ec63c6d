#include "op.hpp"

namespace plain {
namespace {

// Values sized by the context do not exist here (BRIM_DEVICE_ANY_KV), and there are no scalars.
bool followable(const brim_value_desc& v) {
  if (v.kind == BRIM_VALUE_STATE || v.rank < 1 || v.rank > BRIM_MAX_RANK) return false;
  for (uint32_t i = 0; i < v.rank; ++i) {
    if (v.dim[i].sym > BRIM_SYM_N_OUTPUTS || v.dim[i].sym == BRIM_SYM_N_KV) return false;
  }
  return true;
}

bool is_one(brim_dim dim) { return constant(dim) && dim.k == 1; }

bool contiguous_rows(const brim_value_desc& v) {
  return v.kind != BRIM_VALUE_VIEW || is_one(v.dim[v.rank - 1]) || is_one(v.stride[v.rank - 1]);
}

bool whole_blocks(const brim_value_desc& v) {
  const uint32_t block = brim_dtype_block_elements(v.dtype);
  if (block == 1) return true;
  if (!constant(v.dim[v.rank - 1]) || v.dim[v.rank - 1].k % block != 0) return false;
  if (v.kind != BRIM_VALUE_VIEW) return true;
  bool whole = v.offset % block == 0;
  for (uint32_t i = 0; i + 1 < v.rank; ++i) whole = whole && v.stride[i].k % block == 0;
  return whole;
}

}  // namespace

bool Question::tensor(uint32_t i, uint32_t dtype, uint32_t rank) const {
  const brim_value_desc v = in(i);
  return followable(v) && v.dtype == dtype && (rank == 0 || v.rank == rank);
}

bool Question::rows(uint32_t i, uint32_t dtype, uint32_t rank) const {
  return tensor(i, dtype, rank) && contiguous_rows(in(i));
}

bool Question::decodable_rows(uint32_t i, uint32_t rank) const {
  const brim_value_desc v = in(i);
  return decoder(v.dtype) != nullptr && rows(i, v.dtype, rank) && whole_blocks(v);
}

bool Question::makes(uint32_t dtype, uint32_t rank) const {
  const brim_value_desc v = out();
  return followable(v) && v.kind != BRIM_VALUE_VIEW && v.dtype == dtype && (rank == 0 || v.rank == rank);
}

bool same_shape(const brim_value_desc& a, const brim_value_desc& b) {
  bool equal = a.rank == b.rank;
  for (uint32_t i = 0; equal && i < a.rank; ++i) equal = same(a.dim[i], b.dim[i]);
  return equal;
}

}  // namespace plain
