// Products with a weight of every type: plain, batched, by head, and by the expert that an index names.
#include <algorithm>
#include <cmath>

#include "case.hpp"

namespace check::ops {
namespace {

void product_row(const double* w, const double* x, uint32_t k, double* y, double* scale) {
  for (uint32_t i = 0; i < k; ++i) {
    *y += w[i] * x[i];
    *scale += std::fabs(w[i] * x[i]);
  }
}

uint32_t block_of(uint32_t dtype) { return brim_dtype_block_elements(dtype); }

// `loud`: row t of the input has the signs of the weight's row t and one magnitude, so that every product of those two
// is positive and as large as it gets. Sums in narrow integers that are wide enough for anything have to be wide enough
// here. `inner`: of each row of the step, so many rows are multiplied, which as a view are strided apart.
Case product(Maker& make, uint32_t dtype, uint32_t n, uint32_t k, uint32_t m, bool bias, bool loud = false,
             uint32_t inner = 1) {
  Case c;
  c.name = std::string("[") + std::to_string(n) + ", " + std::to_string(k) + "] x " + std::to_string(m) + " rows";
  c.op = BRIM_OP_MATMUL;
  c.dtype = dtype;
  const auto rows_of = [&](uint32_t width) {
    return inner == 1 ? std::vector<uint32_t>{m, width} : std::vector<uint32_t>{m / inner, inner, width};
  };
  if (inner > 1) c.name += ", " + std::to_string(inner) + " of each of the step's";
  c.in = {make.weights(dtype, {n, k}), make.rows(rows_of(k))};
  if (loud) {
    c.name += ", all products positive";
    for (uint64_t i = 0; i < uint64_t{m} * k; ++i) {
      put(c.in[1], i, c.in[0].exact[i % (uint64_t{n} * k)] < 0 ? -1.5f : 1.5f);
    }
  }
  c.out = {row_result(rows_of(n))};
  std::vector<double>& y = c.out[0].exact;
  c.scale.resize(y.size());
  for (uint32_t t = 0; t < m; ++t) {
    for (uint32_t r = 0; r < n; ++r) {
      product_row(&c.in[0].exact[uint64_t{r} * k], &c.in[1].exact[uint64_t{t} * k], k, &y[t * n + r],
                  &c.scale[t * n + r]);
    }
  }
  if (bias) {
    c.must = BRIM_MATMUL_BIAS;
    c.in.push_back(weight(make.floats({n})));
    for (uint64_t i = 0; i < y.size(); ++i) {
      y[i] += c.in[2].exact[i % n];
      c.scale[i] += std::fabs(c.in[2].exact[i % n]);
    }
  }
  c.limit = sum_limit(k) + 4 * kUlp;
  c.fast_rms = fast_limit(dtype);
  c.nan = NanReach::kRow;
  return c;
}

void plain(Maker& make, Cases& cases) {
  for (const uint32_t dtype : weight_dtypes()) {
    const uint32_t block = block_of(dtype);
    for (const uint32_t m : {1u, 2u, 5u, 50u})
      cases.push_back(product(make, dtype, 9, block == 1 ? 71 : 3 * block, m, m == 5));
    cases.push_back(product(make, dtype, 1, block, 1, false));
    cases.push_back(product(make, dtype, 64, block == 1 ? 2048 : 2048 / block * block, 3, true));
    cases.push_back(product(make, dtype, 33, 2 * block, 4, false, false, 2));
    cases.push_back(product(make, dtype, 7, 5 * block, 33, true, false, 3));
    // Several tiles in both directions, the last of each a part, and single ones that end in each of their quarters.
    struct Ends {
      uint32_t n, m;
    };
    for (const auto [n, m] : {Ends{70, 14}, Ends{118, 30}, Ends{102, 66}})
      cases.push_back(product(make, dtype, n, block == 1 ? 40 : 2 * block, m, false));
    for (const auto [n, m] : {Ends{22, 14}, Ends{38, 14}, Ends{54, 14}, Ends{22, 30}, Ends{54, 50}})
      cases.push_back(product(make, dtype, n, block == 1 ? 24 : block, m, false));
    cases.push_back(product(make, dtype, 8, block == 1 ? 64 : 4 * block, 8, false, true));
  }
  Case empty = product(make, BRIM_DTYPE_F32, 5, 8, 0, false);
  empty.nan = NanReach::kNotAsked;
  cases.push_back(std::move(empty));
}

// [b0, b1, n, k] x [b0, b1, m, k]; a dimension of the weight may be 1.
void batched(Maker& make, Cases& cases) {
  for (const auto& [w0, w1] : {std::pair{2u, 1u}, {1u, 3u}, {2u, 3u}}) {
    constexpr uint32_t kM = 4, kN = 5, kK = 33;
    Case c;
    c.name = "batched, weight [" + std::to_string(w0) + ", " + std::to_string(w1) + ", ..]";
    c.op = BRIM_OP_MATMUL;
    c.must = BRIM_MATMUL_BATCHED;
    c.in = {make.floats({w0, w1, kN, kK}), make.floats({2, 3, kM, kK})};
    c.out = {result({2, 3, kM, kN})};
    c.scale.resize(c.out[0].exact.size());
    for (uint32_t i = 0; i < 2; ++i) {
      for (uint32_t j = 0; j < 3; ++j) {
        const uint32_t batch = i * 3 + j, from = (w0 == 1 ? 0 : i) * w1 + (w1 == 1 ? 0 : j);
        for (uint32_t t = 0; t < kM; ++t) {
          for (uint32_t r = 0; r < kN; ++r) {
            const uint64_t at = (uint64_t{batch} * kM + t) * kN + r;
            product_row(&c.in[0].exact[(from * kN + r) * kK], &c.in[1].exact[(batch * kM + t) * kK], kK,
                        &c.out[0].exact[at], &c.scale[at]);
          }
        }
      }
    }
    c.limit = sum_limit(kK);
    c.fast_rms = 1e-3;
    cases.push_back(std::move(c));
  }
}

void by_heads(Maker& make, Cases& cases) {
  for (const uint32_t dtype : weight_dtypes()) {
    for (const uint32_t m : {1u, 4u}) {
      const uint32_t block = block_of(dtype), heads = 3, n = 6, k = block == 1 ? 41 : block;
      Case c;
      c.name = "by heads, " + std::to_string(m) + " rows";
      c.op = BRIM_OP_MATMUL;
      c.must = BRIM_MATMUL_HEADS;
      c.dtype = dtype;
      c.in = {make.weights(dtype, {heads, n, k}), make.rows({m, heads, k})};
      c.out = {row_result({m, heads, n})};
      c.scale.resize(c.out[0].exact.size());
      for (uint32_t t = 0; t < m; ++t) {
        for (uint32_t h = 0; h < heads; ++h) {
          for (uint32_t r = 0; r < n; ++r) {
            const uint64_t at = (t * heads + h) * n + r;
            product_row(&c.in[0].exact[(h * n + r) * k], &c.in[1].exact[(t * heads + h) * k], k, &c.out[0].exact[at],
                        &c.scale[at]);
          }
        }
      }
      c.limit = sum_limit(k) + 4 * kUlp;
      c.fast_rms = fast_limit(dtype);
      cases.push_back(std::move(c));
    }
  }
}

void grouped(Maker& make, Cases& cases) {
  for (const uint32_t dtype : weight_dtypes()) {
    for (const uint32_t form : {0u, 1u, 2u, 3u}) {
      const bool own_rows = (form & 1) != 0, bias = (form & 2) != 0;
      const uint32_t k = std::max(block_of(dtype), 32u), n = 7, experts = 5, m = 6, g = 2;
      Case c;
      c.name = own_rows ? "grouped, a row per expert" : "grouped";
      c.op = BRIM_OP_GROUPED_MATMUL;
      c.dtype = dtype;
      const std::vector<int32_t> index = {0, 4, 4, 1, 2, -1, 3, 0, 5, 2, 1, 1};  // -1 and 5 lie outside
      c.in = {make.weights(dtype, {experts, n, k}), own_rows ? make.rows({m, g, k}) : make.rows({m, k}),
              by_row(ints({m, g}, index))};
      if (bias) {
        c.must = BRIM_GROUPED_MATMUL_BIAS;
        c.in.push_back(weight(make.floats({experts, n})));
      }
      c.out = {row_result({m, g, n})};
      c.scale.resize(c.out[0].exact.size());
      for (uint32_t i = 0; i < m * g; ++i) {
        const int32_t e = index[i];
        if (e < 0 || e >= static_cast<int32_t>(experts)) continue;
        for (uint32_t r = 0; r < n; ++r) {
          const uint32_t row = static_cast<uint32_t>(e) * n + r;
          const double* x = &c.in[1].exact[uint64_t{own_rows ? i : i / g} * k];
          double &y = c.out[0].exact[i * n + r], &scale = c.scale[i * n + r];
          product_row(&c.in[0].exact[uint64_t{row} * k], x, k, &y, &scale);
          if (!bias) continue;
          y += c.in[3].exact[row];
          scale += std::fabs(c.in[3].exact[row]);
        }
      }
      c.limit = sum_limit(k) + 4 * kUlp;
      c.fast_rms = fast_limit(dtype);
      cases.push_back(std::move(c));
    }
  }
}

}  // namespace

void add_products(Maker& make, Cases& cases) {
  plain(make, cases);
  batched(make, cases);
  by_heads(make, cases);
  grouped(make, cases);
}

}  // namespace check::ops
