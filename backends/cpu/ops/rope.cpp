#include "ops/rope.hpp"

#include <cstring>

namespace brim_cpu {

Work RopeAnglesArgs::plan(const Frame& frame) const {
  const uint64_t rows = size_in(position.dim[0], frame);
  return share(rows, static_cast<float>(rows * pairs) * 40, frame);
}

void RopeAnglesArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const Span span = cut(size_in(position.dim[0], frame), chunks, chunk);
  for (uint64_t t = span.begin; t < span.end; ++t) {
    const int32_t at = position.at<const int32_t>(frame)[static_cast<int64_t>(t) * position.stride[0]];
    float* row = table + t * 2 * pairs;
    for (uint32_t i = 0; i < pairs; ++i) {
      const double theta = at * frequency[i] / (factors == nullptr ? 1.0 : factors[i]);
      row[2 * i] = static_cast<float>(std::cos(theta) * magnitude);
      row[2 * i + 1] = static_cast<float>(std::sin(theta) * magnitude);
    }
  }
}

Work RopeArgs::plan(const Frame& frame) const {
  const uint64_t rows = RowMap(x, frame).rows();
  return share(rows, static_cast<float>(rows * inner_size(x, frame)), frame);
}

void RopeArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const RowMap x_rows(x, frame), out_rows(out, frame);
  const uint64_t heads = size_in(x.dim[1], frame), d = inner_size(x, frame), pairs = n_rot / 2;
  const Span span = cut(x_rows.rows(), chunks, chunk);
  for (uint64_t r = span.begin; r < span.end; ++r) {
    const float* from = x.at<const float>(frame) + x_rows.offset(r);
    float* to = out.at<float>(frame) + out_rows.offset(r);
    const float* angle = table + r / heads * n_rot;
    const uint64_t apart = halves ? pairs : 1, step = halves ? 1 : 2;
    for (uint64_t i = 0; i < pairs; ++i) {
      const uint64_t a = i * step, b = a + apart;
      const float c = angle[2 * i], s = angle[2 * i + 1];
      const float first = from[a], second = from[b];
      to[a] = first * c - second * s;
      to[b] = first * s + second * c;
    }
    if (from != to) std::memcpy(to + n_rot, from + n_rot, (d - n_rot) * sizeof(float));
  }
}

}  // namespace brim_cpu
