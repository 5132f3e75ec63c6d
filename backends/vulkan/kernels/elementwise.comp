// UNARY, BINARY, AFFINE_CLAMP and GLU: one thread an element, in strides of the whole grid. The output may lie where an
// input of its own shape does. Op and kind are specialization constants.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"

layout(constant_id = 1) const uint kOp = 32;
layout(constant_id = 2) const uint kKind = 1;
ARGUMENTS(ElementwiseArguments)

float unary(float x) {
  switch (kKind) {
    case 1:
      return -x;
    case 2:
      return abs(x);
    case 3:
      return sqrt(x);
    case 4:
      return 1.0 / sqrt(x);
    case 5:
      return exponential(x);
    case 6:
      return logarithm(x);
    case 7:
      return cosine_and_sine(x).y;
    case 8:
      return cosine_and_sine(x).x;
    case 9:
      return tangens_h(x);
    case 10:
      return sigmoid(x);
    case 11:
      return silu(x);
    case 12:
      return gelu(x);
    case 13:
      return gelu_tanh(x);
    case 14:
      return x * sigmoid(1.702 * x);
    case 15:
      return x < 0.0 ? 0.0 : x;
    case 16:
      return x < 0.0 ? 0.0 : x * x;
    case 17:
      return softplus(x);
    default:
      return floor(x);
  }
}

// x^y; a negative base takes whole exponents.
float power(float x, float y) {
  if (y == 0.0 || x == 1.0) return 1.0;
  if (is_nan(x) || is_nan(y)) return x + y;
  const bool whole = floor(y) == y, odd = whole && abs(y) < 16777216.0 && (int(y) & 1) != 0;
  if (x < 0.0 && !whole) return uintBitsToFloat(0x7fc00000u);
  const float a = abs(x);
  float size;
  if (a == 0.0 || a == kInfinity) {
    size = (a == 0.0) == (y > 0.0) ? 0.0 : kInfinity;
  } else {
    // log(a) in two parts, since y multiplies its error: a = 2^e f, log(f) by its series around the nearest 1 + i / 8.
    const uint bits = floatBitsToUint(a);
    int e = int(bits >> 23) - 127;
    float f = uintBitsToFloat((bits & 0x7fffffu) | 0x3f800000u);
    if (e == -127) {
      const uint scaled = floatBitsToUint(a * 16777216.0);
      e = int(scaled >> 23) - 151;
      f = uintBitsToFloat((scaled & 0x7fffffu) | 0x3f800000u);
    }
    if (f > 1.41421356) {
      f *= 0.5;
      e += 1;
    }
    // log2(f) = 2 / ln 2 * atanh(s), s = (f - 1) / (f + 1), the quotient with its rest.
    precise const float up = f - 1.0, down = f + 1.0;
    precise const float s = up / down;
    const float sh = uintBitsToFloat(floatBitsToUint(s) & 0xfffff000u);
    precise const float down_low = f - (down - 1.0);
    precise const float dh = uintBitsToFloat(floatBitsToUint(down) & 0xfffff000u);
    precise const float dl = (down - dh) + down_low;
    precise const float sl = ((up - sh * dh) - sh * dl) / down;
    const float z = s * s;
    const float tail =
        s * z * (0.33333333333 + z * (0.2 + z * (0.142857142857 + z * (0.11111111111 + z * 0.0909090909))));
    precise const float rest = sl + tail;
    // times 2 / ln 2 = 2.885390081777927, of which 2.8853759765625 has 12 bits.
    precise const float high = sh * 2.8853759765625;
    precise const float low = sh * 1.41052154268e-5 + rest * 2.885390081777927;
    // times y, in the same manner.
    const float yh = uintBitsToFloat(floatBitsToUint(y) & 0xfffff000u);
    precise const float yl = y - yh;
    const float hh = uintBitsToFloat(floatBitsToUint(high) & 0xfffff000u);
    precise const float hl = (high - hh) + low;
    precise const float main = yh * hh;
    precise const float small = yl * hh + y * hl;
    precise const float turns = main + yh * float(e);
    const float n = clamp(roundEven(turns + yl * float(e) + small), -300.0, 300.0);
    precise const float frac = ((yh * float(e) - n) + main) + (yl * float(e) + small);
    const float r = exponential(clamp(frac, -200.0, 200.0) * 0.693147180559945);
    const int k = int(n), first = k >> 1;
    size = r * uintBitsToFloat(uint(clamp(first + 127, 0, 254)) << 23) *
           uintBitsToFloat(uint(clamp(k - first + 127, 0, 254)) << 23);
  }
  return x < 0.0 && odd ? -size : size;
}

float binary(float a, float b) {
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
      return a > b || is_nan(a) ? a : b;
    case 6:
      return a < b || is_nan(a) ? a : b;
    default:
      return power(a, b);
  }
}

float glu(float gate, float up, float alpha, float limit) {
  switch (kKind) {
    case 1:
      return silu(gate) * up;
    case 2:
      return gelu(gate) * up;
    case 3:
      return gelu_tanh(gate) * up;
    case 4:
      return (gate < 0.0 ? 0.0 : gate) * up;
    case 5:
      return sigmoid(gate) * up;
    default: {
      const float g = gate > limit ? limit : gate, u = up > limit ? limit : up < -limit ? -limit : up;
      return g * sigmoid(alpha * g) * (u + 1.0);
    }
  }
}

void main() {
  const ElementwiseArguments a = arguments();
  const uint d1 = size(a.dim[1]), d2 = size(a.dim[2]), d3 = size(a.dim[3]);
  const uint total = size(a.dim[0]) * d1 * d2 * d3;
  const uint64_t first = address_of(a.a), second = address_of(a.b);
  for (uint i = gl_GlobalInvocationID.x; i < total; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    const uint i3 = i % d3, rest = i / d3, i2 = rest % d2, i1 = rest / d2 % d1, i0 = rest / d2 / d1;
    const float x = Floats(first).at[i0 * a.a_stride[0] + i1 * a.a_stride[1] + i2 * a.a_stride[2] + i3 * a.a_stride[3]];
    float y;
    if (kOp == 32) {
      y = unary(x);
    } else if (kOp == 34) {
      y = a.scale * x + a.bias;
      if (kKind != 0) y = soft_cap(y, a.cap);
      y = y < a.lo ? a.lo : y > a.hi ? a.hi : y;
    } else {
      const float z =
          Floats(second).at[i0 * a.b_stride[0] + i1 * a.b_stride[1] + i2 * a.b_stride[2] + i3 * a.b_stride[3]];
      y = kOp == 33 ? binary(x, z) : glu(x, z, a.alpha, a.limit);
    }
    Floats(a.result).at[i] = y;
  }
}
