// From the graph's values to addresses: the bindings of a program, checked against the sizes of its bucket.
//
// While a program is only measured there are no buffers; addresses are then offsets from nowhere that nobody follows.
#pragma once

#include "kv.hpp"
#include "schedule.hpp"

namespace brim_gpu {

inline constexpr uint64_t kInStep = 1ull << 63;  // of an address: an offset into the step block (kernels/common.glsl)

struct Tensor {
  uint64_t address;
  uint32_t dtype, rank;
  brim_dim dim[BRIM_MAX_RANK];
  uint32_t stride[BRIM_MAX_RANK];  // elements
};

class Values {
 public:
  Values(const brim_program_info& info, bool live, Memory memory);

  const brim_value_desc& desc(brim_value value) const { return *brim_graph_value(info_.graph, value); }
  uint64_t size(brim_dim dim) const { return brim_dim_size(dim, info_.bucket); }

  // Of an input, weight, temp, output or a view of one. Fails on a value that lies in several pieces.
  Tensor tensor(brim_value value) const;
  // A weight by rows of its outermost dimension, in as many pieces as it was bound in; at least one.
  struct Piece {
    uint64_t address, first_row, n_rows;
  };
  Array<Piece> pieces(brim_value value, Memory memory) const;
  // Bytes of an unblocked or blocked row of the second innermost dimension.
  uint64_t row_bytes(brim_value value) const;

  // The storage of all of the value; empty for weights and the step block, which no kernel writes.
  Range read_range(brim_value value) const;
  Range write_range(brim_value value) const;

  uint64_t workspace(uint64_t* bytes) const;

 private:
  struct Bound {
    brim_value value;
    uint64_t address, bytes, first_row, n_rows;
    bool read_only;
  };

  std::pair<const Bound*, const Bound*> all_of(brim_value value) const;
  const Bound& bound(brim_value value) const;
  bool in_step(const brim_value_desc& v) const { return v.kind == BRIM_VALUE_INPUT && v.role != BRIM_INPUT_EMBEDDING; }
  uint64_t elements(const brim_value_desc& v) const;
  uint64_t bytes_of(brim_value value) const;
  uint64_t step_offset(brim_value value) const;

  const brim_program_info& info_;
  Array<Bound> bound_;  // by value, then by first row
};

// (elements / block) * bytes, of whole blocks.
inline uint64_t dtype_bytes(uint32_t dtype, uint64_t elements) {
  return elements / brim_dtype_block_elements(dtype) * brim_dtype_block_bytes(dtype);
}

}  // namespace brim_gpu
