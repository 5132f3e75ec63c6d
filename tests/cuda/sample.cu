// Kernels for tests of the machine: what compilers make of ordinary code.
#include <cstdint>

struct Whole {
  const uint32_t *a, *b;
  uint64_t* out;
  uint32_t n;
};

// A row of results for each pair: 12 of them.
extern "C" __global__ void whole_numbers(const __grid_constant__ Whole w) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= w.n) return;
  const uint32_t a = w.a[i], b = w.b[i];
  const auto sa = static_cast<int32_t>(a), sb = static_cast<int32_t>(b);
  const uint64_t wide = uint64_t{a} << 32 | b;
  uint64_t* out = w.out + 12 * i;
  out[0] = a / b;
  out[1] = static_cast<uint64_t>(static_cast<int64_t>(sa % (sb == 0 || sb == -1 ? 7 : sb)));
  out[2] = uint64_t{a} * b + 3;
  out[3] = __umulhi(a, b);
  out[4] = wide / (uint64_t{b} + 3);
  out[5] = static_cast<uint64_t>(static_cast<int64_t>(wide) >> (b & 63));
  out[6] = __brev(a) ^ __popc(b) ^ static_cast<uint32_t>(__clz(static_cast<int>(a)));
  out[7] = __byte_perm(a, b, 0x3715) + static_cast<uint64_t>(static_cast<int8_t>(a)) + static_cast<uint16_t>(b);
  out[8] = __funnelshift_l(a, b, a & 31) | uint64_t{__funnelshift_r(a, b, b)} << 32;
  out[9] = static_cast<uint64_t>(static_cast<int64_t>(__dp4a(sa, sb, 1000)));
  out[10] = max(sa, sb) - min(a, b);
  out[11] = (a & 0xff00) >> 8 | (b & 0x7f000) << 3;
}

struct Floats {
  const float* x;
  float* out;
  uint32_t n;
};

// 13 functions of each number.
extern "C" __global__ void functions(const __grid_constant__ Floats f) {
  for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < f.n; i += gridDim.x * blockDim.x) {
    const float x = f.x[i];
    float* out = f.out + 13 * i;
    out[0] = expf(x);
    out[1] = logf(fabsf(x));
    out[2] = sinf(x * 1000);
    out[3] = cosf(x * 1e7f);
    out[4] = tanhf(x);
    out[5] = erff(x);
    out[6] = powf(fabsf(x), 1.7f);
    out[7] = sqrtf(fabsf(x)) / 3;
    out[8] = floorf(x) + rintf(x);
    out[9] = static_cast<float>(static_cast<int>(x * 100)) + static_cast<float>(static_cast<uint64_t>(fabsf(x) * 1e6f));
    out[10] = log1pf(expf(-fabsf(x)));
    out[11] = static_cast<float>(static_cast<double>(x) * 1.1);
    out[12] = normcdff(x);
  }
}

// Sums over blocks with shuffles, shared memory and a loop whose lanes end at different times.
extern "C" __global__ void sums(const __grid_constant__ Floats f) {
  __shared__ float part[8];
  float sum = 0;
  for (uint32_t i = threadIdx.x; i < f.n; i += blockDim.x) {
    for (uint32_t j = 0; j <= i % 5; ++j) sum += f.x[i] * static_cast<float>(j + blockIdx.x);
  }
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (uint32_t i = 1; i < blockDim.x / 32; ++i) sum += part[i];
  f.out[blockIdx.x] = sum;
}

__constant__ uint32_t kTable[4] = {7, 11, 13, 17};

// A switch, a table, local memory that is indexed at run time, warps that vote.
extern "C" __global__ void branches(const __grid_constant__ Whole w) {
  const uint32_t i = threadIdx.x, a = w.a[i];
  uint32_t v = 0, history[6];
  for (uint32_t j = 0; j < 6; ++j) history[(a + j) % 6] = a * j;
  switch (a % 7) {
    case 0:
      v = a + 1;
      break;
    case 1:
      v = a * 3;
      break;
    case 2:
      v = a ^ 0x55;
      break;
    case 3:
      v = a / 7;
      break;
    case 4:
      while (v < a % 100) v += 9;
      break;
    case 5:
      v = __popc(a) + 100;
      break;
    default:
      v = ~a;
  }
  const uint32_t odd = __ballot_sync(~0u, (a & 1) != 0);
  w.out[i] = uint64_t{v} + history[w.b[i] % 6] + kTable[a % 4] + (uint64_t{odd} << 32);
}
