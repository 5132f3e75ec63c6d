// SOFTMAX over the innermost dimension of scale * x + mask; the largest value is subtracted before exp.
#include <cmath>

#include "../op.hpp"

namespace plain {
namespace {

bool supports(const Question& q) {
  return q.rows(0, BRIM_DTYPE_F32) && q.optional_rows(1, BRIM_DTYPE_F32) && q.makes(BRIM_DTYPE_F32) &&
         same_shape(q.in(0), q.out()) && (!q.has(1) || same_shape(q.in(1), q.out()));
}

void run(const Step& step, const Node& node) {
  const Tensor x = step.tensor(node.in[0]), mask = step.tensor(node.in[1]), out = step.tensor(node.out);
  const double scale = node.attribute<brim_softmax_attr>().scale;
  const uint64_t n = out.width();
  for (uint64_t r = 0; r < out.rows(); ++r) {
    const float* from = x.row(r);
    const float* add = mask ? mask.row(r) : nullptr;
    float* to = out.row(r);
    const auto score = [&](uint64_t i) { return scale * from[i] + (add != nullptr ? add[i] : 0); };
    double most = -INFINITY, sum = 0;
    for (uint64_t i = 0; i < n; ++i) most = score(i) > most ? score(i) : most;
    for (uint64_t i = 0; i < n; ++i) sum += std::exp(score(i) - most);
    for (uint64_t i = 0; i < n; ++i) to[i] = static_cast<float>(std::exp(score(i) - most) / sum);
  }
}

}  // namespace

const Op kSoftmax = {BRIM_OP_SOFTMAX, 0, supports, run};

}  // namespace plain
