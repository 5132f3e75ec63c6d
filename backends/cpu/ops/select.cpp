// TOPK keeps the k best in its output, as a heap whose root is the worst of them, and sorts it at the end: n log k
// steps, no scratch.
#include "ops/select.hpp"

#include <utility>

namespace brim_cpu {
namespace {

struct Best {
  float* value;
  int32_t* index;
  bool before(uint32_t a, uint32_t b) const { return ranks_before(value[a], index[a], value[b], index[b]); }
  void swap(uint32_t a, uint32_t b) const {
    std::swap(value[a], value[b]);
    std::swap(index[a], index[b]);
  }
};

// Restores "a parent ranks after its children" below `at`, among the first n entries.
void sift_down(const Best& best, uint32_t at, uint32_t n) {
  for (;;) {
    uint32_t last = at;
    for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < n; ++child) {
      if (best.before(last, child)) last = child;
    }
    if (last == at) return;
    best.swap(at, last);
    at = last;
  }
}

void top_k(const float* x, int64_t n, uint32_t k, const Best& best) {
  for (uint32_t i = 0; i < k; ++i) {
    best.value[i] = x[i];
    best.index[i] = static_cast<int32_t>(i);
  }
  for (uint32_t i = k / 2; i-- > 0;) sift_down(best, i, k);
  for (int64_t i = k; i < n; ++i) {
    if (!ranks_before(x[i], static_cast<int32_t>(i), best.value[0], best.index[0])) continue;
    best.value[0] = x[i];
    best.index[0] = static_cast<int32_t>(i);
    sift_down(best, 0, k);
  }
  for (uint32_t left = k; left > 1; --left) {
    best.swap(0, left - 1);
    sift_down(best, 0, left - 1);
  }
}

}  // namespace

Work ArgmaxArgs::plan(const Frame& frame) const {
  const uint64_t rows = size_in(x.dim[0], frame);
  return share(rows, static_cast<float>(rows * inner_size(x, frame)), frame);
}

void ArgmaxArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const Span span = cut(size_in(x.dim[0], frame), chunks, chunk);
  const uint64_t n = inner_size(x, frame);
  for (uint64_t r = span.begin; r < span.end; ++r) {
    const float* row = x.at<const float>(frame) + static_cast<int64_t>(r) * x.stride[0];
    int32_t best = 0;
    for (uint64_t i = 1; i < n; ++i) {
      if (ranks_before(row[i], static_cast<int32_t>(i), row[best], best)) best = static_cast<int32_t>(i);
    }
    index.at<int32_t>(frame)[r] = best;
  }
}

Work TopkArgs::plan(const Frame& frame) const {
  const uint64_t rows = size_in(x.dim[0], frame);
  return share(rows, static_cast<float>(rows * inner_size(x, frame)) * 2, frame);
}

void TopkArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const Span span = cut(size_in(x.dim[0], frame), chunks, chunk);
  const auto n = static_cast<int64_t>(inner_size(x, frame));
  for (uint64_t r = span.begin; r < span.end; ++r) {
    top_k(x.at<const float>(frame) + static_cast<int64_t>(r) * x.stride[0], n, k,
          {values.at<float>(frame) + r * k, index.at<int32_t>(frame) + r * k});
  }
}

}  // namespace brim_cpu
