#include "ops/binary.hpp"

#include "ops/math.hpp"
#include "ops/pieces.hpp"

namespace brim_cpu {
namespace {

// An innermost stride of 0 is one value for the whole row.
template <class F>
void map(const float* a, int64_t a_stride, const float* b, int64_t b_stride, float* out, int64_t n, F&& f) {
  if (a_stride != 0 && b_stride != 0) {
    each_vector(n,
                [&](int64_t i, int64_t m) { store_up_to(out + i, f(load_up_to(a + i, m), load_up_to(b + i, m)), m); });
    return;
  }
  each_vector(n, [&](int64_t i, int64_t m) {
    const Vec left = a_stride != 0 ? load_up_to(a + i, m) : splat(*a);
    const Vec right = b_stride != 0 ? load_up_to(b + i, m) : splat(*b);
    store_up_to(out + i, f(left, right), m);
  });
}

template <class F>
void map_scalar(const float* a, int64_t a_stride, const float* b, int64_t b_stride, float* out, int64_t n, F&& f) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(f(a[i * a_stride], b[i * b_stride]));
}

// NaN in either operand reaches the result.
Vec greatest(Vec a, Vec b) { return ((a > b) | (a != a)) ? a : b; }
Vec least(Vec a, Vec b) { return ((a < b) | (a != a)) ? a : b; }

template <class Operand, class F>
void each_row_piece(const Operand& a, const Operand& b, const Operand& out, const Frame& frame, uint32_t chunk,
                    uint32_t chunks, F&& f) {
  const RowMap a_rows(a, frame), b_rows(b, frame), out_rows(out, frame);
  const int64_t a_stride = a.stride[a.rank - 1], b_stride = b.stride[b.rank - 1];
  each_piece(out, frame, chunk, chunks, [&](uint64_t row, int64_t begin, int64_t n) {
    f(a.template at<const float>(frame) + a_rows.offset(row) + begin * a_stride, a_stride,
      b.template at<const float>(frame) + b_rows.offset(row) + begin * b_stride, b_stride,
      out.template at<float>(frame) + out_rows.offset(row) + begin, n);
  });
}

}  // namespace

bool knows_binary(uint32_t kind) { return kind >= BRIM_BINARY_ADD && kind <= BRIM_BINARY_POW; }
bool knows_glu(uint32_t kind) { return kind >= BRIM_GLU_SILU && kind <= BRIM_GLU_SWIGLU_LIMIT; }

Work BinaryArgs::plan(const Frame& frame) const {
  return plan_pieces(out, frame, kind == BRIM_BINARY_POW ? 40.0f : 2.0f / kWidth);
}

void BinaryArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  each_row_piece(a, b, out, frame, chunk, chunks,
                 [&](const float* x, int64_t xs, const float* y, int64_t ys, float* to, int64_t n) {
                   switch (kind) {
                     case BRIM_BINARY_ADD:
                       return map(x, xs, y, ys, to, n, [](Vec l, Vec r) { return l + r; });
                     case BRIM_BINARY_SUB:
                       return map(x, xs, y, ys, to, n, [](Vec l, Vec r) { return l - r; });
                     case BRIM_BINARY_MUL:
                       return map(x, xs, y, ys, to, n, [](Vec l, Vec r) { return l * r; });
                     case BRIM_BINARY_DIV:
                       return map(x, xs, y, ys, to, n, [](Vec l, Vec r) { return l / r; });
                     case BRIM_BINARY_MAX:
                       return map(x, xs, y, ys, to, n, greatest);
                     case BRIM_BINARY_MIN:
                       return map(x, xs, y, ys, to, n, least);
                     default:
                       return map_scalar(x, xs, y, ys, to, n,
                                         [](double l, double r) { return reference::binary(BRIM_BINARY_POW, l, r); });
                   }
                 });
}

Work GluArgs::plan(const Frame& frame) const {
  return plan_pieces(out, frame, kind == BRIM_GLU_GELU ? 40.0f : 10.0f / kWidth);
}

void GluArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  each_row_piece(gate, up, out, frame, chunk, chunks,
                 [&](const float* g, int64_t gs, const float* u, int64_t us, float* to, int64_t n) {
                   switch (kind) {
                     case BRIM_GLU_SILU:
                       return map(g, gs, u, us, to, n, [](Vec l, Vec r) { return silu(l) * r; });
                     case BRIM_GLU_GELU_TANH:
                       return map(g, gs, u, us, to, n, [](Vec l, Vec r) { return gelu_tanh(l) * r; });
                     case BRIM_GLU_RELU:
                       return map(g, gs, u, us, to, n, [](Vec l, Vec r) { return (l < 0.0f ? Vec{} : l) * r; });
                     case BRIM_GLU_SIGMOID:
                       return map(g, gs, u, us, to, n, [](Vec l, Vec r) { return sigmoid(l) * r; });
                     case BRIM_GLU_SWIGLU_LIMIT:
                       return map(g, gs, u, us, to, n, [&](Vec l, Vec r) {
                         l = l > limit ? splat(limit) : l;
                         r = r > limit ? splat(limit) : r;
                         r = r < -limit ? splat(-limit) : r;
                         return l * sigmoid(alpha * l) * (r + 1.0f);
                       });
                     default:
                       return map_scalar(g, gs, u, us, to, n,
                                         [](double l, double r) { return reference::unary(BRIM_UNARY_GELU, l) * r; });
                   }
                 });
}

}  // namespace brim_cpu
