// UNARY, BINARY, AFFINE_CLAMP and GLU: one thread an element, in strides of the whole grid. The output may lie where an
// input of its own shape does.
//
// Names: elementwise_OP_KIND.
#include "quantise.cuh"

namespace brim_gpu {

constexpr uint kUnary = 32, kBinary = 33, kAffine = 34, kGlu = 36;  // BRIM_OP_*

__device__ float gelu(float x) { return x * normcdff(x); }
// x / 2 * (1 + tanh(u)) is x * sigmoid(2 u), which loses nothing where tanh is near -1.
__device__ float gelu_tanh(float x) { return x * sigmoid(1.59576912160573f * (x + 0.044715f * x * x * x)); }

template <uint kKind>
__device__ float unary(float x) {
  switch (kKind) {
    case 1:
      return -x;
    case 2:
      return fabsf(x);
    case 3:
      return sqrtf(x);
    case 4:
      return 1.0f / sqrtf(x);
    case 5:
      return expf(x);
    case 6:
      return logf(x);
    case 7:
      return sinf(x);
    case 8:
      return cosf(x);
    case 9:
      return tanhf(x);
    case 10:
      return sigmoid(x);
    case 11:
      return silu(x);
    case 12:
      return gelu(x);
    case 13:
      return gelu_tanh(x);
    case 14:
      return x * sigmoid(1.702f * x);
    case 15:
      return x < 0 ? 0 : x;
    case 16:
      return x < 0 ? 0 : x * x;
    case 17:
      return isnan(x) ? x : fmaxf(x, 0) + log1pf(expf(-fabsf(x)));
    default:
      return floorf(x);
  }
}

template <uint kKind>
__device__ float binary(float a, float b) {
  switch (kKind) {
    case 1:
      return a + b;
    case 2:
      return a - b;
    case 3:
      return a * b;
    case 4:
      return a / b;
    case 5:
      return a > b || isnan(a) ? a : b;
    case 6:
      return a < b || isnan(a) ? a : b;
    default:
      return powf(a, b);
  }
}

template <uint kKind>
__device__ float glu(float gate, float up, float alpha, float limit) {
  switch (kKind) {
    case 1:
      return silu(gate) * up;
    case 2:
      return gelu(gate) * up;
    case 3:
      return gelu_tanh(gate) * up;
    case 4:
      return (gate < 0 ? 0 : gate) * up;
    case 5:
      return sigmoid(gate) * up;
    default: {
      const float g = gate > limit ? limit : gate, u = up > limit ? limit : up < -limit ? -limit : up;
      return g * sigmoid(alpha * g) * (u + 1.0f);
    }
  }
}

template <uint kOp, uint kKind>
__device__ void elementwise(const ElementwiseArguments& a, Step step) {
  const uint d1 = step.size(a.dim[1]), d2 = step.size(a.dim[2]), d3 = step.size(a.dim[3]);
  const uint total = step.size(a.dim[0]) * d1 * d2 * d3;
  const float *first = floats(step.address_of(a.a)), *second = floats(step.address_of(a.b));
  for (uint i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const uint i3 = i % d3, rest = i / d3, i2 = rest % d2, i1 = rest / d2 % d1, i0 = rest / d2 / d1;
    const float x = first[i0 * a.a_stride[0] + i1 * a.a_stride[1] + i2 * a.a_stride[2] + i3 * a.a_stride[3]];
    float y;
    if constexpr (kOp == kUnary) {
      y = unary<kKind>(x);
    } else if constexpr (kOp == kAffine) {
      y = a.scale * x + a.bias;
      if (kKind != 0) y = a.cap * tanhf(y / a.cap);
      y = y < a.lo ? a.lo : y > a.hi ? a.hi : y;
    } else {
      const float z = second[i0 * a.b_stride[0] + i1 * a.b_stride[1] + i2 * a.b_stride[2] + i3 * a.b_stride[3]];
      if constexpr (kOp == kBinary) {
        y = binary<kKind>(x, z);
      } else {
        y = glu<kKind>(x, z, a.alpha, a.limit);
      }
    }
    if (kOp != kGlu || a.result != 0) pointer<float>(a.result)[i] = y;
    // Rows are whole blocks then, so warps go on together.
    if (kOp == kGlu && a.codes != 0) quantise_lane(a.codes, a.scales, i, y);
  }
}

}  // namespace brim_gpu

#define BRIM_INSTANCE(op, kind) BRIM_KERNEL(elementwise_##op##_##kind, 64, ElementwiseArguments, elementwise<op, kind>)
#define BRIM_KINDS_1_TO_6(op) \
  BRIM_INSTANCE(op, 1)        \
  BRIM_INSTANCE(op, 2) BRIM_INSTANCE(op, 3) BRIM_INSTANCE(op, 4) BRIM_INSTANCE(op, 5) BRIM_INSTANCE(op, 6)
BRIM_KINDS_1_TO_6(32)
BRIM_INSTANCE(32, 7)
BRIM_INSTANCE(32, 8)
BRIM_INSTANCE(32, 9)
BRIM_INSTANCE(32, 10)
BRIM_INSTANCE(32, 11)
BRIM_INSTANCE(32, 12)
BRIM_INSTANCE(32, 13)
BRIM_INSTANCE(32, 14)
BRIM_INSTANCE(32, 15)
BRIM_INSTANCE(32, 16)
BRIM_INSTANCE(32, 17)
BRIM_INSTANCE(32, 18)
BRIM_KINDS_1_TO_6(33)
BRIM_INSTANCE(33, 7)
BRIM_INSTANCE(34, 0)
BRIM_INSTANCE(34, 1)
BRIM_KINDS_1_TO_6(36)
