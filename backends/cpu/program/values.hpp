// From the graph's values to memory: the bindings of a program, checked against the sizes of its bucket.
//
// While a program is only measured there are no buffers; addresses are then offsets from nowhere, and nobody follows
// them.
#pragma once

#include "device/device.hpp"
#include "ops/rows.hpp"
#include "program/arena.hpp"
#include "program/schedule.hpp"

namespace brim_cpu {

class Values {
 public:
  Values(const brim_program_info& info, bool live, Memory& memory);

  const brim_value_desc& desc(brim_value value) const { return *brim_graph_value(info_.graph, value); }
  uint64_t size(brim_dim dim) const { return brim_dim_size(dim, info_.bucket); }

  // The tensor of an input, weight, temp, output or a view of one. Fails on a value that lies in several pieces.
  Tensor tensor(brim_value value) const;

  // A weight by rows of its outermost dimension, in as many pieces as it was bound in. Offsets of a view of a weight in
  // one piece are included.
  Piece* pieces(brim_value value, Arena& arena, uint32_t* n) const;

  // Whether a weight is bound in the packed layout (packing.hpp); only products and GATHER_ROWS read such.
  bool packed(brim_value value) const;

  // Bytes from row to row of the second innermost dimension, of a matrix or a stack of matrices of whole blocks.
  uint64_t row_bytes(brim_value value) const;

  // What a step that reads or writes the value touches: the storage of all of it.
  void add_reads(Touches& touches, brim_value value) const;
  void add_write(Touches& touches, brim_value value) const;

  // The workspace: the binding of value 0. Null, and 0 bytes, where there is none.
  std::byte* workspace(uint64_t* bytes) const;

 private:
  struct Bound {
    brim_value value;
    std::byte* data;
    uint64_t bytes, first_row, n_rows;
    bool read_only, packed;
  };

  const Bound* first_of(brim_value value, uint32_t* n) const;
  const Bound& only_one(brim_value value) const;
  bool in_step(const brim_value_desc& v) const;
  uint64_t elements(const brim_value_desc& v) const;
  uint64_t bytes_of(brim_value value) const;

  const brim_program_info& info_;
  Array<Bound> bound_;  // by value, then by first row
};

// (elements / block) * bytes, for offsets and strides of whole blocks.
inline int64_t dtype_bytes(uint32_t dtype, int64_t elements) {
  return elements / brim_dtype_block_elements(dtype) * brim_dtype_block_bytes(dtype);
}

// Merges neighbouring dimensions, and drops those of size 1, where all the tensors (of equal dimensions) allow it; the
// `keep` innermost dimensions stay as they are.
void collapse(const Values& values, std::initializer_list<Tensor*> tensors, uint32_t keep);

}  // namespace brim_cpu
