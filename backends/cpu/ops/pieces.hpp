// How elementwise ops are cut up: rows of the innermost dimension, long rows in pieces of kPiece elements. Any cut
// gives the same bits, since an element's value depends on nothing but its operands.
#pragma once

#include <algorithm>

#include "ops/tensor.hpp"

namespace brim_cpu {

inline constexpr uint64_t kPiece = 4096;

inline Work plan_pieces(const Tensor& out, const Frame& frame, float cost_per_element) {
  const uint64_t rows = RowMap(out, frame).rows(), n = inner_size(out, frame);
  const uint64_t pieces = rows * ((n + kPiece - 1) / kPiece);
  return share(pieces, static_cast<float>(rows * n) * cost_per_element, frame);
}

// f(row, first element, elements) for the pieces of one chunk.
template <class F>
void each_piece(const Tensor& out, const Frame& frame, uint32_t chunk, uint32_t chunks, F&& f) {
  const uint64_t rows = RowMap(out, frame).rows(), n = inner_size(out, frame);
  const uint64_t per_row = (n + kPiece - 1) / kPiece;
  const Span span = cut(rows * per_row, chunks, chunk);
  for (uint64_t u = span.begin; u < span.end; ++u) {
    const uint64_t begin = u % per_row * kPiece;
    f(u / per_row, static_cast<int64_t>(begin), static_cast<int64_t>(std::min(kPiece, n - begin)));
  }
}

}  // namespace brim_cpu
