// RMS_NORM: x / sqrt(mean(x^2) + eps) * (weight + weight_offset), row by row, sums in F64.
#include <cmath>

#include "../op.hpp"

namespace plain {
namespace {

bool supports(const Question& q) {
  return q.rows(0, BRIM_DTYPE_F32) && q.optional_rows(1, BRIM_DTYPE_F32, 1) && q.makes(BRIM_DTYPE_F32) &&
         same_shape(q.in(0), q.out()) && (!q.has(1) || same(q.in(1).dim[0], q.out().dim[q.out().rank - 1]));
}

void run(const Step& step, const Node& node) {
  const Tensor x = step.tensor(node.in[0]), weight = step.tensor(node.in[1]), out = step.tensor(node.out);
  const auto a = node.attribute<brim_norm_attr>();
  const uint64_t n = out.width();
  for (uint64_t r = 0; r < out.rows(); ++r) {
    const float* from = x.row(r);
    const float* w = weight ? weight.row(0) : nullptr;
    float* to = out.row(r);
    double squares = 0;
    for (uint64_t i = 0; i < n; ++i) squares += double{from[i]} * from[i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + a.eps);
    for (uint64_t i = 0; i < n; ++i) {
      to[i] = static_cast<float>(from[i] * scale * (w != nullptr ? double{w[i]} + a.weight_offset : 1));
    }
  }
}

}  // namespace

const Op kRmsNorm = {BRIM_OP_RMS_NORM, 0, supports, run};

}  // namespace plain
