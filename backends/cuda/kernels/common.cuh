// What every kernel shares: how it finds its arguments and the step, loads by address, reductions over the block.
//
// A kernel takes its arguments by value, as constants of the launch, and a pointer to the Run block of its program
// (gpu/arguments.h). Kernels are named by what they were compiled for: matvec_12_1 is matvec for Q4_K and one column.
// Bytes are read in units of the alignment that blocks of weights have: most have no better one than 2.
#pragma once

#include <cstdint>

namespace brim_gpu {

using uint = uint32_t;
#include <gpu/arguments.h>

constexpr uint kTokens = 1, kSequences = 3;  // BRIM_SYM_*
constexpr float kInfinity = __builtin_huge_valf();

// Everything that kernels touch by address is global memory.
template <class T>
__device__ __forceinline__ T* pointer(uint64_t address) {
  T* p = reinterpret_cast<T*>(address);
  __builtin_assume(__isGlobal(p));
  return p;
}
__device__ __forceinline__ const float* floats(uint64_t address) { return pointer<const float>(address); }

struct Step {
  const Run* run;

  __device__ uint count(uint symbol) const { return symbol == 0 ? 1 : run->count[symbol]; }
  __device__ uint size(Size s) const { return s.factor * count(s.symbol); }
  // An address with bit 63 is an offset into the step block.
  __device__ uint64_t address_of(uint64_t place) const {
    return place >> 63 == 0 ? place : run->step + (place & 0x7fffffffffffffffull);
  }
  // Element i of an array of the step block.
  __device__ int at(uint offset, uint i) const { return pointer<const int>(run->step + offset)[i]; }
};

__device__ __forceinline__ uint load8(uint64_t a) { return *pointer<const uint8_t>(a); }
__device__ __forceinline__ uint load16(uint64_t a) { return *pointer<const uint16_t>(a); }
__device__ __forceinline__ uint load32(uint64_t a) { return load16(a) | load16(a + 2) << 16; }

__device__ __forceinline__ float half_to_float(uint bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(static_cast<uint16_t>(bits)));
  return x;
}
// To nearest, ties to even.
__device__ __forceinline__ uint float_to_half(float x) {
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
__device__ __forceinline__ float bfloat_to_float(uint bits) { return __uint_as_float(bits << 16); }
__device__ __forceinline__ uint float_to_bfloat(float x) {
  const uint bits = __float_as_uint(x);
  return isnan(x) ? bits >> 16 | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

__device__ __forceinline__ uint thread_of_grid() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ uint threads_of_grid() { return gridDim.x * blockDim.x; }

// Over the block, the same in every thread; every thread has to take part.
template <uint kThreads, class F>
__device__ float block_reduce(float x, F join) {
  __shared__ float part[kThreads / 32];
  for (int step = 16; step > 0; step /= 2) x = join(x, __shfl_xor_sync(~0u, x, step));
  __syncthreads();
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
  __syncthreads();
  float all = part[0];
  for (uint i = 1; i < kThreads / 32; ++i) all = join(all, part[i]);
  return all;
}
template <uint kThreads>
__device__ float block_sum(float x) {
  return block_reduce<kThreads>(x, [](float a, float b) { return a + b; });
}
template <uint kThreads>
__device__ float block_max(float x) {
  return block_reduce<kThreads>(x, [](float a, float b) { return fmaxf(a, b); });
}

// Output n of a row of a product, plus what is added to it.
__device__ __forceinline__ void store_product(const ProductArguments& a, uint row, uint n, float y) {
  if (a.add != 0) y += floats(a.add)[uint64_t{row} * a.add_row + n];
  pointer<float>(a.result)[uint64_t{row} * a.result_row + n] = y;
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }

}  // namespace brim_gpu

// A kernel under its name in the module: arguments by value, the Run block by address. `bounds`: threads of a block and
// how many blocks a processor has to hold at once, in parentheses.
#define BRIM_BOUNDED_KERNEL(name, bounds, Arguments, ...)                                                 \
  extern "C" __global__ void __launch_bounds__ bounds name(const __grid_constant__ brim_gpu::Arguments a, \
                                                           const brim_gpu::Run* run) {                    \
    brim_gpu::__VA_ARGS__(a, brim_gpu::Step{run});                                                        \
  }
#define BRIM_KERNEL(name, threads, Arguments, ...) BRIM_BOUNDED_KERNEL(name, (threads), Arguments, __VA_ARGS__)
