#include "ops/moe.hpp"

#include <algorithm>
#include <limits>

#include "brim/ops.h"
#include "ops/math.hpp"
#include "ops/pieces.hpp"
#include "ops/select.hpp"

namespace brim_cpu {
namespace {

constexpr float kLeastSum = 1.0f / 16384;  // 2^-14

// exp(x - maximum of x) in place; returns the sum.
float exponentials(float* x, int64_t n) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  Vec most = splat(kLowest);
  each_vector(n, [&](int64_t i, int64_t m) { most = larger(load_up_to(x + i, m, kLowest), most); });
  const float top = maximum(most);
  Vec total = {};
  each_vector(n, [&](int64_t i, int64_t m) {
    const Vec v = exponential(load_up_to(x + i, m, kLowest) - top);
    total = total + v;
    store_up_to(x + i, v, m);
  });
  return sum(total);
}

// Index of the best of those that are still open (open[i] != 0), or -1.
int64_t best_of(const float* value, const float* open, int64_t n) {
  int64_t best = -1;
  for (int64_t i = 0; i < n; ++i) {
    if (open[i] == 0) continue;
    if (best < 0 || ranks_before(value[i], static_cast<int32_t>(i), value[best], static_cast<int32_t>(best))) best = i;
  }
  return best;
}

// Leaves only the experts of the best groups open.
void close_groups(const RouteArgs& args, const float* deciding, float* open, float* worth, float* group_open) {
  const int64_t size = args.experts / args.n_group;
  for (uint32_t g = 0; g < args.n_group; ++g) {
    const float* of = deciding + g * size;
    const int64_t first = best_of(of, open, size);
    worth[g] = of[first];
    if (size > 1) {
      open[first] = 0;
      worth[g] += of[best_of(of, open, size)];
      open[first] = 1;
    }
    group_open[g] = 1;
  }
  std::fill_n(open, args.experts, 0.0f);
  for (uint32_t i = 0; i < args.n_group_used; ++i) {
    const int64_t g = best_of(worth, group_open, args.n_group);
    group_open[g] = 0;
    std::fill_n(open + g * size, size, 1.0f);
  }
}

}  // namespace

Work RouteArgs::plan(const Frame& frame) const {
  const uint64_t rows = size_in(logits.dim[0], frame);
  return share(rows, static_cast<float>(rows * experts) * static_cast<float>(k + 4), frame);
}

void RouteArgs::work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const {
  const Span span = cut(size_in(logits.dim[0], frame), chunks, chunk);
  const int64_t n = experts;
  auto* score = reinterpret_cast<float*>(member.scratch);
  float *deciding = score + n, *open = deciding + n, *worth = open + n, *group_open = worth + n_group;
  for (uint64_t r = span.begin; r < span.end; ++r) {
    const float* x = logits.at<const float>(frame) + static_cast<int64_t>(r) * logits.stride[0];
    std::copy_n(x, n, score);
    if (gate == BRIM_MOE_GATE_SIGMOID) {
      each_vector(n, [&](int64_t i, int64_t m) { store_up_to(score + i, sigmoid(load_up_to(score + i, m)), m); });
    } else if (gate == BRIM_MOE_GATE_SOFTMAX) {
      const float total = exponentials(score, n);
      for (int64_t i = 0; i < n; ++i) score[i] /= total;
    }
    const float* added = bias.at<const float>(frame);
    for (int64_t i = 0; i < n; ++i) deciding[i] = bias.data == nullptr ? score[i] : score[i] + added[i];
    std::fill_n(open, n, 1.0f);
    if (n_group > 1) close_groups(*this, deciding, open, worth, group_open);

    float* weights = weight.at<float>(frame) + r * k;
    int32_t* chosen = index.at<int32_t>(frame) + r * k;
    float total = 0;
    for (uint32_t j = 0; j < k; ++j) {
      const int64_t best = best_of(deciding, open, n);
      open[best] = 0;
      chosen[j] = static_cast<int32_t>(best);
      weights[j] = score[best];
      total += score[best];
    }
    if (gate == BRIM_MOE_GATE_SOFTMAX_CHOSEN) {
      const float whole = exponentials(weights, k);
      for (uint32_t j = 0; j < k; ++j) weights[j] /= whole;
    } else if (normalise) {
      total = total < kLeastSum ? kLeastSum : total;
      for (uint32_t j = 0; j < k; ++j) weights[j] /= total;
    }
    for (uint32_t j = 0; j < k; ++j) weights[j] *= scale;
  }
}

Work CombineArgs::plan(const Frame& frame) const { return plan_pieces(out, frame, 0.3f * static_cast<float>(k)); }

void CombineArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  each_piece(out, frame, chunk, chunks, [&](uint64_t row, int64_t begin, int64_t count) {
    const auto r = static_cast<int64_t>(row);
    const float* from = x.at<const float>(frame) + r * x.stride[0] + begin;
    const float* weights = weight.at<const float>(frame) + r * weight.stride[0];
    float* to = out.at<float>(frame) + r * out.stride[0] + begin;
    each_vector(count, [&](int64_t i, int64_t m) {
      Vec total = load_up_to(from + i, m) * weights[0];
      for (uint32_t j = 1; j < k; ++j) {
        total = fma(load_up_to(from + j * x.stride[1] + i, m), splat(weights[j]), total);
      }
      store_up_to(to + i, total, m);
    });
  });
}

}  // namespace brim_cpu
