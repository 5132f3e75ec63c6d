// The best of many by value, the lower index first of equal ones, NaN behind all: over the block, the same in every
// thread. An index of kNone stands for nothing and ranks last.
#pragma once

#include "common.cuh"

namespace brim_gpu {

constexpr uint kNone = 0xffffffffu;

struct Best {
  float value = 0;
  uint index = kNone;
};

__device__ __forceinline__ bool ranks_before(Best a, Best b) {
  if (a.index == kNone || b.index == kNone) return a.index != kNone;
  const bool na = isnan(a.value), nb = isnan(b.value);
  if (na != nb) return nb;
  return !na && a.value != b.value ? a.value > b.value : a.index < b.index;
}

template <uint kThreads>
__device__ Best block_best(Best mine) {
  __shared__ float values[kThreads / 32];
  __shared__ uint indices[kThreads / 32];
  for (int far = 16; far > 0; far /= 2) {
    const Best other{__shfl_xor_sync(~0u, mine.value, far), __shfl_xor_sync(~0u, mine.index, far)};
    if (ranks_before(other, mine)) mine = other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    values[threadIdx.x / 32] = mine.value;
    indices[threadIdx.x / 32] = mine.index;
  }
  __syncthreads();
  Best all{values[0], indices[0]};
  for (uint i = 1; i < kThreads / 32; ++i) {
    const Best other{values[i], indices[i]};
    if (ranks_before(other, all)) all = other;
  }
  return all;
}

}  // namespace brim_gpu
