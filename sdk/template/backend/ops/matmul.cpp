// MATMUL: x w^T + bias. Each row of the weight is decoded once, into the workspace, and multiplied with every row of x;
// sums run along k in one fixed order, so that a row's result does not depend on the rows beside it.
#include "../op.hpp"

namespace plain {
namespace {

bool supports(const Question& q) {
  if (!q.decodable_rows(0, 2) || !q.rows(1, BRIM_DTYPE_F32) || !q.optional_rows(2, BRIM_DTYPE_F32, 1)) return false;
  if (!q.makes(BRIM_DTYPE_F32) || q.has(2) != q.must(BRIM_MATMUL_BIAS)) return false;
  const brim_value_desc w = q.in(0), x = q.in(1);
  brim_value_desc expected = x;
  expected.dim[x.rank - 1] = w.dim[0];
  return constant(w.dim[0]) && constant(w.dim[1]) && same(w.dim[1], x.dim[x.rank - 1]) &&
         same_shape(expected, q.out()) && (!q.has(2) || same(q.in(2).dim[0], w.dim[0]));
}

uint64_t workspace(const Node& node, const brim_bucket& bucket) {
  return brim_dim_size(node.in[0].dim[1], &bucket) * sizeof(float);  // one row of w
}

void run(const Step& step, const Node& node) {
  const Tensor w = step.tensor(node.in[0]), x = step.tensor(node.in[1]), bias = step.tensor(node.in[2]);
  const Tensor out = step.tensor(node.out);
  const DecodeFn decode = decoder(w.dtype);
  auto* weight = reinterpret_cast<float*>(step.workspace);
  const uint64_t n = w.dim[0], k = w.dim[1], rows = x.rows();
  for (uint64_t j = 0; j < n; ++j) {
    step.stop_if_cancelled();
    decode(w.row_bytes(j), weight, k);
    for (uint64_t r = 0; r < rows; ++r) {
      const float* row = x.row(r);
      double sum = bias ? bias.row(0)[j] : 0;
      for (uint64_t i = 0; i < k; ++i) sum += double{weight[i]} * row[i];
      out.row(r)[j] = static_cast<float>(sum);
    }
  }
}

}  // namespace

const Op kMatmul = {BRIM_OP_MATMUL, BRIM_MATMUL_BIAS, supports, run, workspace};

}  // namespace plain
