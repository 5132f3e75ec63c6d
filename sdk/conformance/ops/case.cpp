#include "case.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "../bench/blocks.hpp"
#include "decode.hpp"

namespace check::ops {

uint64_t count(const std::vector<uint32_t>& dims) {
  uint64_t n = 1;
  for (const uint32_t d : dims) n *= d;
  return n;
}

Tensor of_values(std::vector<uint32_t> dims, const std::vector<float>& values) {
  Tensor t;
  t.dims = std::move(dims);
  t.bytes.resize(values.size() * 4);
  std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
  t.exact.assign(values.begin(), values.end());
  return t;
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

Tensor by_row(Tensor t) {
  t.by_row = true;
  return t;
}
Tensor weight(Tensor t) {
  t.weight = true;
  return t;
}

Tensor result(std::vector<uint32_t> dims, uint32_t dtype) {
  Tensor t;
  t.dtype = dtype;
  t.dims = std::move(dims);
  t.exact.resize(count(t.dims));
  return t;
}
Tensor row_result(std::vector<uint32_t> dims, uint32_t dtype) { return by_row(result(std::move(dims), dtype)); }

void put(Tensor& t, size_t i, float value) {
  std::memcpy(t.bytes.data() + 4 * i, &value, 4);
  t.exact[i] = static_cast<double>(value);
}

Tensor Maker::floats(std::vector<uint32_t> dims, double spread, double around) {
  const uint64_t n = count(dims);
  return of_values(std::move(dims), random_floats(n, random_, static_cast<float>(spread), static_cast<float>(around)));
}
Tensor Maker::rows(std::vector<uint32_t> dims, double spread, double around) {
  return by_row(floats(std::move(dims), spread, around));
}

Tensor Maker::weights(uint32_t dtype, std::vector<uint32_t> dims) {
  Tensor t;
  t.weight = true;
  t.dtype = dtype;
  t.dims = std::move(dims);
  t.bytes = random_blocks(dtype, count(t.dims), random_);
  t.exact = decode_by_format(dtype, t.bytes);
  return t;
}

const std::vector<uint32_t>& weight_dtypes() {
  static const std::vector<uint32_t> all = [] {
    std::vector<uint32_t> out;
#define BRIM_X(name, number, spelling, elements, bytes) \
  if (has_blocks(number)) out.push_back(number);
    BRIM_DTYPE_TABLE(BRIM_X)
#undef BRIM_X
    return out;
  }();
  return all;
}

double unary_of(uint32_t kind, double x) {
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
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

}  // namespace check::ops
