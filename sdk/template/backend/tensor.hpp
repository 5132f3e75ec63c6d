// Where a value lies and how: known when a program is made (Operand), and, with the real counts of a step in place of
// symbols, while it runs (Tensor). Storage is laid out for the bucket, so strides do not change from step to step; only
// how many rows are real does. Padding rows are never touched: no kernel knows of them.
#pragma once

#include "contract.hpp"

namespace plain {

// Rows of a value that was too large for one binding: some of its outermost dimension, in order.
struct Piece {
  std::byte* data;
  uint64_t n_rows;
};

struct Operand {
  std::byte* data;  // of an array of the step block: unused, `step_offset` counts; of a value in pieces: NULL
  const Piece* pieces;
  uint64_t step_offset;
  bool in_step, present;
  uint32_t dtype, rank;
  brim_dim dim[BRIM_MAX_RANK];     // outermost first
  uint64_t stride[BRIM_MAX_RANK];  // elements
};

struct Tensor {
  std::byte* data;
  const Piece* pieces;  // NULL: all of it lies at `data`
  uint32_t dtype, rank;
  uint64_t dim[BRIM_MAX_RANK], stride[BRIM_MAX_RANK];

  explicit operator bool() const { return rank != 0; }  // false: an optional input that is absent
  uint64_t width() const { return dim[rank - 1]; }
  uint64_t rows() const {
    uint64_t n = 1;
    for (uint32_t i = 0; i + 1 < rank; ++i) n *= dim[i];
    return n;
  }
  // Row r of [rows(), width()], counted over the outer dimensions. Rows of block formats are whole blocks.
  std::byte* row_bytes(uint64_t r) const {
    uint64_t at = 0;
    for (uint32_t i = rank - 1; i-- > 1; r /= dim[i]) at += r % dim[i] * stride[i];
    std::byte* from = data;
    if (pieces != nullptr) {
      const Piece* piece = pieces;
      for (; r >= piece->n_rows; ++piece) r -= piece->n_rows;
      from = piece->data;
    }
    if (rank > 1) at += r * stride[0];
    return from + at / brim_dtype_block_elements(dtype) * brim_dtype_block_bytes(dtype);
  }
  float* row(uint64_t r) const { return reinterpret_cast<float*>(row_bytes(r)); }
  // Of an i32 value of any strides: element i of row r.
  int32_t integer(uint64_t r, uint64_t i) const {
    return reinterpret_cast<const int32_t*>(row_bytes(r))[i * stride[rank - 1]];
  }

  // Stretched to the shape of `to` by strides of 0, dimensions aligned at the innermost (NumPy's broadcasting).
  Tensor like(const Tensor& to) const {
    Tensor out = to;
    out.data = data;
    out.pieces = pieces;
    out.dtype = dtype;
    for (uint32_t i = 0; i < to.rank; ++i) {
      const bool has = i + rank >= to.rank;
      const uint32_t from = has ? i + rank - to.rank : 0;
      out.stride[i] = has && dim[from] != 1 ? stride[from] : 0;
    }
    return out;
  }
};

}  // namespace plain
