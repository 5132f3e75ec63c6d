// GLU: act(gate) * up, of two values, or of the two halves of each row of one.
#include <cmath>

#include "../op.hpp"

namespace plain {
namespace {

bool supports(const Question& q) {
  const uint32_t kind = q.attr<brim_glu_attr>().kind;
  if (kind < BRIM_GLU_SILU || kind > BRIM_GLU_SWIGLU_LIMIT) return false;
  if (!q.rows(0, BRIM_DTYPE_F32) || !q.makes(BRIM_DTYPE_F32)) return false;
  if (q.has(1)) return q.rows(1, BRIM_DTYPE_F32) && same_shape(q.in(0), q.out()) && same_shape(q.in(1), q.out());
  brim_value_desc both = q.out();
  brim_dim& width = both.dim[both.rank - 1];
  if (!constant(width) || width.k > UINT32_MAX / 2) return false;
  width.k *= 2;
  return same_shape(q.in(0), both);
}

double activation(const brim_glu_attr& a, double gate) {
  switch (a.kind) {
    case BRIM_GLU_SILU:
      return gate / (1 + std::exp(-gate));
    case BRIM_GLU_GELU:
      return gate / 2 * std::erfc(-gate * 0.70710678118654752440);
    case BRIM_GLU_GELU_TANH:
      return gate / (1 + std::exp(-2 * 0.79788456080286535588 * (gate + 0.044715 * gate * gate * gate)));
    case BRIM_GLU_RELU:
      return gate < 0 ? 0 : gate;
    case BRIM_GLU_SIGMOID:
      return 1 / (1 + std::exp(-gate));
    default: {  // SWIGLU_LIMIT
      const double g = gate > a.limit ? a.limit : gate;
      return g / (1 + std::exp(-a.alpha * g));
    }
  }
}

double clamped_plus_one(double up, double limit) { return (up < -limit ? -limit : up > limit ? limit : up) + 1; }

void run(const Step& step, const Node& node) {
  const Tensor x = step.tensor(node.in[0]), second = step.tensor(node.in[1]), out = step.tensor(node.out);
  const auto a = node.attribute<brim_glu_attr>();
  const uint64_t n = out.width();
  for (uint64_t r = 0; r < out.rows(); ++r) {
    const float* gate = x.row(r);
    const float* up = second ? second.row(r) : gate + n;
    float* to = out.row(r);
    for (uint64_t i = 0; i < n; ++i) {
      const double factor = a.kind == BRIM_GLU_SWIGLU_LIMIT ? clamped_plus_one(up[i], a.limit) : up[i];
      to[i] = static_cast<float>(activation(a, gate[i]) * factor);
    }
  }
}

}  // namespace

const Op kGlu = {BRIM_OP_GLU, 0, supports, run};

}  // namespace plain
