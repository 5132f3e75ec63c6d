// 32 values as signed bytes with a scale: x[i] ~ scale * code[i], |code| <= 127. A block with a NaN or an Inf gets the
// scale NaN, so that it shows in every product.
#pragma once

#include "common.cuh"

namespace brim_gpu {

__device__ __forceinline__ uint magnitude(float x) { return __float_as_uint(x) & 0x7fffffffu; }  // of NaN, the largest

class ByteScale {
 public:
  // `largest`: of the block's magnitudes. Of values so small that the scale's inverse overflows all codes are zero.
  __device__ __forceinline__ explicit ByteScale(uint largest)
      : largest_(largest),
        some_(largest < 0x7f800000u && __uint_as_float(largest) > 1e-36f),
        inverse_(some_ ? 127.0f / __uint_as_float(largest) : 0.0f) {}

  __device__ __forceinline__ int code(float x) const { return some_ ? __float2int_rn(x * inverse_) : 0; }
  // Scale, and scale * sum of the codes, which minima of weights are multiplied with.
  __device__ __forceinline__ float2 scales(int sum) const {
    const float scale = largest_ >= 0x7f800000u ? __uint_as_float(0x7fc00000u)
                        : some_                 ? __uint_as_float(largest_) / 127.0f
                                                : 0.0f;
    return {scale, scale * static_cast<float>(sum)};
  }

 private:
  uint largest_;
  bool some_;
  float inverse_;
};

// Value i of a kernel's result, where a warp has 32 neighbours that begin at a multiple of 32.
__device__ __forceinline__ void quantise_lane(uint64_t codes, uint64_t scales, uint i, float x) {
  uint largest = magnitude(x);
  for (int far = 16; far > 0; far /= 2) largest = max(largest, __shfl_xor_sync(~0u, largest, far));
  const ByteScale scale(largest);
  const int code = scale.code(x);
  int sum = code;
  for (int far = 16; far > 0; far /= 2) sum += __shfl_xor_sync(~0u, sum, far);
  pointer<int8_t>(codes)[i] = static_cast<int8_t>(code);
  if (i % 32 == 0) pointer<float2>(scales)[i / 32] = scale.scales(sum);
}

}  // namespace brim_gpu
