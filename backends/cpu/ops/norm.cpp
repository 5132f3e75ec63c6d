#include "ops/norm.hpp"

#include "ops/math.hpp"

namespace brim_cpu {
namespace {

Work plan_rows(const Tensor& x, const Frame& frame, float cost_per_element) {
  const uint64_t rows = RowMap(x, frame).rows();
  return share(rows, static_cast<float>(rows * inner_size(x, frame)) * cost_per_element, frame);
}

// Of f(v) over all elements v; f(0) is 0.
template <class F>
float sum_of(const float* x, int64_t n, F&& f) {
  constexpr int kSums = 4;  // hides the latency of the addition
  Vec sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kWidth <= n; i += kSums * kWidth) {
    for (int j = 0; j < kSums; ++j) {
      sums[j] = f(load(x + i + j * kWidth), sums[j]);
    }
  }
  each_vector(n - i, [&](int64_t at, int64_t m) { sums[0] = f(load_up_to(x + i + at, m), sums[0]); });
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

void rms_norm(const float* x, const float* weight, float divisor, float eps, float weight_offset, int64_t n,
              float* out) {
  const float total = sum_of(x, n, [](Vec v, Vec sums) { return fma(v, v, sums); });
  const float scale = 1.0f / __builtin_sqrtf(total / divisor + eps);
  each_vector(n, [&](int64_t at, int64_t m) {
    Vec v = load_up_to(x + at, m) * scale;
    if (weight != nullptr) v = v * (load_up_to(weight + at, m) + weight_offset);
    store_up_to(out + at, v, m);
  });
}

// The deviations are written to `out` first: the sum of their squares loses nothing to a large mean.
void layer_norm(const float* x, const float* weight, const float* bias, float eps, float weight_offset, int64_t n,
                float* out) {
  const float mean = sum_of(x, n, [](Vec v, Vec sums) { return sums + v; }) / static_cast<float>(n);
  each_vector(n, [&](int64_t at, int64_t m) { store_up_to(out + at, load_up_to(x + at, m) - mean, m); });
  const float total = sum_of(out, n, [](Vec v, Vec sums) { return fma(v, v, sums); });
  const float scale = 1.0f / __builtin_sqrtf(total / static_cast<float>(n) + eps);
  each_vector(n, [&](int64_t at, int64_t m) {
    Vec v = load_up_to(out + at, m) * scale;
    if (weight != nullptr) v = v * (load_up_to(weight + at, m) + weight_offset);
    if (bias != nullptr) v = v + load_up_to(bias + at, m);
    store_up_to(out + at, v, m);
  });
}

void softmax(const float* x, const float* mask, float scale, int64_t n, float* out) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  Vec most = splat(kLowest);
  each_vector(n, [&](int64_t i, int64_t m) {
    Vec v = load_up_to(x + i, m) * scale;
    if (mask != nullptr) v = v + load_up_to(mask + i, m);
    store_up_to(out + i, v, m);
    most = larger(load_up_to(out + i, m, kLowest), most);
  });
  const float top = maximum(most);
  Vec total = {};
  each_vector(n, [&](int64_t i, int64_t m) {
    const Vec v = exponential(load_up_to(out + i, m, kLowest) - top);
    total = total + v;  // past the end exp(-inf) adds 0
    store_up_to(out + i, v, m);
  });
  const float whole = sum(total);
  each_vector(n, [&](int64_t i, int64_t m) { store_up_to(out + i, load_up_to(out + i, m) / whole, m); });
}

}  // namespace

Work RmsNormArgs::plan(const Frame& frame) const { return plan_rows(x, frame, 4.0f / kWidth); }

void RmsNormArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const RowMap x_rows(x, frame), out_rows(out, frame);
  const auto n = static_cast<int64_t>(inner_size(x, frame));
  const Span span = cut(x_rows.rows(), chunks, chunk);
  const float divisor = l2 ? 1.0f : static_cast<float>(n);
  for (uint64_t r = span.begin; r < span.end; ++r) {
    rms_norm(x.at<const float>(frame) + x_rows.offset(r), weight.at<const float>(frame), divisor, eps, weight_offset, n,
             out.at<float>(frame) + out_rows.offset(r));
  }
}

Work LayerNormArgs::plan(const Frame& frame) const { return plan_rows(x, frame, 6.0f / kWidth); }

void LayerNormArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const RowMap x_rows(x, frame), out_rows(out, frame);
  const auto n = static_cast<int64_t>(inner_size(x, frame));
  const Span span = cut(x_rows.rows(), chunks, chunk);
  for (uint64_t r = span.begin; r < span.end; ++r) {
    layer_norm(x.at<const float>(frame) + x_rows.offset(r), weight.at<const float>(frame), bias.at<const float>(frame),
               eps, weight_offset, n, out.at<float>(frame) + out_rows.offset(r));
  }
}

Work SoftmaxArgs::plan(const Frame& frame) const { return plan_rows(x, frame, 12.0f / kWidth); }

void SoftmaxArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const RowMap x_rows(x, frame), mask_rows(mask, frame), out_rows(out, frame);
  const auto n = static_cast<int64_t>(inner_size(x, frame));
  const Span span = cut(x_rows.rows(), chunks, chunk);
  for (uint64_t r = span.begin; r < span.end; ++r) {
    const float* m = mask.data == nullptr ? nullptr : mask.at<const float>(frame) + mask_rows.offset(r);
    softmax(x.at<const float>(frame) + x_rows.offset(r), m, scale, n, out.at<float>(frame) + out_rows.offset(r));
  }
}

}  // namespace brim_cpu
