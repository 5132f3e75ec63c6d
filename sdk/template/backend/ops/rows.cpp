// GATHER_ROWS and SCATTER_ROWS: rows by number. A number that is no row's reads as zeros and is written nowhere.
#include "../op.hpp"

namespace plain {
namespace {

bool supports_gather(const Question& q) {
  return q.decodable_rows(0, 2) && q.tensor(1, BRIM_DTYPE_I32, 1) && q.makes(BRIM_DTYPE_F32, 2) &&
         same(q.in(0).dim[1], q.out().dim[1]) && same(q.in(1).dim[0], q.out().dim[0]);
}

void run_gather(const Step& step, const Node& node) {
  const Tensor table = step.tensor(node.in[0]), index = step.tensor(node.in[1]), out = step.tensor(node.out);
  const DecodeFn decode = decoder(table.dtype);
  for (uint64_t r = 0; r < out.rows(); ++r) {
    const int32_t row = index.integer(0, r);
    if (row >= 0 && static_cast<uint64_t>(row) < table.dim[0]) {
      decode(table.row_bytes(static_cast<uint64_t>(row)), out.row(r), out.width());
    } else {
      std::fill_n(out.row(r), out.width(), 0.0f);
    }
  }
}

bool supports_scatter(const Question& q) {
  const uint32_t mode = q.attr<brim_scatter_attr>().mode;
  return (mode == BRIM_SCATTER_SET || mode == BRIM_SCATTER_ADD) && q.rows(0, BRIM_DTYPE_F32, 2) &&
         q.rows(1, BRIM_DTYPE_F32, 2) && q.tensor(2, BRIM_DTYPE_I32, 1) && q.makes(BRIM_DTYPE_F32, 2) &&
         same_shape(q.in(0), q.out()) && same(q.in(1).dim[1], q.out().dim[1]) && same(q.in(1).dim[0], q.in(2).dim[0]);
}

void run_scatter(const Step& step, const Node& node) {
  const Tensor into = step.tensor(node.in[0]), x = step.tensor(node.in[1]), index = step.tensor(node.in[2]);
  const Tensor out = step.tensor(node.out);
  const bool add = node.attribute<brim_scatter_attr>().mode == BRIM_SCATTER_ADD;
  const uint64_t n = out.width();
  for (uint64_t r = 0; r < out.rows(); ++r) std::copy_n(into.row(r), n, out.row(r));
  for (uint64_t r = 0; r < x.rows(); ++r) {
    const int32_t row = index.integer(0, r);
    if (row < 0 || static_cast<uint64_t>(row) >= out.dim[0]) continue;
    const float* from = x.row(r);
    float* to = out.row(static_cast<uint64_t>(row));
    for (uint64_t i = 0; i < n; ++i) to[i] = add ? to[i] + from[i] : from[i];
  }
}

}  // namespace

const Op kGatherRows = {BRIM_OP_GATHER_ROWS, 0, supports_gather, run_gather};
const Op kScatterRows = {BRIM_OP_SCATTER_ROWS, 0, supports_scatter, run_scatter};

}  // namespace plain
