// MATMUL and GROUPED_MATMUL as steps over the kernels of matmul/: prepare every activation row once, then multiply
// tiles of weight rows with tiles of tokens. A tile's shape never changes a bit of it (matmul.hpp), so tiles follow the
// weights' bytes when there are few tokens and the caches when there are many.
#pragma once

#include "matmul/matmul.hpp"
#include "ops/rows.hpp"

namespace brim_cpu {

// Rows of x into their prepared layout.
struct PrepareArgs {
  Tensor x;  // [.., k]
  const MatmulKernel* kernel;
  std::byte* prepared;
  uint64_t stride;  // bytes per prepared row
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

struct MatmulArgs {
  Multiply multiply;
  const Piece* pieces;  // of the weight [n, k]
  uint32_t n_pieces;
  uint64_t row_bytes;
  uint64_t n, k;
  const std::byte* prepared;
  uint64_t stride;
  const float* bias;  // [n] or null
  Tensor out;         // [.., n], contiguous
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

// Pairs (row i, choice j) sorted by expert: what the steps of one GROUPED_MATMUL share, in the workspace.
struct Grouping {
  uint32_t experts;
  uint64_t per_row;       // g
  Tensor index;           // i32 [m, g]
  int32_t* first;         // [experts + 1]: where each expert's pairs begin in `order`
  int32_t* order;         // [m * g]: pairs i * g + j, by expert, ascending within one
  std::byte* activation;  // [m * g] prepared rows in that order
  uint64_t stride;
};

struct GroupArgs {
  Grouping to;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

// Copies prepared rows into the order of the experts; pairs without an expert get a row of zeros in the output.
struct SpreadArgs {
  Grouping to;
  const std::byte* prepared;
  bool row_per_pair;  // x is [m, g, k], else [m, k]
  float* out;         // [m, g, n]
  uint64_t n;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

struct GroupedArgs {
  Grouping from;
  Multiply multiply;
  const Piece* pieces;  // of the weight [experts, n, k], rows being experts
  uint32_t n_pieces;
  uint64_t row_bytes;
  uint64_t n, k;
  const float* bias;  // [experts, n] or null
  float* out;         // [m, g, n]
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

// MATMUL with HEADS: head h of every row meets the matrix of head h.
struct HeadsArgs {
  Multiply multiply;
  const Piece* pieces;  // by heads
  uint32_t n_pieces;
  uint64_t row_bytes;
  const std::byte* prepared;  // row t * heads + h
  uint64_t stride;            // from prepared row to row
  uint64_t heads, n, k;
  Tensor out;  // [m, heads, n]
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

// BATCHED: w f32 [B.., n, k] and x f32 [B.., m, k], any outer strides, a batch dimension of w being 1 (stride 0) or
// equal.
struct BatchedArgs {
  Tensor w, x, out;  // of equal rank
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

namespace reference {

// out[m, n] = x[m, k] w[n, k]^T + bias
inline void matmul(const float* w, const float* x, const float* bias, int64_t m, int64_t n, int64_t k, double* out) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double total = 0;
      for (int64_t l = 0; l < k; ++l) total += static_cast<double>(w[j * k + l]) * x[i * k + l];
      out[i * n + j] = total + (bias == nullptr ? 0.0 : bias[j]);
    }
  }
}

}  // namespace reference
}  // namespace brim_cpu
