// Functions of rows: softmax and norms.
#include <algorithm>
#include <cmath>

#include "case.hpp"

namespace check::ops {
namespace {

// What lies outside of a row: one, two and three dimensions.
std::vector<uint32_t> with_rows(uint32_t width) {
  if (width == 5) return {3, 2, width};
  if (width >= 64 && width <= 300) return {3, 2, 2, width};
  return {3, width};
}
uint32_t rows_of(const Tensor& t) { return static_cast<uint32_t>(t.exact.size()) / t.dims.back(); }

std::string of_width(uint32_t width) { return "of " + std::to_string(width); }

void softmax(Maker& make, Cases& cases) {
  for (const uint32_t width : {1u, 5u, 300u, 4096u}) {
    for (const bool masked : {false, true}) {
      Case c;
      c.name = of_width(width) + (masked ? ", masked" : "");
      c.op = BRIM_OP_SOFTMAX;
      brim_softmax_attr a{};
      a.scale = 0.7f;
      c.attr = attr_bytes(a);
      c.in = {make.rows(with_rows(width), 4)};
      if (masked) {
        c.in.push_back(make.rows(with_rows(width), 1));
        for (uint32_t i = 0; i < c.in[1].exact.size(); ++i) {
          if (i % 3 == 1 && width > 1) put(c.in[1], i, -kInfinity);
        }
      }
      c.out = {row_result(with_rows(width))};
      for (uint32_t r = 0; r < rows_of(c.in[0]); ++r) {
        double top = -HUGE_VAL, sum = 0;
        const auto at = [&](uint32_t i) {
          const uint32_t j = r * width + i;
          return static_cast<double>(a.scale) * c.in[0].exact[j] + (masked ? c.in[1].exact[j] : 0);
        };
        for (uint32_t i = 0; i < width; ++i) top = std::max(top, at(i));
        for (uint32_t i = 0; i < width; ++i) sum += std::exp(at(i) - top);
        for (uint32_t i = 0; i < width; ++i) c.out[0].exact[r * width + i] = std::exp(at(i) - top) / sum;
      }
      c.limit = 128 * kUlp;
      c.scale = c.out[0].exact;
      for (double& s : c.scale) s += 1e-9;
      if (!masked) c.nan = NanReach::kRow;
      cases.push_back(std::move(c));
    }
  }
}

void rms_norm(Maker& make, Cases& cases) {
  for (const uint32_t width : {1u, 5u, 300u, 4096u}) {
    for (const uint32_t form : {0u, 1u, 2u}) {  // no weight, weight, weight + 1
      Case c;
      c.name = of_width(width) + (form == 0 ? "" : form == 1 ? ", weight" : ", weight + 1");
      c.op = BRIM_OP_RMS_NORM;
      brim_norm_attr a{};
      a.eps = 1e-5f;
      a.weight_offset = form == 2 ? 1 : 0;
      c.attr = attr_bytes(a);
      c.in = {make.rows(with_rows(width), 2)};
      if (form != 0) c.in.push_back(weight(make.floats({width}, 0.1, form == 1 ? 1 : 0)));
      c.out = {row_result(with_rows(width))};
      for (uint32_t r = 0; r < rows_of(c.in[0]); ++r) {
        const double* x = &c.in[0].exact[r * width];
        double sum = 0;
        for (uint32_t i = 0; i < width; ++i) sum += x[i] * x[i];
        const double factor = 1 / std::sqrt(sum / width + static_cast<double>(a.eps));
        for (uint32_t i = 0; i < width; ++i) {
          const double w = form == 0 ? 1 : c.in[1].exact[i] + static_cast<double>(a.weight_offset);
          c.out[0].exact[r * width + i] = x[i] * factor * w;
        }
      }
      c.limit = 8 * kUlp + sum_limit(width);
      c.nan = NanReach::kRow;
      cases.push_back(std::move(c));
    }
  }
}

void layer_norm(Maker& make, Cases& cases) {
  for (const uint32_t n : {1u, 5u, 64u, 201u}) {
    for (const uint32_t form : {0u, 1u, 2u}) {  // plain, weight, weight and bias
      Case c;
      c.name = of_width(n) + (form == 0 ? "" : form == 1 ? ", weight" : ", weight and bias");
      c.op = BRIM_OP_LAYER_NORM;
      brim_norm_attr a{};
      a.eps = 1e-5f;
      c.attr = attr_bytes(a);
      c.in = {make.rows(with_rows(n), 1, 20)};
      if (form >= 1) c.in.push_back(weight(make.floats({n})));
      if (form == 2) c.in.push_back(weight(make.floats({n})));
      c.out = {row_result(with_rows(n))};
      for (uint32_t r = 0; r < rows_of(c.in[0]); ++r) {
        const double* x = &c.in[0].exact[r * n];
        double mean = 0, square = 0;
        for (uint32_t i = 0; i < n; ++i) mean += x[i] / n;
        for (uint32_t i = 0; i < n; ++i) square += (x[i] - mean) * (x[i] - mean) / n;
        for (uint32_t i = 0; i < n; ++i) {
          double y = (x[i] - mean) / std::sqrt(square + static_cast<double>(a.eps));
          if (form >= 1) y *= c.in[1].exact[i];
          if (form == 2) y += c.in[2].exact[i];
          c.out[0].exact[r * n + i] = y;
        }
      }
      c.scale.assign(c.out[0].exact.size(), 30);  // a mean of 20 in F32 is off by 20 half units in the last place
      c.limit = (n == 1 ? 1.0 / std::sqrt(1e-5) : 1) * 32 * kUlp;
      c.nan = NanReach::kRow;
      cases.push_back(std::move(c));
    }
  }
}

void l2_norm(Maker& make, Cases& cases) {
  for (const uint32_t n : {1u, 5u, 64u, 200u}) {
    Case c;
    c.name = of_width(n);
    c.op = BRIM_OP_L2_NORM;
    brim_norm_attr a{};
    a.eps = 1e-3f;
    c.attr = attr_bytes(a);
    c.in = {make.rows(with_rows(n))};
    c.out = {row_result(with_rows(n))};
    for (uint32_t r = 0; r < rows_of(c.in[0]); ++r) {
      double square = 0;
      for (uint32_t i = 0; i < n; ++i) square += c.in[0].exact[r * n + i] * c.in[0].exact[r * n + i];
      for (uint32_t i = 0; i < n; ++i) {
        c.out[0].exact[r * n + i] = c.in[0].exact[r * n + i] / std::sqrt(square + static_cast<double>(a.eps));
      }
    }
    c.limit = sum_limit(n) + 8 * kUlp;
    cases.push_back(std::move(c));
  }
}

}  // namespace

void add_norms(Maker& make, Cases& cases) {
  softmax(make, cases);
  rms_norm(make, cases);
  layer_norm(make, cases);
  l2_norm(make, cases);
}

}  // namespace check::ops
