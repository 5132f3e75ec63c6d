// What chooses: the largest of a row, and the experts of a token.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "case.hpp"

namespace check::ops {
namespace {

// Indices by value, largest first; NaN counts as smallest, equal values go by index.
std::vector<uint32_t> order_of(const double* x, uint32_t n) {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t p, uint32_t q) {
    if (std::isnan(x[p]) || std::isnan(x[q])) return !std::isnan(x[p]);
    return x[p] > x[q];
  });
  return order;
}

void largest(Maker& make, Cases& cases) {
  for (const uint32_t width : {1u, 2u, 133u, 5000u}) {
    constexpr uint32_t kRows = 9;
    Tensor x = make.rows({kRows, width});
    for (uint32_t i = 0; i < width; ++i) put(x, width + i, i == 20 || i == 90 ? 5.f : -static_cast<float>(i % 3));
    put(x, 2 * width + width / 2, std::nanf(""));
    for (uint32_t i = 0; i < width; ++i) put(x, 3 * width + i, -kInfinity);
    Case a;
    a.name = "of " + std::to_string(width) + " with ties, a NaN, all -infinity";
    a.op = BRIM_OP_ARGMAX;
    a.in = {x};
    a.out = {row_result({kRows}, BRIM_DTYPE_I32)};
    for (uint32_t r = 0; r < kRows; ++r) a.out[0].exact[r] = order_of(&x.exact[r * width], width)[0];
    cases.push_back(std::move(a));
    for (const uint32_t most : {1u, 9u, width}) {
      const uint32_t k = std::min(most, width);
      if (k > 200) continue;
      Case t;
      t.name = std::to_string(k) + " of " + std::to_string(width);
      t.op = BRIM_OP_TOPK;
      brim_topk_attr attr{};
      attr.k = k;
      t.attr = attr_bytes(attr);
      t.in = {x};
      t.out = {row_result({kRows, k}), row_result({kRows, k}, BRIM_DTYPE_I32)};
      for (uint32_t r = 0; r < kRows; ++r) {
        const std::vector<uint32_t> order = order_of(&x.exact[r * width], width);
        for (uint32_t i = 0; i < k; ++i) {
          t.out[1].exact[r * k + i] = order[i];
          t.out[0].exact[r * k + i] = x.exact[r * width + order[i]];
        }
      }
      cases.push_back(std::move(t));
    }
  }
}

// One row of MOE_ROUTE: weights and indices of the chosen.
void route_row(const brim_moe_route_attr& a, uint64_t must, const double* x, const double* bias, uint32_t e,
               double* weight, double* index) {
  double whole = 0;
  for (uint32_t i = 0; i < e; ++i) whole += std::exp(x[i]);
  std::vector<double> score(e), decides(e);
  for (uint32_t i = 0; i < e; ++i) {
    score[i] = a.gate == BRIM_MOE_GATE_SIGMOID   ? 1 / (1 + std::exp(-x[i]))
               : a.gate == BRIM_MOE_GATE_SOFTMAX ? std::exp(x[i]) / whole
                                                 : x[i];
    decides[i] = score[i] + (bias ? bias[i] : 0);
  }
  if (must & BRIM_MOE_ROUTE_GROUPS) {
    const uint32_t size = e / a.n_group;
    std::vector<double> worth(a.n_group);
    for (uint32_t g = 0; g < a.n_group; ++g) {
      std::vector<double> of(decides.begin() + g * size, decides.begin() + (g + 1) * size);
      std::sort(of.rbegin(), of.rend());
      worth[g] = of[0] + (size > 1 ? of[1] : 0);
    }
    const std::vector<uint32_t> groups = order_of(worth.data(), a.n_group);
    for (uint32_t g = a.n_group_used; g < a.n_group; ++g) {
      for (uint32_t i = 0; i < size; ++i) decides[groups[g] * size + i] = -HUGE_VAL;
    }
  }
  const std::vector<uint32_t> order = order_of(decides.data(), e);
  const bool chosen_only = a.gate == BRIM_MOE_GATE_SOFTMAX_CHOSEN;
  double sum = 0;
  for (uint32_t j = 0; j < a.k; ++j) sum += chosen_only ? std::exp(score[order[j]]) : score[order[j]];
  for (uint32_t j = 0; j < a.k; ++j) {
    double w = score[order[j]];
    if (chosen_only)
      w = std::exp(w) / sum;
    else if (a.normalise)
      w /= std::max(sum, 0x1p-14);
    weight[j] = static_cast<double>(a.scale) * w;
    index[j] = order[j];
  }
}

// The logits of a row are a shuffled ladder of uneven steps, so that F32 cannot choose otherwise than float64. Where
// one expert is chosen, its logit is so far above the others in one row that a softmax has to be taken relative to it.
void routes(Maker& make, Cases& cases) {
  struct Shape {
    uint32_t experts, groups, used, k;
  };
  for (const Shape shape : {Shape{24, 6, 3, 11}, Shape{8, 8, 3, 2}, Shape{5, 1, 1, 1}}) {
    for (const uint32_t gate : {BRIM_MOE_GATE_SOFTMAX, BRIM_MOE_GATE_SIGMOID, BRIM_MOE_GATE_SOFTMAX_CHOSEN}) {
      for (uint64_t must = 0; must <= (BRIM_MOE_ROUTE_BIAS | BRIM_MOE_ROUTE_GROUPS); ++must) {
        for (const uint32_t normalise : {0u, 1u}) {
          const uint32_t m = 9, e = shape.experts;
          Case c;
          c.name = "gate " + std::to_string(gate) + ", " + std::to_string(shape.k) + " of " + std::to_string(e) +
                   (normalise ? ", normalised" : "");
          c.op = BRIM_OP_MOE_ROUTE;
          c.must = must;
          brim_moe_route_attr a{};
          a.gate = gate;
          a.k = shape.k;
          a.n_group = shape.groups;
          a.n_group_used = shape.used;
          a.normalise = normalise;
          a.scale = 2.5f;
          c.attr = attr_bytes(a);
          std::vector<float> ladder(uint64_t{m} * e), biases(e);
          for (uint32_t r = 0; r < m; ++r) {
            for (uint32_t i = 0; i < e; ++i) {
              const float step = static_cast<float>(i) + std::fmod(static_cast<float>(i * i) * 0.6180340f, 0.5f);
              ladder[r * e + i] = 3 * step / static_cast<float>(e) - 1.5f;
            }
            if (r == 2 && shape.k == 1) ladder[r * e + e - 1] = 100;
            std::shuffle(ladder.begin() + r * e, ladder.begin() + (r + 1) * e, make.random());
          }
          // Irrational steps keep score + bias apart.
          for (uint32_t i = 0; i < e; ++i) biases[i] = std::fmod(static_cast<float>(i) * 0.6180340f, 0.3f);
          c.in = {by_row(of_values({m, e}, ladder))};
          if (must & BRIM_MOE_ROUTE_BIAS) c.in.push_back(weight(of_values({e}, biases)));
          c.out = {row_result({m, a.k}), row_result({m, a.k}, BRIM_DTYPE_I32)};
          for (uint32_t r = 0; r < m; ++r) {
            route_row(a, must, &c.in[0].exact[r * e], c.in.size() > 1 ? c.in[1].exact.data() : nullptr, e,
                      &c.out[0].exact[r * a.k], &c.out[1].exact[r * a.k]);
          }
          c.limit = 64 * kUlp;
          cases.push_back(std::move(c));
        }
      }
    }
  }
}

void combine(Maker& make, Cases& cases) {
  for (const uint32_t k : {1u, 3u, 8u}) {
    for (const uint32_t n : {1u, 37u, 256u}) {
      constexpr uint32_t kRows = 4;
      Case c;
      c.name = std::to_string(k) + " of width " + std::to_string(n);
      c.op = BRIM_OP_MOE_COMBINE;
      c.in = {make.rows({kRows, k, n}), make.rows({kRows, k})};
      c.out = {row_result({kRows, n})};
      c.scale.resize(kRows * n);
      for (uint32_t r = 0; r < kRows * k; ++r) {
        for (uint32_t i = 0; i < n; ++i) {
          const double term = c.in[1].exact[r] * c.in[0].exact[r * n + i];
          c.out[0].exact[r / k * n + i] += term;
          c.scale[r / k * n + i] += std::fabs(term);
        }
      }
      c.limit = sum_limit(k);
      cases.push_back(std::move(c));
    }
  }
}

}  // namespace

void add_selection(Maker& make, Cases& cases) {
  largest(make, cases);
  routes(make, cases);
  combine(make, cases);
}

}  // namespace check::ops
