// ROPE: the first n_rot values of each head are rotated in pairs, the rest is copied. Angles are computed in F64.
#include <cmath>

#include "../op.hpp"

namespace plain {
namespace {

bool supports(const Question& q) {
  const auto a = q.attr<brim_rope_attr>();
  if (!q.rows(0, BRIM_DTYPE_F32, 3) || !q.tensor(1, BRIM_DTYPE_I32, 2) || !q.optional_rows(2, BRIM_DTYPE_F32, 1)) {
    return false;
  }
  if (!q.makes(BRIM_DTYPE_F32, 3) || !same_shape(q.in(0), q.out())) return false;
  const brim_value_desc x = q.in(0);
  return (a.pairing == BRIM_ROPE_ADJACENT || a.pairing == BRIM_ROPE_HALVES) && same(x.dim[0], q.in(1).dim[0]) &&
         constant(x.dim[1]) && constant(x.dim[2]) && a.n_rot >= 2 && a.n_rot % 2 == 0 && a.n_rot <= x.dim[2].k &&
         q.has(2) == q.must(BRIM_ROPE_FACTORS) &&
         (!q.has(2) || (constant(q.in(2).dim[0]) && q.in(2).dim[0].k == a.n_rot / 2));
}

void run(const Step& step, const Node& node) {
  const Tensor x = step.tensor(node.in[0]), position = step.tensor(node.in[1]), factors = step.tensor(node.in[2]);
  const Tensor out = step.tensor(node.out);
  const auto a = node.attribute<brim_rope_attr>();
  const uint64_t heads = x.dim[1], half = a.n_rot / 2;
  const bool adjacent = a.pairing == BRIM_ROPE_ADJACENT;
  for (uint64_t r = 0; r < x.rows(); ++r) {
    const float* from = x.row(r);
    float* to = out.row(r);
    const double at = position.integer(r / heads, 0);
    for (uint64_t i = 0; i < half; ++i) {
      const double frequency = std::pow(double{a.base}, -2.0 * static_cast<double>(i) / a.n_rot) * a.freq_scale;
      const double angle = at * frequency / (factors ? factors.row(0)[i] : 1);
      const double cosine = std::cos(angle) * a.magnitude, sine = std::sin(angle) * a.magnitude;
      const uint64_t first = adjacent ? 2 * i : i, second = adjacent ? 2 * i + 1 : i + half;
      const double u = from[first], v = from[second];
      to[first] = static_cast<float>(u * cosine - v * sine);
      to[second] = static_cast<float>(u * sine + v * cosine);
    }
    std::copy(from + a.n_rot, from + x.width(), to + a.n_rot);
  }
}

}  // namespace

const Op kRope = {BRIM_OP_ROPE, BRIM_ROPE_FACTORS, supports, run};

}  // namespace plain
