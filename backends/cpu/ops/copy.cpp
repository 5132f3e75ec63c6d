#include "ops/copy.hpp"

#include <algorithm>
#include <cstring>

#include "formats/rows.hpp"

namespace brim_cpu {
namespace {

constexpr int64_t kBatch = 256;  // elements converted at a time, through a buffer on the stack

bool plain(uint32_t dtype) { return brim_dtype_block_elements(dtype) == 1; }

int64_t bytes_of(uint32_t dtype, int64_t elements) {
  return elements / brim_dtype_block_elements(dtype) * brim_dtype_block_bytes(dtype);
}

float element(uint32_t dtype, const std::byte* p) {
  if (dtype == BRIM_DTYPE_I32) {
    int32_t v;
    std::memcpy(&v, p, sizeof v);
    return static_cast<float>(v);
  }
  float v;
  decode_row(dtype, p, &v, 1);
  return v;
}

int32_t whole(float v) {
  constexpr float kLimit = 2147483648.0f;
  if (!(v > -kLimit)) return v <= -kLimit ? INT32_MIN : 0;  // NaN: 0
  return v >= kLimit ? INT32_MAX : static_cast<int32_t>(v);
}

void encode(uint32_t dtype, const float* values, std::byte* out, int64_t n) {
  if (dtype != BRIM_DTYPE_I32) return encode_row(dtype, values, out, n);
  for (int64_t i = 0; i < n; ++i) {
    const int32_t v = whole(values[i]);
    std::memcpy(out + i * 4, &v, sizeof v);
  }
}

}  // namespace

bool knows_copy(uint32_t from, uint32_t to) {
  if (from == BRIM_DTYPE_I32) return to == BRIM_DTYPE_I32 || to == BRIM_DTYPE_F32;
  if (!can_decode(from)) return false;
  if (to == BRIM_DTYPE_F32) return true;
  if (from == BRIM_DTYPE_F32 && to == BRIM_DTYPE_I32) return true;
  return plain(from) && can_encode(to) && (plain(to) || from == BRIM_DTYPE_F32);
}

Work CopyArgs::plan(const Frame& frame) const {
  const uint64_t rows = RowMap(x, frame).rows();
  const float cost = x.stride[x.rank - 1] == 1 ? 0.5f : 3.0f;
  return share(rows, static_cast<float>(rows * inner_size(x, frame)) * cost, frame);
}

void CopyArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const RowMap x_rows(x, frame), out_rows(out, frame);
  const auto n = static_cast<int64_t>(inner_size(x, frame));
  const int64_t step = x.stride[x.rank - 1];
  const Span span = cut(x_rows.rows(), chunks, chunk);
  for (uint64_t r = span.begin; r < span.end; ++r) {
    const std::byte* from = x.at<const std::byte>(frame) + bytes_of(x.dtype, x_rows.offset(r));
    std::byte* to = out.at<std::byte>(frame) + bytes_of(out.dtype, out_rows.offset(r));
    if (x.dtype == out.dtype && step == 1) {
      std::memmove(to, from, static_cast<size_t>(bytes_of(x.dtype, n)));
      continue;
    }
    if (x.dtype == out.dtype && plain(x.dtype)) {  // no rounding through F32
      const int64_t size = brim_dtype_block_bytes(x.dtype);
      for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * size, from + i * step * size, static_cast<size_t>(size));
      continue;
    }
    for (int64_t i = 0; i < n; i += kBatch) {
      float values[kBatch];
      const int64_t m = std::min(kBatch, n - i);
      if (plain(x.dtype) && (step != 1 || x.dtype == BRIM_DTYPE_I32)) {
        const int64_t size = brim_dtype_block_bytes(x.dtype);
        for (int64_t j = 0; j < m; ++j) values[j] = element(x.dtype, from + (i + j) * step * size);
      } else {
        decode_row(x.dtype, from + bytes_of(x.dtype, i), values, m);
      }
      encode(out.dtype, values, to + bytes_of(out.dtype, i), m);
    }
  }
}

}  // namespace brim_cpu
