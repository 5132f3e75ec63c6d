// Kinds that a polynomial covers run in vectors; log, sin, cos, softplus and the erf GELU go through the
// double-precision library, one element at a time, and are rounded once.
#include "ops/unary.hpp"

#include "ops/math.hpp"
#include "ops/pieces.hpp"

namespace brim_cpu {
namespace {

template <class F>
void map(const float* x, float* out, int64_t n, F&& f) {
  each_vector(n, [&](int64_t i, int64_t m) { store_up_to(out + i, f(load_up_to(x + i, m)), m); });
}

void map_scalar(uint32_t kind, const float* x, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(reference::unary(kind, x[i]));
}

void apply(uint32_t kind, const float* x, float* out, int64_t n) {
  switch (kind) {
    case BRIM_UNARY_NEG:
      return map(x, out, n, [](Vec v) { return -v; });
    case BRIM_UNARY_ABS:
      return map(x, out, n, [](Vec v) { return magnitude(v); });
    case BRIM_UNARY_SQRT:
      return map(x, out, n, [](Vec v) { return square_root(v); });
    case BRIM_UNARY_RSQRT:
      return map(x, out, n, [](Vec v) { return 1.0f / square_root(v); });
    case BRIM_UNARY_EXP:
      return map(x, out, n, [](Vec v) { return exponential(v); });
    case BRIM_UNARY_TANH:
      return map(x, out, n, [](Vec v) { return tangens_h(v); });
    case BRIM_UNARY_SIGMOID:
      return map(x, out, n, [](Vec v) { return sigmoid(v); });
    case BRIM_UNARY_SILU:
      return map(x, out, n, [](Vec v) { return silu(v); });
    case BRIM_UNARY_GELU_TANH:
      return map(x, out, n, [](Vec v) { return gelu_tanh(v); });
    case BRIM_UNARY_GELU_QUICK:
      return map(x, out, n, [](Vec v) { return v * sigmoid(1.702f * v); });
    case BRIM_UNARY_RELU:
      return map(x, out, n, [](Vec v) { return v < 0.0f ? Vec{} : v; });
    case BRIM_UNARY_RELU_SQUARED:
      return map(x, out, n, [](Vec v) { return v < 0.0f ? Vec{} : v * v; });
    default:
      return map_scalar(kind, x, out, n);
  }
}

float cost_of(uint32_t kind) {
  switch (kind) {
    case BRIM_UNARY_LOG:
    case BRIM_UNARY_SIN:
    case BRIM_UNARY_COS:
    case BRIM_UNARY_GELU:
    case BRIM_UNARY_SOFTPLUS:
    case BRIM_UNARY_FLOOR:
      return 25;
    default:
      return 8.0f / kWidth;
  }
}

}  // namespace

bool knows_unary(uint32_t kind) { return kind >= BRIM_UNARY_NEG && kind <= BRIM_UNARY_FLOOR; }

Work UnaryArgs::plan(const Frame& frame) const { return plan_pieces(out, frame, cost_of(kind)); }

void UnaryArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const RowMap rows(x, frame), out_rows(out, frame);
  each_piece(out, frame, chunk, chunks, [&](uint64_t row, int64_t begin, int64_t n) {
    apply(kind, x.at<const float>(frame) + rows.offset(row) + begin,
          out.at<float>(frame) + out_rows.offset(row) + begin, n);
  });
}

Work AffineArgs::plan(const Frame& frame) const { return plan_pieces(out, frame, (cap != 0 ? 8.0f : 1.0f) / kWidth); }

void AffineArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const RowMap rows(x, frame), out_rows(out, frame);
  each_piece(out, frame, chunk, chunks, [&](uint64_t row, int64_t begin, int64_t n) {
    map(x.at<const float>(frame) + rows.offset(row) + begin, out.at<float>(frame) + out_rows.offset(row) + begin, n,
        [&](Vec v) {
          v = scale * v + bias;
          if (cap != 0) v = soft_cap(v, cap);
          v = v < lo ? splat(lo) : v;  // NaN stays
          return v > hi ? splat(hi) : v;
        });
  });
}

}  // namespace brim_cpu
