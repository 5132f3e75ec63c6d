// ARGMAX: the index of a row's largest value, the lowest where several are; a NaN counts as smallest.
#include <cmath>

#include "../op.hpp"

namespace plain {
namespace {

bool supports(const Question& q) {
  return q.rows(0, BRIM_DTYPE_F32, 2) && constant(q.in(0).dim[1]) && q.in(0).dim[1].k > 0 &&
         q.makes(BRIM_DTYPE_I32, 1) && same(q.in(0).dim[0], q.out().dim[0]);
}

void run(const Step& step, const Node& node) {
  const Tensor x = step.tensor(node.in[0]), out = step.tensor(node.out);
  for (uint64_t r = 0; r < x.rows(); ++r) {
    const float* row = x.row(r);
    uint64_t best = 0;
    for (uint64_t i = 1; i < x.width(); ++i) {
      if (row[i] > row[best] || (std::isnan(row[best]) && !std::isnan(row[i]))) best = i;
    }
    reinterpret_cast<int32_t*>(out.row_bytes(0))[r] = static_cast<int32_t>(best);
  }
}

}  // namespace

const Op kArgmax = {BRIM_OP_ARGMAX, 0, supports, run};

}  // namespace plain
