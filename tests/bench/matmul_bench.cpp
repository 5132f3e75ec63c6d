// Speed of the CPU backend's matmul kernels on one thread, beside what the machine's memory delivers.
//
// For every (dtype, numerics), then for packed weights, and 1, 8, 64 and 512 tokens: GMAC/s (weight elements times
// tokens per second); for one token also GB/s of weights read and its share of the read bandwidth, which is measured
// first. One token walks in slices through a buffer far larger than the last cache, so that weights come from memory;
// the others use 512 rows. Times are processor time, the best of many short runs, so that other load disturbs little.
// One argument: a dtype to measure alone.
#include <brim/types.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "formats/half.hpp"
#include "matmul/matmul.hpp"

namespace {

using brim_cpu::MatmulKernel;

constexpr int64_t kColumns = 2048;
constexpr size_t kStreamBytes = size_t{256} << 20;
constexpr size_t kSliceBytes = size_t{4} << 20;

// Processor time of this thread: what else runs on the machine does not count.
double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// The best of as many runs as fit half a second.
template <class F>
double best_seconds(F&& f) {
  double best = 1e30;
  for (const double begin = now(); now() - begin < 0.5;) {
    const double start = now();
    f();
    best = std::min(best, now() - start);
  }
  return best;
}

uint64_t sum_words(const uint8_t* p, size_t n) {
  uint64_t sum[8] = {};
  for (size_t i = 0; i + 64 <= n; i += 64) {
    __builtin_prefetch(p + i + 4096);
    uint64_t v[8];
    std::memcpy(v, p + i, 64);
    for (int j = 0; j < 8; ++j) sum[j] += v[j];
  }
  for (int j = 1; j < 8; ++j) sum[0] += sum[j];
  return sum[0];
}

// Weights as the engine's memory has them: pages of 2 MiB where the system has such.
class Weights {
 public:
  explicit Weights(size_t bytes) : memory_(static_cast<uint8_t*>(std::aligned_alloc(size_t{2} << 20, bytes))) {
    if (memory_ == nullptr) std::abort();
#if defined(__linux__)
    madvise(memory_, bytes, MADV_HUGEPAGE);
#endif
    size_ = bytes;
  }
  ~Weights() { std::free(memory_); }
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;
  uint8_t* data() { return memory_; }
  size_t size() const { return size_; }

 private:
  uint8_t* memory_;
  size_t size_ = 0;
};

struct AlignedRows {
  std::vector<uint8_t> bytes;
  uint8_t* data() { return bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64; }
};

void bench(uint32_t dtype, uint32_t numerics, bool packed, Weights& weights, double bandwidth) {
  const MatmulKernel* kernel = brim_cpu::find_matmul(dtype, numerics, kColumns);
  if (kernel == nullptr || (packed && kernel->multiply_packed == nullptr)) return;
  if (numerics == BRIM_NUMERICS_FAST && kernel == brim_cpu::find_matmul(dtype, BRIM_NUMERICS_STRICT, kColumns)) return;
  const size_t row_bytes = brim_dtype_row_bytes(dtype, kColumns);
  const int64_t all_rows = static_cast<int64_t>(weights.size() / row_bytes) / 8 * 8;
  const size_t stride = kernel->activation_bytes(kColumns);
  AlignedRows prepared{std::vector<uint8_t>(stride * 512 + 64)};
  std::vector<float> x(kColumns);
  for (int t = 0; t < 512; ++t) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(std::rand() % 2001 - 1000) * 1e-3f;
    kernel->prepare(x.data(), prepared.data() + static_cast<size_t>(t) * stride, kColumns);
  }
  const char* how = packed ? "packed" : numerics == BRIM_NUMERICS_FAST ? "fast" : "strict";
  const brim_cpu::Multiply multiply = packed ? kernel->multiply_packed : kernel->multiply;
  std::printf("%-7s %-6s", brim_dtype_name(dtype), how);
  for (const int64_t tokens : {1, 8, 64, 512}) {
    const int64_t rows =
        std::min<int64_t>(all_rows, tokens == 1 ? static_cast<int64_t>(kSliceBytes / row_bytes) / 8 * 8 : 512);
    std::vector<float> out(static_cast<size_t>(rows * tokens));
    int64_t first = 0;
    const double seconds = best_seconds([&] {
      multiply(weights.data() + static_cast<size_t>(first) * row_bytes, row_bytes, 0, rows, prepared.data(), stride,
               tokens, out.data(), rows, kColumns);
      if (tokens == 1) first = first + 2 * rows <= all_rows ? first + rows : 0;
    });
    const double macs = static_cast<double>(rows) * kColumns * static_cast<double>(tokens);
    const double gbs = static_cast<double>(rows) * static_cast<double>(row_bytes) / seconds * 1e-9;
    std::printf(" | %6.1f", macs / seconds * 1e-9);
    if (tokens == 1) std::printf(" %5.1f %3.0f%%", gbs, 100 * gbs / bandwidth);
  }
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string only = argc > 1 ? argv[1] : "";
  Weights weights(kStreamBytes);
  // Random bytes with every 16-bit word a small normal F16, so that no scale anywhere is an Inf or a NaN.
  for (size_t i = 0; i < weights.size(); i += 2) {
    const uint16_t word = static_cast<uint16_t>((std::rand() & 0x83ff) | 0x2000);
    std::memcpy(weights.data() + i, &word, 2);
  }
  volatile uint64_t sink = 0;
  size_t first = 0;
  const double seconds = best_seconds([&] {
    sink = sink + sum_words(weights.data() + first, kSliceBytes);
    first = (first + kSliceBytes) % kStreamBytes;
  });
  const double bandwidth = static_cast<double>(kSliceBytes) / seconds * 1e-9;
  std::printf("one thread, k = %lld, read bandwidth %.1f GB/s\n", static_cast<long long>(kColumns), bandwidth);
  std::printf("%-14s | 1: GMAC/s GB/s share | 8: GMAC/s | 64 | 512\n", "weights");
  for (const uint32_t numerics : {BRIM_NUMERICS_FAST, BRIM_NUMERICS_STRICT}) {
#define BENCH(name, number, spelling, elements, bytes) \
  if (only.empty() || only == (spelling)) bench(number, numerics, false, weights, bandwidth);
    BRIM_DTYPE_TABLE(BENCH)
#undef BENCH
  }
#define BENCH(name, number, spelling, elements, bytes) \
  if (only.empty() || only == (spelling)) bench(number, BRIM_NUMERICS_FAST, true, weights, bandwidth);
  BRIM_DTYPE_TABLE(BENCH)
#undef BENCH
  return 0;
}
