#include "ops/rope.hpp"

#include <algorithm>
#include <cstring>

namespace brim_cpu {

double rope_frequency(const brim_rope_attr& attr, bool yarn, uint32_t i) {
  const double n_rot = attr.n_rot, base = attr.base;
  const double plain = std::pow(base, -2.0 * i / n_rot);
  const double scaled = plain * attr.freq_scale;
  if (!yarn) return scaled;
  const auto turning = [&](double beta) {  // the pair that turns beta times within the original context
    return n_rot * std::log(attr.n_ctx_orig / (beta * 2 * 3.14159265358979323846)) / (2 * std::log(base));
  };
  const double low = std::clamp(std::floor(turning(attr.beta_fast)), 0.0, n_rot - 1);
  const double high = std::clamp(std::ceil(turning(attr.beta_slow)), 0.0, n_rot - 1);
  const double ramp = std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
  const double mix = attr.ext_factor * (1 - ramp);
  return scaled * (1 - mix) + plain * mix;
}

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
