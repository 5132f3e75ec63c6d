// Functions of single elements.
#include <algorithm>
#include <cmath>

#include "case.hpp"

namespace check::ops {
namespace {

// Of every rank, so that the number of the step's rows has been every dimension from the last; the largest of each is
// worth sharing among threads.
using Shape = std::vector<uint32_t>;

std::string of_rank(const Shape& dims) { return " of rank " + std::to_string(dims.size()); }

void unary(Maker& make, Cases& cases) {
  for (uint32_t kind = BRIM_UNARY_NEG; kind <= BRIM_UNARY_FLOOR; ++kind) {
    for (const Shape& dims : {Shape{5}, Shape{3, 7}, Shape{3, 2, 1}, Shape{3, 5, 7, 29}}) {
      Case c;
      c.name = "kind " + std::to_string(kind) + of_rank(dims);
      c.op = BRIM_OP_UNARY;
      brim_unary_attr a{};
      a.kind = kind;
      c.attr = attr_bytes(a);
      c.in = {make.rows(dims, 3)};
      const bool positive = kind == BRIM_UNARY_SQRT || kind == BRIM_UNARY_RSQRT || kind == BRIM_UNARY_LOG;
      for (size_t i = 0; positive && i < c.in[0].exact.size(); ++i)
        put(c.in[0], i, static_cast<float>(std::fabs(c.in[0].exact[i]) + 0.01));
      c.out = {row_result(dims)};
      c.scale.resize(c.out[0].exact.size());
      for (size_t i = 0; i < c.scale.size(); ++i) {
        const double x = c.in[0].exact[i], y = unary_of(kind, x);
        c.out[0].exact[i] = y;
        // What is a difference or a product near a zero of the function loses digits there: judged against its terms.
        const bool crosses = kind == BRIM_UNARY_SIN || kind == BRIM_UNARY_COS || kind == BRIM_UNARY_LOG;
        c.scale[i] = std::max(std::fabs(y), crosses ? 1.0 : std::min(1.0, std::fabs(x)));
      }
      c.limit = 16 * kUlp;
      c.nan = NanReach::kElement;
      cases.push_back(std::move(c));
    }
  }
  // Far out, where a careless formula overflows: sigmoid, silu, softplus, tanh and the GELUs have plain limits there.
  for (const uint32_t kind : {BRIM_UNARY_TANH, BRIM_UNARY_SIGMOID, BRIM_UNARY_SILU, BRIM_UNARY_GELU,
                              BRIM_UNARY_GELU_TANH, BRIM_UNARY_GELU_QUICK, BRIM_UNARY_SOFTPLUS}) {
    Case c;
    c.name = "kind " + std::to_string(kind) + " far out";
    c.op = BRIM_OP_UNARY;
    brim_unary_attr a{};
    a.kind = kind;
    c.attr = attr_bytes(a);
    c.in = {by_row(of_values({2, 4}, {-1000, -200, 200, 1000, -90, -30, 30, 90}))};
    c.out = {row_result({2, 4})};
    c.scale.assign(8, 1);
    for (size_t i = 0; i < 8; ++i) {
      c.out[0].exact[i] = unary_of(kind, c.in[0].exact[i]);
      c.scale[i] = std::max(1.0, std::fabs(c.out[0].exact[i]));
    }
    c.limit = 16 * kUlp;
    cases.push_back(std::move(c));
  }
}

void binary(Maker& make, Cases& cases) {
  const std::vector<std::pair<Shape, Shape>> shapes = {
      {{3, 40}, {3, 40}}, {{3, 40}, {40}},        {{3, 40}, {3, 1}}, {{1}, {2, 3, 5}}, {{2, 1, 5}, {3, 1}},
      {{3, 1}, {3, 257}}, {{2, 3, 4, 5}, {4, 1}}, {{1, 1}, {1, 1}},  {{0, 6}, {0, 6}}, {{7}, {7}}};
  for (uint32_t kind = BRIM_BINARY_ADD; kind <= BRIM_BINARY_POW; ++kind) {
    for (const auto& [da, db] : shapes) {
      Case c;
      c.name = "kind " + std::to_string(kind) + " of ranks " + std::to_string(da.size()) + " and " +
               std::to_string(db.size());
      c.op = BRIM_OP_BINARY;
      brim_binary_attr a{};
      a.kind = kind;
      c.attr = attr_bytes(a);
      const bool pow = kind == BRIM_BINARY_POW;
      c.in = {make.floats(da, pow ? 0.2 : 1, pow ? 2 : 0), make.floats(db, 1, kind == BRIM_BINARY_DIV ? 4 : 0)};
      const size_t rank = std::max(da.size(), db.size());
      const auto dim = [&](const std::vector<uint32_t>& d, size_t i) {
        return i < rank - d.size() ? 1 : d[i - (rank - d.size())];
      };
      std::vector<uint32_t> dims(rank);
      for (size_t i = 0; i < rank; ++i) dims[i] = dim(da, i) == 1 ? dim(db, i) : dim(da, i);
      const bool rows = da.size() == rank && dim(da, 0) == dims[0];
      c.in[0].by_row = rows;
      c.in[1].by_row = rows && db.size() == rank && dim(db, 0) == dims[0] && dims[0] != 1;
      c.out = {result(dims)};
      c.out[0].by_row = rows;
      std::vector<double>& y = c.out[0].exact;
      c.scale.resize(y.size());
      for (uint64_t at = 0; at < y.size(); ++at) {
        uint64_t ia = 0, ib = 0, rest = at, step = y.size();
        for (size_t i = 0; i < rank; ++i) {
          step /= dims[i];
          const uint64_t x = rest / step;
          rest %= step;
          ia = ia * dim(da, i) + (dim(da, i) == 1 ? 0 : x);
          ib = ib * dim(db, i) + (dim(db, i) == 1 ? 0 : x);
        }
        const double p = c.in[0].exact[ia], q = c.in[1].exact[ib];
        const double values[] = {0, p + q, p - q, p * q, p / q, std::max(p, q), std::min(p, q), std::pow(p, q)};
        y[at] = values[kind];
        c.scale[at] = kind <= BRIM_BINARY_SUB ? std::fabs(p) + std::fabs(q) : std::fabs(y[at]);
      }
      c.limit = pow ? 16 * kUlp : 2 * kUlp;
      // 1 to any power and any number to the power 0 are 1 (C, IEEE 754): NaN need not come through there.
      if (rows && da == db && !pow && dims[0] > 1) c.nan = NanReach::kElement;
      cases.push_back(std::move(c));
    }
  }
}

void affine(Maker& make, Cases& cases) {
  for (const bool cap : {false, true}) {
    for (const Shape& dims : {Shape{5}, Shape{5, 77}, Shape{3, 2, 1}, Shape{3, 5, 7, 11}}) {
      Case c;
      c.name = "values" + of_rank(dims);
      c.op = BRIM_OP_AFFINE_CLAMP;
      c.must = cap ? BRIM_AFFINE_SOFTCAP : 0;
      brim_affine_attr a{};
      a.scale = 1.5f;
      a.bias = -0.25f;
      a.lo = cap && dims.back() == 1 ? -kInfinity : -1;
      a.hi = cap && dims.back() == 1 ? kInfinity : 2;
      a.cap = 3;
      c.attr = attr_bytes(a);
      c.in = {make.rows(dims, 2)};
      c.out = {row_result(dims)};
      c.scale.assign(c.out[0].exact.size(), 5);
      for (size_t i = 0; i < c.scale.size(); ++i) {
        const double y = 1.5 * c.in[0].exact[i] - 0.25;
        c.out[0].exact[i] =
            std::clamp(cap ? 3 * std::tanh(y / 3) : y, static_cast<double>(a.lo), static_cast<double>(a.hi));
      }
      c.limit = 8 * kUlp;
      c.nan = NanReach::kElement;
      cases.push_back(std::move(c));
    }
  }
}

double gated(uint32_t kind, double g, double u, double alpha, double limit) {
  switch (kind) {
    case BRIM_GLU_SILU:
      return unary_of(BRIM_UNARY_SILU, g) * u;
    case BRIM_GLU_GELU:
      return unary_of(BRIM_UNARY_GELU, g) * u;
    case BRIM_GLU_GELU_TANH:
      return unary_of(BRIM_UNARY_GELU_TANH, g) * u;
    case BRIM_GLU_RELU:
      return std::max(g, 0.0) * u;
    case BRIM_GLU_SIGMOID:
      return unary_of(BRIM_UNARY_SIGMOID, g) * u;
    default:
      g = std::min(g, limit);
      return g * unary_of(BRIM_UNARY_SIGMOID, alpha * g) * (std::clamp(u, -limit, limit) + 1);
  }
}

void glu(Maker& make, Cases& cases) {
  for (uint32_t kind = BRIM_GLU_SILU; kind <= BRIM_GLU_SWIGLU_LIMIT; ++kind) {
    for (const bool halves : {false, true}) {
      for (const Shape& dims : {Shape{5}, Shape{3, 45}, Shape{3, 2, 1}, Shape{3, 5, 7, 11}}) {
        if (halves && dims.size() == 1) continue;
        const uint32_t width = dims.back();
        Shape both = dims;
        both.back() *= 2;
        Case c;
        c.name = "kind " + std::to_string(kind) + (halves ? ", halves of one input" : "") + of_rank(dims);
        c.op = BRIM_OP_GLU;
        brim_glu_attr a{};
        a.kind = kind;
        a.alpha = 1.702f;
        a.limit = 2;
        c.attr = attr_bytes(a);
        c.in = {make.rows(halves ? both : dims, 2)};
        if (!halves) c.in.push_back(make.rows(dims, 2));
        c.out = {row_result(dims)};
        c.scale.resize(count(dims));
        for (uint32_t i = 0; i < c.scale.size(); ++i) {
          const uint32_t r = i / width, x = i % width;
          const double g = c.in[0].exact[halves ? r * 2 * width + x : i];
          const double u = halves ? c.in[0].exact[(r * 2 + 1) * width + x] : c.in[1].exact[i];
          const double y = gated(kind, g, u, static_cast<double>(a.alpha), static_cast<double>(a.limit));
          c.out[0].exact[i] = y;
          c.scale[i] = std::fabs(y) + std::fabs(g * u) * 0.5 + 0.1;
        }
        c.limit = 16 * kUlp;
        if (!halves) c.nan = NanReach::kElement;
        cases.push_back(std::move(c));
      }
    }
  }
}

}  // namespace

void add_elementwise(Maker& make, Cases& cases) {
  unary(make, cases);
  binary(make, cases);
  affine(make, cases);
  glu(make, cases);
}

}  // namespace check::ops
