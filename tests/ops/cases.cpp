#include "cases.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <model/quantize/codec.hpp>
#include <numbers>
#include <random>

#include "../model/format_decoder.hpp"

namespace op_suite {
namespace {

constexpr double kUlp = 1.0 / (1 << 24);  // half a unit in the last place of F32, relative

std::mt19937_64& random() {
  static std::mt19937_64 generator(20261122);
  return generator;
}

uint64_t count(const std::vector<uint32_t>& dims) {
  uint64_t n = 1;
  for (const uint32_t d : dims) n *= d;
  return n;
}

Tensor floats(std::vector<uint32_t> dims, double spread = 1, double around = 0) {
  Tensor t;
  t.dims = std::move(dims);
  std::normal_distribution<float> normal(static_cast<float>(around), static_cast<float>(spread));
  std::vector<float> values(count(t.dims));
  for (float& v : values) v = normal(random());
  t.bytes.resize(values.size() * 4);
  std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
  t.exact.assign(values.begin(), values.end());
  return t;
}

void put(Tensor& t, size_t i, float value) {
  std::memcpy(t.bytes.data() + 4 * i, &value, 4);
  t.exact[i] = value;
}

Tensor ints(std::vector<uint32_t> dims, const std::vector<int32_t>& values) {
  Tensor t;
  t.dtype = BRIM_DTYPE_I32;
  t.dims = std::move(dims);
  t.bytes.resize(values.size() * 4);
  std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
  t.exact.assign(values.begin(), values.end());
  return t;
}

Tensor weights(uint32_t dtype, std::vector<uint32_t> dims) {
  const Tensor plain = floats(dims, 0.1);
  Tensor t;
  t.dtype = dtype;
  t.dims = std::move(dims);
  const uint64_t n = count(t.dims);
  t.bytes.resize(brim_dtype_row_bytes(dtype, t.dims.back()) * (n / t.dims.back()));
  brim::model::encode(dtype, reinterpret_cast<const float*>(plain.bytes.data()), t.bytes.data(), n);
  t.exact = brim::test::decode_by_format(dtype, t.bytes);
  return t;
}

Tensor result(std::vector<uint32_t> dims, uint32_t dtype = BRIM_DTYPE_F32) {
  Tensor t;
  t.dtype = dtype;
  t.dims = std::move(dims);
  t.exact.resize(count(t.dims));
  return t;
}

template <class Attr>
std::vector<std::byte> attr(Attr a) {
  a.struct_size = sizeof(a);
  std::vector<std::byte> bytes(sizeof(a));
  std::memcpy(bytes.data(), &a, sizeof(a));
  return bytes;
}

// Every type of the registry that weights come in; files hold no F64 ones.
std::vector<uint32_t> weight_dtypes() {
  std::vector<uint32_t> all;
#define BRIM_X(name, number, spelling, elements, bytes) \
  if (number != BRIM_DTYPE_F64 && brim::model::is_weight_dtype(number)) all.push_back(number);
  BRIM_DTYPE_TABLE(BRIM_X)
#undef BRIM_X
  return all;
}

double sum_limit(uint32_t k) { return 4 * std::sqrt(double(k)) * kUlp; }

// ---- matrix multiply
// -------------------------------------------------------------------------------------------------

void product_row(const double* w, const double* x, uint32_t k, double* y, double* scale) {
  double sum = 0, size = 0;
  for (uint32_t i = 0; i < k; ++i) {
    sum += w[i] * x[i];
    size += std::fabs(w[i] * x[i]);
  }
  *y += sum;
  *scale += size;
}

bool is_float(uint32_t dtype) { return brim_dtype_block_elements(dtype) == 1; }

Case matmul(uint32_t dtype, uint32_t n, uint32_t k, uint32_t m, bool bias, uint32_t row_stride = 0) {
  Case c;
  c.name = std::string("MATMUL ") + brim_dtype_name(dtype) + " [" + std::to_string(n) + ", " + std::to_string(k) +
           "] x " + std::to_string(m) + (bias ? " + bias" : "") + (row_stride ? " strided" : "");
  c.op = BRIM_OP_MATMUL;
  c.in = {weights(dtype, {n, k}), floats({m, k})};
  c.in[1].row_stride = row_stride;
  Tensor y = result({m, n});
  c.scale.resize(y.exact.size());
  for (uint32_t t = 0; t < m; ++t) {
    for (uint32_t r = 0; r < n; ++r) {
      product_row(&c.in[0].exact[uint64_t{r} * k], &c.in[1].exact[uint64_t{t} * k], k, &y.exact[t * n + r],
                  &c.scale[t * n + r]);
    }
  }
  if (bias) {
    c.must = BRIM_MATMUL_BIAS;
    c.in.push_back(floats({n}));
    for (uint64_t i = 0; i < y.exact.size(); ++i) {
      y.exact[i] += c.in[2].exact[i % n];
      c.scale[i] += std::fabs(c.in[2].exact[i % n]);
    }
  }
  c.out = {std::move(y)};
  c.limit = sum_limit(k) + 4 * kUlp;
  c.fast_rms = is_float(dtype) ? 1e-3 : 2e-2;
  return c;
}

void matmuls(std::vector<Case>& cases) {
  for (const uint32_t dtype : weight_dtypes()) {
    const uint32_t block = std::max(brim_dtype_block_elements(dtype), 1u);
    for (const uint32_t m : {1u, 2u, 5u, 17u})
      cases.push_back(matmul(dtype, 9, block == 1 ? 67 : 3 * block, m, m == 5));
    cases.push_back(matmul(dtype, 1, block, 1, false));
    cases.push_back(matmul(dtype, 64, block == 1 ? 2048 : 2048 / block * block, 3, true));
    cases.push_back(matmul(dtype, 5, 2 * block, 4, false, 2 * block + 24));
  }
  Case b;
  b.name = "MATMUL batched, the weight shared along one dimension";
  b.op = BRIM_OP_MATMUL;
  b.must = BRIM_MATMUL_BATCHED;
  b.in = {floats({2, 1, 5, 33}), floats({2, 3, 4, 33})};
  Tensor y = result({2, 3, 4, 5});
  b.scale.resize(y.exact.size());
  for (uint32_t i = 0; i < 6; ++i) {
    for (uint32_t t = 0; t < 4; ++t) {
      for (uint32_t r = 0; r < 5; ++r) {
        const uint64_t at = (i * 4 + t) * 5 + r;
        product_row(&b.in[0].exact[((i / 3) * 5 + r) * 33], &b.in[1].exact[(i * 4 + t) * 33], 33, &y.exact[at],
                    &b.scale[at]);
      }
    }
  }
  b.out = {std::move(y)};
  b.limit = sum_limit(33);
  b.fast_rms = 1e-3;
  cases.push_back(std::move(b));

  for (const uint32_t dtype : weight_dtypes()) {
    for (const bool own_rows : {false, true}) {
      const uint32_t k = std::max(brim_dtype_block_elements(dtype), 32u), n = 7, experts = 5, m = 6, g = 2;
      Case c;
      c.name = std::string("GROUPED_MATMUL ") + brim_dtype_name(dtype) + (own_rows ? ", a row per expert" : "");
      c.op = BRIM_OP_GROUPED_MATMUL;
      c.must = BRIM_GROUPED_MATMUL_BIAS;
      const std::vector<int32_t> index = {0, 4, 4, 1, 2, -1, 3, 0, 5, 2, 1, 1};  // -1 and 5 lie outside
      c.in = {weights(dtype, {experts, n, k}), own_rows ? floats({m, g, k}) : floats({m, k}), ints({m, g}, index),
              floats({experts, n})};
      Tensor out = result({m, g, n});
      c.scale.resize(out.exact.size());
      for (uint32_t i = 0; i < m * g; ++i) {
        const int32_t e = index[i];
        if (e < 0 || e >= static_cast<int32_t>(experts)) continue;
        for (uint32_t r = 0; r < n; ++r) {
          const double* x = &c.in[1].exact[uint64_t{own_rows ? i : i / g} * k];
          product_row(&c.in[0].exact[(uint64_t(e) * n + r) * k], x, k, &out.exact[i * n + r], &c.scale[i * n + r]);
          out.exact[i * n + r] += c.in[3].exact[e * n + r];
          c.scale[i * n + r] += std::fabs(c.in[3].exact[e * n + r]);
        }
      }
      c.out = {std::move(out)};
      c.limit = sum_limit(k) + 4 * kUlp;
      c.fast_rms = is_float(dtype) ? 1e-3 : 2e-2;
      cases.push_back(std::move(c));
    }
  }
}

// ---- elementwise
// -----------------------------------------------------------------------------------------------------

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double unary_of(uint32_t kind, double x) {
  switch (kind) {
    case BRIM_UNARY_NEG:
      return -x;
    case BRIM_UNARY_ABS:
      return std::fabs(x);
    case BRIM_UNARY_SQRT:
      return std::sqrt(x);
    case BRIM_UNARY_RSQRT:
      return 1 / std::sqrt(x);
    case BRIM_UNARY_EXP:
      return std::exp(x);
    case BRIM_UNARY_LOG:
      return std::log(x);
    case BRIM_UNARY_SIN:
      return std::sin(x);
    case BRIM_UNARY_COS:
      return std::cos(x);
    case BRIM_UNARY_TANH:
      return std::tanh(x);
    case BRIM_UNARY_SIGMOID:
      return sigmoid(x);
    case BRIM_UNARY_SILU:
      return x * sigmoid(x);
    case BRIM_UNARY_GELU:
      return x / 2 * (1 + std::erf(x / std::numbers::sqrt2));
    case BRIM_UNARY_GELU_TANH:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case BRIM_UNARY_GELU_QUICK:
      return x * sigmoid(1.702 * x);
    case BRIM_UNARY_RELU:
      return std::max(x, 0.0);
    case BRIM_UNARY_RELU_SQUARED:
      return std::max(x, 0.0) * std::max(x, 0.0);
    case BRIM_UNARY_SOFTPLUS:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    default:
      return std::floor(x);
  }
}

void elementwise(std::vector<Case>& cases) {
  for (uint32_t kind = BRIM_UNARY_NEG; kind <= BRIM_UNARY_FLOOR; ++kind) {
    for (const uint32_t width : {1u, 7u, 1031u}) {
      Case c;
      c.name = "UNARY " + std::to_string(kind) + " [2, " + std::to_string(width) + "]";
      c.op = BRIM_OP_UNARY;
      brim_unary_attr a{};
      a.kind = kind;
      c.attr = attr(a);
      c.in = {floats({2, width}, 3)};
      const bool positive = kind == BRIM_UNARY_SQRT || kind == BRIM_UNARY_RSQRT || kind == BRIM_UNARY_LOG;
      for (size_t i = 0; positive && i < c.in[0].exact.size(); ++i)
        put(c.in[0], i, static_cast<float>(std::fabs(c.in[0].exact[i]) + 0.01));
      c.out = {result({2, width})};
      c.scale.resize(2 * width);
      for (size_t i = 0; i < c.scale.size(); ++i) {
        c.out[0].exact[i] = unary_of(kind, c.in[0].exact[i]);
        // What is a difference or a product near a zero of the function loses digits there: judged against its terms.
        c.scale[i] = std::max(std::fabs(c.out[0].exact[i]),
                              kind == BRIM_UNARY_SIN || kind == BRIM_UNARY_COS || kind == BRIM_UNARY_LOG
                                  ? 1.0
                                  : std::min(1.0, std::fabs(c.in[0].exact[i])));
      }
      c.limit = 16 * kUlp;
      cases.push_back(std::move(c));
    }
  }
  const std::vector<std::pair<std::vector<uint32_t>, std::vector<uint32_t>>> shapes = {
      {{3, 40}, {3, 40}}, {{3, 40}, {40}}, {{3, 40}, {3, 1}}, {{1}, {2, 3, 5}}, {{2, 1, 5}, {3, 1}}};
  for (uint32_t kind = BRIM_BINARY_ADD; kind <= BRIM_BINARY_POW; ++kind) {
    for (const auto& [da, db] : shapes) {
      Case c;
      c.name = "BINARY " + std::to_string(kind) + " of ranks " + std::to_string(da.size()) + " and " +
               std::to_string(db.size());
      c.op = BRIM_OP_BINARY;
      brim_binary_attr a{};
      a.kind = kind;
      c.attr = attr(a);
      const bool pow = kind == BRIM_BINARY_POW;
      c.in = {floats(da, pow ? 0.2 : 1, pow ? 2 : 0), floats(db, 1, kind == BRIM_BINARY_DIV ? 4 : 0)};
      const size_t rank = std::max(da.size(), db.size());
      std::vector<uint32_t> dims(rank);
      const auto dim = [&](const std::vector<uint32_t>& d, size_t i) {
        return i < rank - d.size() ? 1 : d[i - (rank - d.size())];
      };
      for (size_t i = 0; i < rank; ++i) dims[i] = std::max(dim(da, i), dim(db, i));
      Tensor y = result(dims);
      c.scale.resize(y.exact.size());
      for (uint64_t at = 0; at < y.exact.size(); ++at) {
        uint64_t ia = 0, ib = 0, rest = at, step = y.exact.size();
        for (size_t i = 0; i < rank; ++i) {
          step /= dims[i];
          const uint64_t x = rest / step;
          rest %= step;
          ia = ia * dim(da, i) + (dim(da, i) == 1 ? 0 : x);
          ib = ib * dim(db, i) + (dim(db, i) == 1 ? 0 : x);
        }
        const double p = c.in[0].exact[ia], q = c.in[1].exact[ib];
        const double values[] = {0, p + q, p - q, p * q, p / q, std::max(p, q), std::min(p, q), std::pow(p, q)};
        y.exact[at] = values[kind];
        c.scale[at] = kind <= BRIM_BINARY_SUB ? std::fabs(p) + std::fabs(q) : std::fabs(y.exact[at]);
      }
      c.out = {std::move(y)};
      c.limit = pow ? 16 * kUlp : 2 * kUlp;
      cases.push_back(std::move(c));
    }
  }
  for (const bool cap : {false, true}) {
    Case c;
    c.name = cap ? "AFFINE_CLAMP with a soft cap" : "AFFINE_CLAMP";
    c.op = BRIM_OP_AFFINE_CLAMP;
    c.must = cap ? BRIM_AFFINE_SOFTCAP : 0;
    brim_affine_attr a{};
    a.scale = 1.5f;
    a.bias = -0.25f;
    a.lo = cap ? -std::numeric_limits<float>::infinity() : -1;
    a.hi = cap ? std::numeric_limits<float>::infinity() : 2;
    a.cap = 3;
    c.attr = attr(a);
    c.in = {floats({5, 77}, 2)};
    c.out = {result({5, 77})};
    c.scale.assign(5 * 77, 5);
    for (size_t i = 0; i < c.scale.size(); ++i) {
      const double y = 1.5 * c.in[0].exact[i] - 0.25;
      c.out[0].exact[i] = cap ? 3 * std::tanh(y / 3) : std::clamp(y, -1.0, 2.0);
    }
    c.limit = 8 * kUlp;
    cases.push_back(std::move(c));
  }
  for (uint32_t kind = BRIM_GLU_SILU; kind <= BRIM_GLU_SWIGLU_LIMIT; ++kind) {
    for (const bool split : {false, true}) {
      Case c;
      c.name = "GLU " + std::to_string(kind) + (split ? ", halves of one input" : "");
      c.op = BRIM_OP_GLU;
      brim_glu_attr a{};
      a.kind = kind;
      a.alpha = 1.702f;
      a.limit = 2;
      c.attr = attr(a);
      constexpr uint32_t kRows = 3, kWidth = 45;
      c.in = split ? std::vector<Tensor>{floats({kRows, 2 * kWidth}, 2)}
                   : std::vector<Tensor>{floats({kRows, kWidth}, 2), floats({kRows, kWidth}, 2)};
      c.out = {result({kRows, kWidth})};
      c.scale.resize(kRows * kWidth);
      for (uint32_t i = 0; i < kRows * kWidth; ++i) {
        const uint32_t r = i / kWidth, x = i % kWidth;
        double g = split ? c.in[0].exact[r * 2 * kWidth + x] : c.in[0].exact[i];
        double u = split ? c.in[0].exact[r * 2 * kWidth + kWidth + x] : c.in[1].exact[i];
        double y = 0;
        switch (kind) {
          case BRIM_GLU_SILU:
            y = unary_of(BRIM_UNARY_SILU, g) * u;
            break;
          case BRIM_GLU_GELU:
            y = unary_of(BRIM_UNARY_GELU, g) * u;
            break;
          case BRIM_GLU_GELU_TANH:
            y = unary_of(BRIM_UNARY_GELU_TANH, g) * u;
            break;
          case BRIM_GLU_RELU:
            y = std::max(g, 0.0) * u;
            break;
          case BRIM_GLU_SIGMOID:
            y = sigmoid(g) * u;
            break;
          default:
            g = std::min(g, 2.0);
            u = std::clamp(u, -2.0, 2.0);
            y = g * sigmoid(double(1.702f) * g) * (u + 1);
        }
        c.out[0].exact[i] = y;
        c.scale[i] = std::fabs(y) + std::fabs(g * u) * 0.5 + 0.1;
      }
      c.limit = 16 * kUlp;
      cases.push_back(std::move(c));
    }
  }
}

// ---- norms, selection, movement
// ----------------------------------------------------------------------------------------

void norms(std::vector<Case>& cases) {
  for (const uint32_t width : {1u, 5u, 300u, 4096u}) {
    for (const bool masked : {false, true}) {
      Case c;
      c.name = "SOFTMAX [3, " + std::to_string(width) + "]" + (masked ? " masked" : "");
      c.op = BRIM_OP_SOFTMAX;
      brim_softmax_attr a{};
      a.scale = 0.7f;
      c.attr = attr(a);
      c.in = {floats({3, width}, 4)};
      if (masked) {
        c.in.push_back(floats({3, width}, 0));
        for (uint32_t i = 0; i < 3 * width; ++i) {
          if (i % 3 == 1 && width > 1) put(c.in[1], i, -std::numeric_limits<float>::infinity());
        }
      }
      c.out = {result({3, width})};
      for (uint32_t r = 0; r < 3; ++r) {
        double top = -1e300, sum = 0;
        const auto at = [&](uint32_t i) {
          return double(0.7f) * c.in[0].exact[r * width + i] + (masked ? c.in[1].exact[r * width + i] : 0);
        };
        for (uint32_t i = 0; i < width; ++i) top = std::max(top, at(i));
        for (uint32_t i = 0; i < width; ++i) sum += std::exp(at(i) - top);
        for (uint32_t i = 0; i < width; ++i) c.out[0].exact[r * width + i] = std::exp(at(i) - top) / sum;
      }
      c.limit = 128 * kUlp;
      c.scale = c.out[0].exact;
      for (double& s : c.scale) s += 1e-9;
      cases.push_back(std::move(c));
    }
    for (const bool weighted : {false, true}) {
      Case c;
      c.name = "RMS_NORM [3, " + std::to_string(width) + "]" + (weighted ? " with weight + 1" : "");
      c.op = BRIM_OP_RMS_NORM;
      brim_norm_attr a{};
      a.eps = 1e-5f;
      a.weight_offset = weighted ? 1 : 0;
      c.attr = attr(a);
      c.in = {floats({3, width}, 2)};
      c.in[0].row_stride = width + 8;
      if (weighted) c.in.push_back(floats({width}, 0.1));
      c.out = {result({3, width})};
      for (uint32_t r = 0; r < 3; ++r) {
        double sum = 0;
        for (uint32_t i = 0; i < width; ++i) sum += c.in[0].exact[r * width + i] * c.in[0].exact[r * width + i];
        const double factor = 1 / std::sqrt(sum / width + double(1e-5f));
        for (uint32_t i = 0; i < width; ++i) {
          c.out[0].exact[r * width + i] = c.in[0].exact[r * width + i] * factor * (weighted ? c.in[1].exact[i] + 1 : 1);
        }
      }
      c.limit = 8 * kUlp + sum_limit(width);
      cases.push_back(std::move(c));
    }
  }
}

void selection(std::vector<Case>& cases) {
  constexpr uint32_t kWidth = 133;
  Tensor x = floats({4, kWidth});
  for (uint32_t i = 0; i < kWidth; ++i)
    put(x, kWidth + i, i == 20 || i == 90 ? 5.f : static_cast<float>(-static_cast<int>(i % 3)));
  put(x, 2 * kWidth + 3, std::numeric_limits<float>::quiet_NaN());
  for (uint32_t i = 0; i < kWidth; ++i) put(x, 3 * kWidth + i, -std::numeric_limits<float>::infinity());
  // NaN counts as smallest, equal values go by index.
  const auto ordered = [&](uint32_t r) {
    std::vector<uint32_t> order(kWidth);
    for (uint32_t i = 0; i < kWidth; ++i) order[i] = i;
    const auto key = [&](uint32_t i) {
      return std::isnan(x.exact[r * kWidth + i]) ? -1e308 * 10 : x.exact[r * kWidth + i];
    };
    std::stable_sort(order.begin(), order.end(), [&](uint32_t p, uint32_t q) {
      const bool np = std::isnan(x.exact[r * kWidth + p]), nq = std::isnan(x.exact[r * kWidth + q]);
      if (np != nq) return nq;
      return key(p) > key(q);
    });
    return order;
  };
  Case a;
  a.name = "ARGMAX with ties, a NaN, all -infinity";
  a.op = BRIM_OP_ARGMAX;
  a.in = {x};
  a.out = {result({4}, BRIM_DTYPE_I32)};
  for (uint32_t r = 0; r < 4; ++r) a.out[0].exact[r] = ordered(r)[0];
  cases.push_back(std::move(a));
  Case t;
  t.name = "TOPK 9 with ties and a NaN";
  t.op = BRIM_OP_TOPK;
  brim_topk_attr k{};
  k.k = 9;
  t.attr = attr(k);
  t.in = {x};
  t.out = {result({4, 9}), result({4, 9}, BRIM_DTYPE_I32)};
  for (uint32_t r = 0; r < 4; ++r) {
    for (uint32_t i = 0; i < 9; ++i) {
      t.out[1].exact[r * 9 + i] = ordered(r)[i];
      t.out[0].exact[r * 9 + i] = x.exact[r * kWidth + ordered(r)[i]];
    }
  }
  cases.push_back(std::move(t));
}

void movement(std::vector<Case>& cases) {
  for (const uint32_t dtype : weight_dtypes()) {
    const uint32_t block = brim_dtype_block_elements(dtype), width = block == 1 ? 49 : 2 * block;
    Case c;
    c.name = std::string("GATHER_ROWS ") + brim_dtype_name(dtype);
    c.op = BRIM_OP_GATHER_ROWS;
    const std::vector<int32_t> index = {4, 0, -1, 2, 6, 2};  // -1 and 6 lie outside
    c.in = {weights(dtype, {6, width}), ints({6}, index)};
    c.out = {result({6, width})};
    for (uint32_t i = 0; i < 6 * width; ++i) {
      const int32_t r = index[i / width];
      if (r >= 0 && r < 6) c.out[0].exact[i] = c.in[0].exact[uint64_t(r) * width + i % width];
    }
    c.limit = 0;  // exact, in every numerics
    cases.push_back(std::move(c));
  }
  for (const uint32_t mode : {BRIM_SCATTER_SET, BRIM_SCATTER_ADD}) {
    Case c;
    c.name = mode == BRIM_SCATTER_SET ? "SCATTER_ROWS set" : "SCATTER_ROWS add";
    c.op = BRIM_OP_SCATTER_ROWS;
    brim_scatter_attr a{};
    a.mode = mode;
    c.attr = attr(a);
    const std::vector<int32_t> index = {2, 9, 0, 2};
    c.in = {floats({5, 19}), floats({4, 19}), ints({4}, index)};
    c.out = {result({5, 19})};
    c.out[0].exact = c.in[0].exact;
    for (uint32_t i = 0; i < 4 * 19; ++i) {
      if (index[i / 19] >= 5) continue;
      double& y = c.out[0].exact[index[i / 19] * 19 + i % 19];
      y = mode == BRIM_SCATTER_SET ? c.in[1].exact[i] : y + c.in[1].exact[i];
    }
    c.scale.assign(5 * 19, 8);
    c.limit = 2 * kUlp;
    cases.push_back(std::move(c));
  }
  for (const uint32_t dtype : weight_dtypes()) {
    Case c;
    c.name = std::string("COPY to f32 from ") + brim_dtype_name(dtype);
    c.op = BRIM_OP_COPY;
    brim_copy_attr a{};
    a.dtype = BRIM_DTYPE_F32;
    c.attr = attr(a);
    const uint32_t block = brim_dtype_block_elements(dtype), width = block == 1 ? 37 : 2 * block;
    c.in = {weights(dtype, {3, width})};
    c.out = {result({3, width})};
    c.out[0].exact = c.in[0].exact;
    c.limit = 0;
    cases.push_back(std::move(c));
  }
}

// ---- rotation
// ----------------------------------------------------------------------------------------------------------

void ropes(std::vector<Case>& cases) {
  for (const uint32_t pairing : {BRIM_ROPE_ADJACENT, BRIM_ROPE_HALVES}) {
    for (const uint64_t must : {uint64_t{0}, uint64_t{BRIM_ROPE_FACTORS}, uint64_t{BRIM_ROPE_YARN}}) {
      constexpr uint32_t kTokens = 4, kHeads = 3, kWidth = 24, kRot = 16;
      Case c;
      c.name = std::string("ROPE ") + (pairing == BRIM_ROPE_ADJACENT ? "adjacent" : "halves") +
               (must == BRIM_ROPE_FACTORS ? " with factors"
                : must                    ? " with YaRN"
                                          : "");
      c.op = BRIM_OP_ROPE;
      c.must = must;
      brim_rope_attr a{};
      a.pairing = pairing;
      a.n_rot = kRot;
      a.n_ctx_orig = 64;
      a.base = 10000;
      a.freq_scale = must == BRIM_ROPE_YARN ? 0.25f : 0.5f;
      a.magnitude = 1.125f;
      a.ext_factor = 1;
      a.beta_fast = 32;
      a.beta_slow = 1;
      c.attr = attr(a);
      const std::vector<int32_t> position = {0, 1, 17, 200};
      c.in = {floats({kTokens, kHeads, kWidth}), ints({kTokens, 1}, position)};
      if (must == BRIM_ROPE_FACTORS) c.in.push_back(floats({kRot / 2}, 0.2, 2));
      c.out = {result({kTokens, kHeads, kWidth})};
      c.out[0].exact = c.in[0].exact;
      const auto edge = [&](double beta) {
        return kRot * std::log(64 / (beta * 2 * std::numbers::pi)) / (2 * std::log(10000.0));
      };
      const double low = std::max(0.0, std::floor(edge(32))), high = std::min(kRot - 1.0, std::ceil(edge(1)));
      for (uint32_t t = 0; t < kTokens; ++t) {
        for (uint32_t i = 0; i < kRot / 2; ++i) {
          const double f = std::pow(10000.0, -2.0 * i / kRot);
          double theta = position[t] * double(a.freq_scale) * f;
          if (must == BRIM_ROPE_FACTORS) theta /= c.in[2].exact[i];
          if (must == BRIM_ROPE_YARN) {
            const double r = 1 - std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
            theta = theta * (1 - r) + position[t] * f * r;
          }
          const uint32_t p = pairing == BRIM_ROPE_ADJACENT ? 2 * i : i,
                         q = pairing == BRIM_ROPE_ADJACENT ? 2 * i + 1 : i + kRot / 2;
          for (uint32_t h = 0; h < kHeads; ++h) {
            const uint64_t at = (t * kHeads + h) * kWidth;
            const double x = c.in[0].exact[at + p], y = c.in[0].exact[at + q];
            c.out[0].exact[at + p] = 1.125 * (x * std::cos(theta) - y * std::sin(theta));
            c.out[0].exact[at + q] = 1.125 * (x * std::sin(theta) + y * std::cos(theta));
          }
        }
      }
      c.scale.assign(c.out[0].exact.size(), 4);
      c.limit = 256 * kUlp;  // an angle of 200 in F32 is off by up to 2^-17
      cases.push_back(std::move(c));
    }
  }
}

// ---- what single families ask for
// -------------------------------------------------------------------------------------------

void by_heads(std::vector<Case>& cases) {
  for (const uint32_t dtype : weight_dtypes()) {
    for (const uint32_t row_stride : {0u, 1u}) {
      const uint32_t block = std::max(brim_dtype_block_elements(dtype), 1u);
      const uint32_t heads = 3, n = 6, k = block == 1 ? 40 : block, m = 4;
      Case c;
      c.name =
          std::string("MATMUL by heads, ") + brim_dtype_name(dtype) + (row_stride ? ", slices of wider heads" : "");
      c.op = BRIM_OP_MATMUL;
      c.must = BRIM_MATMUL_HEADS;
      c.in = {weights(dtype, {heads, n, k}), floats({m, heads, k})};
      if (row_stride) c.in[1].row_stride = k + 8;
      Tensor y = result({m, heads, n});
      c.scale.resize(y.exact.size());
      for (uint32_t t = 0; t < m; ++t) {
        for (uint32_t h = 0; h < heads; ++h) {
          for (uint32_t r = 0; r < n; ++r) {
            const uint64_t at = (t * heads + h) * n + r;
            product_row(&c.in[0].exact[(h * n + r) * k], &c.in[1].exact[(t * heads + h) * k], k, &y.exact[at],
                        &c.scale[at]);
          }
        }
      }
      c.out = {std::move(y)};
      c.limit = sum_limit(k) + 4 * kUlp;
      c.fast_rms = is_float(dtype) ? 1e-3 : 2e-2;
      cases.push_back(std::move(c));
    }
  }
}

// Scores far enough apart that F32 cannot choose otherwise than float64.
void routes(std::vector<Case>& cases) {
  const uint32_t m = 5, e = 24;
  for (const uint32_t gate : {BRIM_MOE_GATE_SOFTMAX, BRIM_MOE_GATE_SIGMOID, BRIM_MOE_GATE_SOFTMAX_CHOSEN}) {
    for (const uint64_t must : {0ull, BRIM_MOE_ROUTE_BIAS, BRIM_MOE_ROUTE_BIAS | BRIM_MOE_ROUTE_GROUPS}) {
      for (const uint32_t normalise : {0u, 1u}) {
        Case c;
        c.name = "MOE_ROUTE gate " + std::to_string(gate) + (must & BRIM_MOE_ROUTE_BIAS ? " + bias" : "") +
                 (must & BRIM_MOE_ROUTE_GROUPS ? " + groups" : "") + (normalise ? ", normalised" : "");
        c.op = BRIM_OP_MOE_ROUTE;
        c.must = must;
        brim_moe_route_attr a{};
        a.gate = gate;
        a.k = 4;
        a.n_group = 6;
        a.n_group_used = 2;
        a.normalise = normalise;
        a.scale = 2.5f;
        c.attr = attr(a);
        c.in = {floats({m, e})};
        if (must & BRIM_MOE_ROUTE_BIAS) c.in.push_back(floats({e}, 0.3));
        c.out = {result({m, a.k}), result({m, a.k}, BRIM_DTYPE_I32)};
        for (uint32_t r = 0; r < m; ++r) {
          const double* x = &c.in[0].exact[r * e];
          double whole = 0;
          for (uint32_t i = 0; i < e; ++i) whole += std::exp(x[i]);
          std::vector<double> score(e), decides(e);
          for (uint32_t i = 0; i < e; ++i) {
            score[i] = gate == BRIM_MOE_GATE_SIGMOID   ? 1 / (1 + std::exp(-x[i]))
                       : gate == BRIM_MOE_GATE_SOFTMAX ? std::exp(x[i]) / whole
                                                       : x[i];
            decides[i] = score[i] + (c.in.size() > 1 ? c.in[1].exact[i] : 0);
          }
          std::vector<uint32_t> order;
          if (must & BRIM_MOE_ROUTE_GROUPS) {
            std::vector<std::pair<double, uint32_t>> worth;
            for (uint32_t g = 0; g < a.n_group; ++g) {
              std::vector<double> of(decides.begin() + g * 4, decides.begin() + (g + 1) * 4);
              std::sort(of.rbegin(), of.rend());
              worth.push_back({-(of[0] + of[1]), g});
            }
            std::sort(worth.begin(), worth.end());
            for (uint32_t g = 0; g < a.n_group_used; ++g) {
              for (uint32_t i = 0; i < 4; ++i) order.push_back(worth[g].second * 4 + i);
            }
          } else {
            for (uint32_t i = 0; i < e; ++i) order.push_back(i);
          }
          std::stable_sort(order.begin(), order.end(), [&](uint32_t p, uint32_t q) { return decides[p] > decides[q]; });
          double sum = 0;
          for (uint32_t j = 0; j < a.k; ++j) {
            sum += gate == BRIM_MOE_GATE_SOFTMAX_CHOSEN ? std::exp(score[order[j]]) : score[order[j]];
          }
          for (uint32_t j = 0; j < a.k; ++j) {
            double weight = score[order[j]];
            if (gate == BRIM_MOE_GATE_SOFTMAX_CHOSEN) {
              weight = std::exp(weight) / sum;
            } else if (normalise) {
              weight /= sum;
            }
            c.out[0].exact[r * a.k + j] = 2.5 * weight;
            c.out[1].exact[r * a.k + j] = order[j];
          }
        }
        c.limit = 64 * kUlp;
        cases.push_back(std::move(c));
      }
    }
  }
  Case c;
  c.name = "MOE_COMBINE";
  c.op = BRIM_OP_MOE_COMBINE;
  c.in = {floats({4, 3, 37}), floats({4, 3})};
  c.out = {result({4, 37})};
  c.scale.resize(4 * 37);
  for (uint32_t r = 0; r < 4; ++r) {
    for (uint32_t j = 0; j < 3; ++j) {
      for (uint32_t i = 0; i < 37; ++i) {
        const double term = c.in[1].exact[r * 3 + j] * c.in[0].exact[(r * 3 + j) * 37 + i];
        c.out[0].exact[r * 37 + i] += term;
        c.scale[r * 37 + i] += std::fabs(term);
      }
    }
  }
  c.limit = sum_limit(3);
  cases.push_back(std::move(c));
}

void more_norms(std::vector<Case>& cases) {
  for (const uint32_t n : {1u, 5u, 64u, 200u}) {
    for (const bool affine : {false, true}) {
      Case c;
      c.name = "LAYER_NORM of " + std::to_string(n) + (affine ? ", weight and bias" : "");
      c.op = BRIM_OP_LAYER_NORM;
      brim_norm_attr a{};
      a.eps = 1e-5f;
      c.attr = attr(a);
      c.in = {floats({3, n}, 1, 20)};
      if (affine) {
        c.in.push_back(floats({n}));
        c.in.push_back(floats({n}));
      }
      c.out = {result({3, n})};
      for (uint32_t r = 0; r < 3; ++r) {
        const double* x = &c.in[0].exact[r * n];
        double mean = 0, square = 0;
        for (uint32_t i = 0; i < n; ++i) mean += x[i] / n;
        for (uint32_t i = 0; i < n; ++i) square += (x[i] - mean) * (x[i] - mean) / n;
        for (uint32_t i = 0; i < n; ++i) {
          double y = (x[i] - mean) / std::sqrt(square + double(a.eps));
          if (affine) y = y * c.in[1].exact[i] + c.in[2].exact[i];
          c.out[0].exact[r * n + i] = y;
        }
      }
      c.scale.assign(3 * n, 30);  // a mean of 20 in F32 is off by 20 half units in the last place
      c.limit = (n == 1 ? 1.0 / std::sqrt(1e-5) : 1) * 32 * kUlp;
      cases.push_back(std::move(c));
    }
    Case c;
    c.name = "L2_NORM of " + std::to_string(n);
    c.op = BRIM_OP_L2_NORM;
    brim_norm_attr a{};
    a.eps = 1e-3f;
    c.attr = attr(a);
    c.in = {floats({3, n})};
    c.out = {result({3, n})};
    for (uint32_t r = 0; r < 3; ++r) {
      double square = 0;
      for (uint32_t i = 0; i < n; ++i) square += c.in[0].exact[r * n + i] * c.in[0].exact[r * n + i];
      for (uint32_t i = 0; i < n; ++i) {
        c.out[0].exact[r * n + i] = c.in[0].exact[r * n + i] / std::sqrt(square + double(a.eps));
      }
    }
    c.limit = sum_limit(n) + 8 * kUlp;
    cases.push_back(std::move(c));
  }
}

void joins(std::vector<Case>& cases) {
  for (const uint32_t axis : {0u, 1u, 2u}) {
    Case c;
    c.name = "CONCAT along axis " + std::to_string(axis);
    c.op = BRIM_OP_CONCAT;
    brim_concat_attr a{};
    a.axis = axis;
    c.attr = attr(a);
    std::vector<uint32_t> first = {2, 3, 5}, second = first, joined = first;
    second[axis] = 4;
    joined[axis] += 4;
    c.in = {floats(first), floats(second)};
    c.out = {result(joined)};
    for (uint32_t i = 0; i < joined[0]; ++i) {
      for (uint32_t j = 0; j < joined[1]; ++j) {
        for (uint32_t k = 0; k < joined[2]; ++k) {
          std::vector<uint32_t> at = {i, j, k};
          const bool later = at[axis] >= first[axis];
          if (later) at[axis] -= first[axis];
          const auto& of = later ? second : first;
          c.out[0].exact[(i * joined[1] + j) * joined[2] + k] =
              c.in[later].exact[(at[0] * of[1] + at[1]) * of[2] + at[2]];
        }
      }
    }
    cases.push_back(std::move(c));
  }
}

}  // namespace

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  matmuls(cases);
  elementwise(cases);
  norms(cases);
  selection(cases);
  movement(cases);
  ropes(cases);
  by_heads(cases);
  routes(cases);
  more_norms(cases);
  joins(cases);
  return cases;
}

}  // namespace op_suite
