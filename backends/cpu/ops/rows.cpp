#include "ops/rows.hpp"

#include <cstring>

#include "formats/rows.hpp"
#include "matmul/packed.hpp"

namespace brim_cpu {

const Piece* piece_of(const Piece* pieces, uint32_t n, uint64_t row) {
  for (uint32_t i = 0; i < n; ++i) {
    if (row >= pieces[i].first_row && row - pieces[i].first_row < pieces[i].n_rows) return &pieces[i];
  }
  return nullptr;
}

Work GatherArgs::plan(const Frame& frame) const {
  const uint64_t rows = size_in(out.dim[0], frame);
  return share(rows, static_cast<float>(rows * inner_size(out, frame)) * 0.5f, frame);
}

void GatherArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const auto* at = index.at<const int32_t>(frame);
  const uint64_t n = inner_size(out, frame), limit = size_in(table_rows, frame);
  const Span span = cut(size_in(out.dim[0], frame), chunks, chunk);
  for (uint64_t r = span.begin; r < span.end; ++r) {
    float* to = out.at<float>(frame) + static_cast<int64_t>(r) * out.stride[0];
    const int32_t row = at[static_cast<int64_t>(r) * index.stride[0]];
    const bool inside = row >= 0 && static_cast<uint64_t>(row) < limit;
    const Piece* piece = inside ? piece_of(pieces, n_pieces, static_cast<uint64_t>(row)) : nullptr;
    if (piece == nullptr) {
      std::memset(to, 0, n * sizeof(float));
    } else if (packed) {
      decode_packed_row(dtype, reinterpret_cast<const uint8_t*>(piece->data), row_bytes, row, 0,
                        static_cast<int64_t>(n), to);
    } else {
      decode_row(dtype, piece->data + (static_cast<uint64_t>(row) - piece->first_row) * row_bytes, to,
                 static_cast<int64_t>(n));
    }
  }
}

Work ScatterArgs::plan(const Frame& frame) const {
  const uint64_t n = inner_size(out, frame), rows = size_in(out.dim[0], frame) + size_in(x.dim[0], frame);
  return share((n + 63) / 64, static_cast<float>(rows * n) * 0.5f, frame);
}

void ScatterArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const uint64_t n = inner_size(out, frame), rows = size_in(out.dim[0], frame), m = size_in(x.dim[0], frame);
  const Span blocks = cut((n + 63) / 64, chunks, chunk);
  const uint64_t begin = blocks.begin * 64, width = (blocks.end * 64 < n ? blocks.end * 64 : n) - begin;
  const auto* from = into.at<const float>(frame);
  const auto* values = x.at<const float>(frame);
  const auto* at = index.at<const int32_t>(frame);
  auto* to = out.at<float>(frame);
  if (from != to) {
    for (uint64_t r = 0; r < rows; ++r) {
      std::memcpy(to + static_cast<int64_t>(r) * out.stride[0] + begin,
                  from + static_cast<int64_t>(r) * into.stride[0] + begin, width * sizeof(float));
    }
  }
  for (uint64_t i = 0; i < m; ++i) {
    const int32_t row = at[static_cast<int64_t>(i) * index.stride[0]];
    if (row < 0 || static_cast<uint64_t>(row) >= rows) continue;
    float* target = to + row * out.stride[0] + begin;
    const float* source = values + static_cast<int64_t>(i) * x.stride[0] + begin;
    if (mode == BRIM_SCATTER_ADD) {
      for (uint64_t j = 0; j < width; ++j) target[j] += source[j];
    } else {
      std::memcpy(target, source, width * sizeof(float));
    }
  }
}

}  // namespace brim_cpu
