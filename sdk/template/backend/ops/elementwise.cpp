// UNARY, BINARY and AFFINE_CLAMP: a function of each element, computed in F64 and rounded once. Comparisons are written
// so that a NaN comes out as one: std::max and std::min would swallow it.
#include <cmath>

#include "../op.hpp"

namespace plain {
namespace {

bool elementwise(const Question& q) {
  return q.rows(0, BRIM_DTYPE_F32) && q.makes(BRIM_DTYPE_F32) && same_shape(q.in(0), q.out());
}

bool supports_unary(const Question& q) {
  const uint32_t kind = q.attr<brim_unary_attr>().kind;
  return kind >= BRIM_UNARY_NEG && kind <= BRIM_UNARY_FLOOR && elementwise(q);
}

double unary(uint32_t kind, double x) {
  constexpr double kSqrtHalf = 0.70710678118654752440, kSqrtTwoOverPi = 0.79788456080286535588;
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
      return 1 / (1 + std::exp(-x));
    case BRIM_UNARY_SILU:
      return x / (1 + std::exp(-x));
    case BRIM_UNARY_GELU:  // 1 + erf(z) is erfc(-z), which does not cancel for negative z
      return x / 2 * std::erfc(-x * kSqrtHalf);
    case BRIM_UNARY_GELU_TANH:  // (1 + tanh(z)) / 2 is sigmoid(2 z)
      return x / (1 + std::exp(-2 * kSqrtTwoOverPi * (x + 0.044715 * x * x * x)));
    case BRIM_UNARY_GELU_QUICK:
      return x / (1 + std::exp(-1.702 * x));
    case BRIM_UNARY_RELU:
      return x < 0 ? 0 : x;
    case BRIM_UNARY_RELU_SQUARED:
      return x < 0 ? 0 : x * x;
    case BRIM_UNARY_SOFTPLUS:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    default:
      return std::floor(x);
  }
}

void run_unary(const Step& step, const Node& node) {
  const Tensor x = step.tensor(node.in[0]), out = step.tensor(node.out);
  const uint32_t kind = node.attribute<brim_unary_attr>().kind;
  for (uint64_t r = 0; r < out.rows(); ++r) {
    const float* from = x.row(r);
    float* to = out.row(r);
    for (uint64_t i = 0; i < out.width(); ++i) to[i] = static_cast<float>(unary(kind, from[i]));
  }
}

// Each dimension of an input, counted from the innermost, is the output's or 1.
bool broadcasts(const brim_value_desc& v, const brim_value_desc& out) {
  bool fits = v.rank <= out.rank;
  for (uint32_t i = 1; fits && i <= v.rank; ++i) {
    const brim_dim dim = v.dim[v.rank - i];
    fits = same(dim, out.dim[out.rank - i]) || (constant(dim) && dim.k == 1);
  }
  return fits;
}

bool supports_binary(const Question& q) {
  const uint32_t kind = q.attr<brim_binary_attr>().kind;
  return kind >= BRIM_BINARY_ADD && kind <= BRIM_BINARY_POW && q.rows(0, BRIM_DTYPE_F32) && q.rows(1, BRIM_DTYPE_F32) &&
         q.makes(BRIM_DTYPE_F32) && broadcasts(q.in(0), q.out()) && broadcasts(q.in(1), q.out());
}

double binary(uint32_t kind, double a, double b) {
  switch (kind) {
    case BRIM_BINARY_ADD:
      return a + b;
    case BRIM_BINARY_SUB:
      return a - b;
    case BRIM_BINARY_MUL:
      return a * b;
    case BRIM_BINARY_DIV:
      return a / b;
    case BRIM_BINARY_MAX:
      return a > b || std::isnan(a) ? a : b;
    case BRIM_BINARY_MIN:
      return a < b || std::isnan(a) ? a : b;
    default:
      return std::pow(a, b);
  }
}

void run_binary(const Step& step, const Node& node) {
  const Tensor out = step.tensor(node.out);
  const Tensor a = step.tensor(node.in[0]).like(out), b = step.tensor(node.in[1]).like(out);
  const uint32_t kind = node.attribute<brim_binary_attr>().kind;
  const uint64_t a_stride = a.stride[a.rank - 1], b_stride = b.stride[b.rank - 1];
  for (uint64_t r = 0; r < out.rows(); ++r) {
    const float *left = a.row(r), *right = b.row(r);
    float* to = out.row(r);
    for (uint64_t i = 0; i < out.width(); ++i) {
      to[i] = static_cast<float>(binary(kind, left[i * a_stride], right[i * b_stride]));
    }
  }
}

bool supports_affine(const Question& q) {
  return (!q.must(BRIM_AFFINE_SOFTCAP) || q.attr<brim_affine_attr>().cap > 0) && elementwise(q);
}

void run_affine(const Step& step, const Node& node) {
  const Tensor x = step.tensor(node.in[0]), out = step.tensor(node.out);
  const auto a = node.attribute<brim_affine_attr>();
  const bool capped = (node.must & BRIM_AFFINE_SOFTCAP) != 0;
  for (uint64_t r = 0; r < out.rows(); ++r) {
    const float* from = x.row(r);
    float* to = out.row(r);
    for (uint64_t i = 0; i < out.width(); ++i) {
      double y = double{a.scale} * from[i] + a.bias;
      if (capped) y = a.cap * std::tanh(y / a.cap);
      to[i] = static_cast<float>(y < a.lo ? a.lo : y > a.hi ? a.hi : y);
    }
  }
}

}  // namespace

const Op kUnary = {BRIM_OP_UNARY, 0, supports_unary, run_unary};
const Op kBinary = {BRIM_OP_BINARY, 0, supports_binary, run_binary};
const Op kAffineClamp = {BRIM_OP_AFFINE_CLAMP, BRIM_AFFINE_SOFTCAP, supports_affine, run_affine};

}  // namespace plain
