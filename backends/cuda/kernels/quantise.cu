// Rows of F32 to blocks of 32 signed bytes with a scale and a sum, for products of bytes (quantise.cuh): eight threads
// a block, four values each. And to F16, for products of that (halve).
#include "quantise.cuh"

namespace brim_gpu {

__device__ void quantise(const QuantiseArguments& a, Step step) {
  const uint in_row = a.k / 32, blocks = step.size(a.outer) * a.inner * in_row, part = threadIdx.x % 8;
  const uint64_t x = step.address_of(a.x);
  const bool aligned = ((x | 4ull * a.x_outer | 4ull * a.x_inner) & 15u) == 0;
  // Whole warps go on together, as their lanes exchange what they have.
  for (uint first = thread_of_grid() / 32 * 4; first < blocks; first += threads_of_grid() / 8) {
    const uint block = first + threadIdx.x / 8 % 4, from = min(block, blocks - 1), row = from / in_row;
    const float* at =
        floats(x) + (row / a.inner * a.x_outer + row % a.inner * a.x_inner) + from % in_row * 32 + 4 * part;
    const float4 v = aligned ? *reinterpret_cast<const float4*>(at) : float4{at[0], at[1], at[2], at[3]};
    uint largest = max(max(magnitude(v.x), magnitude(v.y)), max(magnitude(v.z), magnitude(v.w)));
    for (int far = 4; far > 0; far /= 2) largest = max(largest, __shfl_xor_sync(~0u, largest, far));
    const ByteScale scale(largest);
    const int c[4] = {scale.code(v.x), scale.code(v.y), scale.code(v.z), scale.code(v.w)};
    int sum = c[0] + c[1] + c[2] + c[3];
    for (int far = 4; far > 0; far /= 2) sum += __shfl_xor_sync(~0u, sum, far);
    if (block >= blocks) continue;
    pointer<uint>(a.codes)[8 * block + part] =
        (c[0] & 255u) | (c[1] & 255u) << 8 | (c[2] & 255u) << 16 | (c[3] & 255u) << 24;
    if (part == 0) pointer<float2>(a.scales)[block] = scale.scales(sum);
  }
}

}  // namespace brim_gpu

BRIM_KERNEL(quantise, 64, QuantiseArguments, quantise)
