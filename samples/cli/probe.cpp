#include "probe.hpp"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstring>
#include <new>
#include <thread>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace cli {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kWords = size_t{32} << 20;  // 256 MiB
constexpr size_t kLineWords = 8;
constexpr int kPasses = 4;
constexpr double kSteps = 200'000;  // of a multiplying pass

// Units a second of work(thread, threads), which returns how many it did, on all threads at once; the best pass.
template <class Work>
double best_rate(uint32_t threads, const Work& work) {
  struct Part {
    double done = 0;
    Clock::time_point begin, end;
  };
  std::vector<Part> parts(threads);
  std::barrier meet(static_cast<std::ptrdiff_t>(threads));
  double best = 0;
  const auto run = [&](uint32_t index) {
    for (int pass = 0; pass < kPasses; ++pass) {
      meet.arrive_and_wait();
      Part& part = parts[index];
      part.begin = Clock::now();
      part.done = work(index, threads);
      part.end = Clock::now();
      meet.arrive_and_wait();
      if (index != 0) continue;
      double done = 0;
      Clock::time_point begin = part.begin, end = part.end;
      for (const Part& each : parts) {
        done += each.done;
        begin = std::min(begin, each.begin);
        end = std::max(end, each.end);
      }
      best = std::max(best, done / std::chrono::duration<double>(end - begin).count());
    }
  };
  std::vector<std::jthread> others;
  for (uint32_t i = 1; i < threads; ++i) others.emplace_back(run, i);
  run(0);
  others.clear();
  return best;
}

// Sums `words` words walked as `streams` streams side by side, and fetches lines so many bytes ahead of their use.
template <int kStreams, int kAhead>
[[gnu::always_inline]] inline uint64_t sum_streams(const uint64_t* from, size_t words) {
  typedef uint64_t Line __attribute__((vector_size(64)));
  const size_t each = words / kStreams / kLineWords * kLineWords;
  Line sums[2] = {};  // as many as the registers hold whatever the streams
  for (size_t at = 0; at < each; at += kLineWords) {
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) {
      const uint64_t* p = from + static_cast<size_t>(s) * each + at;
      if (kAhead != 0) __builtin_prefetch(reinterpret_cast<const char*>(p) + kAhead);
      Line line;
      std::memcpy(&line, p, sizeof line);
      sums[s % 2] += line;
    }
  }
  uint64_t sum = 0;
  for (const Line& line : sums) {
    for (int i = 0; i < 8; ++i) sum += line[i];
  }
  return sum;
}

using Reader = uint64_t (*)(const uint64_t*, size_t);

template <int kStreams, int kAhead>
uint64_t read_plain(const uint64_t* from, size_t words) {
  return sum_streams<kStreams, kAhead>(from, words);
}

// In registers as wide as kernels use: narrower ones cannot ask for lines fast enough.
#if defined(__x86_64__)
template <int kStreams, int kAhead>
__attribute__((target("avx2"))) uint64_t read_avx2(const uint64_t* from, size_t words) {
  return sum_streams<kStreams, kAhead>(from, words);
}
template <int kStreams, int kAhead>
Reader reader() {
  return __builtin_cpu_supports("avx2") ? read_avx2<kStreams, kAhead> : read_plain<kStreams, kAhead>;
}
#else
template <int kStreams, int kAhead>
Reader reader() {
  return read_plain<kStreams, kAhead>;
}
#endif

// Multiply-adds of one kind. The empty statements keep the compiler from folding equal products and from dropping sums
// that nobody reads.
struct Multiply {
  const char* how;
  double macs;  // per step of `run`
  void (*run)(int steps);
};

#if defined(__x86_64__)

__attribute__((target("avx2"))) void integer_avx2(int steps) {
  __m256i w = _mm256_set1_epi8(3), a = _mm256_set1_epi8(5), one = _mm256_set1_epi16(1), sum[2] = {};
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 2
    for (__m256i& total : sum) {  // eight products of 4-bit codes fit 16 bits, then they are widened
      __m256i chain = _mm256_maddubs_epi16(w, a);
#pragma GCC unroll 7
      for (int i = 1; i < 8; ++i) {
        __asm__("" : "+x"(w));
        chain = _mm256_add_epi16(chain, _mm256_maddubs_epi16(w, a));
        __asm__("" : "+x"(chain));
      }
      total = _mm256_add_epi32(total, _mm256_madd_epi16(chain, one));
    }
  }
  __asm__ volatile("" ::"x"(sum[0]), "x"(sum[1]));
}

__attribute__((target("avx2,fma"))) void float_fma(int steps) {
  __m256 w = _mm256_set1_ps(0.5f), sum[12] = {};
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (__m256& total : sum) {
      total = _mm256_fmadd_ps(w, w, total);
      __asm__ volatile("" : "+x"(total));
    }
  }
}

__attribute__((target("avx512f,avx512vnni"))) void integer_vnni(int steps) {
  __m512i w = _mm512_set1_epi8(3), sum[12] = {};
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (__m512i& total : sum) {
      total = _mm512_dpbusd_epi32(total, w, w);
      __asm__ volatile("" : "+v"(total));
    }
  }
}

__attribute__((target("avx512f"))) void float_avx512(int steps) {
  __m512 w = _mm512_set1_ps(0.5f), sum[12] = {};
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (__m512& total : sum) {
      total = _mm512_fmadd_ps(w, w, total);
      __asm__ volatile("" : "+v"(total));
    }
  }
}

__attribute__((target("avx512f,avx512bf16"))) void bfloat_avx512(int steps) {
  __m512bh w = (__m512bh)_mm512_set1_epi32(0x3f003f00);
  __m512 sum[12] = {};
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (__m512& total : sum) {
      total = _mm512_dpbf16_ps(total, w, w);
      __asm__ volatile("" : "+v"(total));
    }
  }
}

Multiply integer_multiply() {
  if (__builtin_cpu_supports("avx512vnni")) return {"vpdpbusd, 512 bits", 12 * 64, integer_vnni};
  if (__builtin_cpu_supports("avx2")) return {"vpmaddubsw and vpmaddwd, 256 bits", 2 * 8 * 32, integer_avx2};
  return {"", 0, nullptr};
}
Multiply float_multiply() {
  if (__builtin_cpu_supports("avx512f")) return {"vfmadd, 512 bits", 12 * 16, float_avx512};
  if (__builtin_cpu_supports("fma")) return {"vfmadd, 256 bits", 12 * 8, float_fma};
  return {"", 0, nullptr};
}
Multiply bfloat_multiply() {
  if (__builtin_cpu_supports("avx512bf16")) return {"vdpbf16ps, 512 bits", 12 * 32, bfloat_avx512};
  return {"", 0, nullptr};
}

#elif defined(__aarch64__)

void float_neon(int steps) {
  float32x4_t w = vdupq_n_f32(0.5f), sum[12] = {};
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (float32x4_t& total : sum) {
      total = vfmaq_f32(total, w, w);
      __asm__ volatile("" : "+w"(total));
    }
  }
}

Multiply integer_multiply() { return {"", 0, nullptr}; }
Multiply float_multiply() { return {"fmla, 128 bits", 12 * 4, float_neon}; }
Multiply bfloat_multiply() { return {"", 0, nullptr}; }

#else

Multiply integer_multiply() { return {"", 0, nullptr}; }
Multiply float_multiply() { return {"", 0, nullptr}; }
Multiply bfloat_multiply() { return {"", 0, nullptr}; }

#endif

double rate(uint32_t threads, const Multiply& multiply) {
  if (multiply.run == nullptr) return 0;
  return best_rate(threads, [&](uint32_t, uint32_t) {
    multiply.run(static_cast<int>(kSteps));
    return kSteps * multiply.macs;
  });
}

}  // namespace

void Limits::raise(const Limits& other) {
  if (other.bandwidth > bandwidth) bandwidth = other.bandwidth, pattern = other.pattern;
  integer_macs = std::max(integer_macs, other.integer_macs);
  float_macs = std::max(float_macs, other.float_macs);
  bfloat_macs = std::max(bfloat_macs, other.bfloat_macs);
  integer_how = other.integer_how;
  bfloat_how = other.bfloat_how;
  float_how = other.float_how;
}

Probe::Probe(uint32_t threads) : threads_(threads) {
  try {
    block_.reserve(kWords);
#if defined(__linux__)
    const auto begin = (reinterpret_cast<uintptr_t>(block_.data()) + 4095) / 4096 * 4096;
    madvise(reinterpret_cast<void*>(begin), kWords * sizeof(uint64_t) - 4096, MADV_HUGEPAGE);
#endif
    block_.assign(kWords, 1);  // written, so that its pages exist
  } catch (const std::bad_alloc&) {
  }
}

Limits Probe::measure() {
  Limits out;
  const Reader readers[] = {reader<1, 0>(), reader<4, 0>(), reader<2, 2048>(), reader<4, 1024>(), reader<8, 1024>()};
  static_assert(std::size(readers) == std::size(kReadPatterns));
  for (size_t i = 0; i < std::size(readers) && !block_.empty(); ++i) {
    const double bandwidth = best_rate(threads_, [&](uint32_t index, uint32_t count) {
      const size_t words = kWords / count / kLineWords * kLineWords;
      volatile uint64_t sum = readers[i](block_.data() + index * words, words);
      static_cast<void>(sum);
      return static_cast<double>(words * sizeof(uint64_t));
    });
    if (bandwidth <= out.bandwidth) continue;
    out.bandwidth = bandwidth;
    out.pattern = kReadPatterns[i];
  }
  const Multiply integer = integer_multiply(), floating = float_multiply(), bfloat = bfloat_multiply();
  out.integer_macs = rate(threads_, integer);
  out.integer_how = integer.how;
  out.float_macs = rate(threads_, floating);
  out.float_how = floating.how;
  out.bfloat_macs = rate(threads_, bfloat);
  out.bfloat_how = bfloat.how;
  return out;
}

}  // namespace cli
