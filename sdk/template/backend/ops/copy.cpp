// COPY: another place for the same values: of one dtype with any strides, or decoded to F32 row by row.
#include "../op.hpp"

namespace plain {
namespace {

bool plain_dtype(uint32_t dtype) {
  return dtype == BRIM_DTYPE_F32 || dtype == BRIM_DTYPE_F16 || dtype == BRIM_DTYPE_BF16 || dtype == BRIM_DTYPE_I32;
}

bool supports(const Question& q) {
  const uint32_t from = q.in(0).dtype, to = q.attr<brim_copy_attr>().dtype;
  if (!q.makes(to) || !same_shape(q.in(0), q.out())) return false;
  if (from == to && plain_dtype(from)) return q.tensor(0, from);
  return to == BRIM_DTYPE_F32 && q.decodable_rows(0, 0);
}

void run(const Step& step, const Node& node) {
  const Tensor x = step.tensor(node.in[0]), out = step.tensor(node.out);
  const uint64_t n = out.width(), element = brim_dtype_block_bytes(x.dtype), stride = x.stride[x.rank - 1] * element;
  for (uint64_t r = 0; r < out.rows(); ++r) {
    const std::byte* from = x.row_bytes(r);
    std::byte* to = out.row_bytes(r);
    if (x.dtype != out.dtype) {
      decoder(x.dtype)(from, out.row(r), n);
    } else {
      for (uint64_t i = 0; i < n; ++i) std::memcpy(to + i * element, from + i * stride, element);
    }
  }
}

}  // namespace

const Op kCopy = {BRIM_OP_COPY, 0, supports, run};

}  // namespace plain
