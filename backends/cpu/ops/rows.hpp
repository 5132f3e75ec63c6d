// GATHER_ROWS and SCATTER_ROWS: whole rows picked or placed by an index that is read while the program runs.
//
// The table of GATHER_ROWS may lie in pieces. SCATTER_ROWS shares its work by columns: every member walks the index in
// order, so that equal indices add up, or overwrite, in that order whatever the team.
#pragma once

#include "brim/ops.h"
#include "ops/tensor.hpp"

namespace brim_cpu {

// Consecutive rows of a weight's outermost dimension.
struct Piece {
  const std::byte* data;
  uint64_t first_row, n_rows;
};

struct GatherArgs {
  const Piece* pieces;  // in order, without gaps
  uint32_t n_pieces;
  uint32_t dtype;
  uint64_t row_bytes;  // from row to row of the table
  bool packed;         // the table, being one piece, is (packed.hpp)
  brim_dim table_rows;
  Tensor index, out;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

struct ScatterArgs {
  Tensor into, x, index, out;
  uint32_t mode;  // BRIM_SCATTER_*
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

// The piece that holds a row, or null.
const Piece* piece_of(const Piece* pieces, uint32_t n, uint64_t row);

namespace reference {

// out [rows, n] starts as `into`.
inline void scatter_rows(uint32_t mode, const float* x, const int32_t* index, int64_t m, int64_t rows, int64_t n,
                         float* out) {
  for (int64_t i = 0; i < m; ++i) {
    if (index[i] < 0 || index[i] >= rows) continue;
    for (int64_t j = 0; j < n; ++j) {
      float& to = out[index[i] * n + j];
      to = mode == BRIM_SCATTER_ADD ? to + x[i * n + j] : x[i * n + j];
    }
  }
}

}  // namespace reference
}  // namespace brim_cpu
