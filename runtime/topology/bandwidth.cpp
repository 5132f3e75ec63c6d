// How fast the team reads system memory: every thread sums its own share of one block, in one run of addresses, in four
// at once, or in eight that are fetched ahead as the CPU backend's kernels do, and the fastest pass counts. On one
// machine they reach 19, 23 and 24 GB/s. The block is larger than caches usually are, written once before so that its
// pages exist, and given back at the end. On a processor whose cache holds all of it the answer is the cache's.
#include <algorithm>
#include <atomic>
#include <base/memory.hpp>
#include <base/os/machine.hpp>
#include <chrono>
#include <cstring>
#include <exception>
#include <topology/topology.hpp>

namespace brim::topology {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kMiB = 1024 * 1024;
constexpr uint64_t kBytes = 256 * kMiB;      // or an eighth of what is available
constexpr uint64_t kLeastBytes = 64 * kMiB;  // less would measure caches
constexpr uint64_t kStep = 32 * kMiB;        // touched at a time, between looks at the clock
constexpr std::chrono::milliseconds kTouchTime{120}, kTime{450}, kMost{900};
constexpr size_t kLeastPasses = 12;  // where others use the memory too, a few passes see them and not the memory
constexpr uint64_t kLine = 64, kAhead = 512;

// Sums `bytes` bytes, a multiple of 64, in several runs of addresses at once. Lines fetched ahead are for one use, and
// past the end they are not fetched.
template <int kRuns, bool kFetch>
[[gnu::always_inline]] inline uint64_t sum_runs(const std::byte* from, uint64_t bytes) {
  typedef uint64_t Line __attribute__((vector_size(kLine)));
  const uint64_t run = bytes / kRuns / kLine * kLine;
  Line sums[kRuns] = {};
  const auto add = [](Line& sum, const std::byte* at) {
    Line line;
    std::memcpy(&line, at, kLine);
    sum += line;
  };
  for (uint64_t at = 0; at < run; at += kLine) {
    for (int r = 0; r < kRuns; ++r) {
      const std::byte* line = from + static_cast<uint64_t>(r) * run + at;
      if constexpr (kFetch) __builtin_prefetch(line + kAhead, 0, 0);
      add(sums[r], line);
    }
  }
  for (uint64_t at = kRuns * run; at < bytes; at += kLine) add(sums[0], from + at);
  uint64_t sum = 0;
  for (const Line& line : sums) {
    for (int i = 0; i < 8; ++i) sum += line[i];
  }
  return sum;
}

using Reader = uint64_t (*)(const std::byte*, uint64_t);

template <int kRuns, bool kFetch>
uint64_t read_plain(const std::byte* from, uint64_t bytes) {
  return sum_runs<kRuns, kFetch>(from, bytes);
}

// In registers as wide as the kernels': with narrower ones a core asks for too few lines.
#if defined(__x86_64__)
template <int kRuns, bool kFetch>
__attribute__((target("avx2"))) uint64_t read_avx2(const std::byte* from, uint64_t bytes) {
  return sum_runs<kRuns, kFetch>(from, bytes);
}
template <int kRuns, bool kFetch>
Reader reader() {
  return __builtin_cpu_supports("avx2") ? read_avx2<kRuns, kFetch> : read_plain<kRuns, kFetch>;
}
#else
template <int kRuns, bool kFetch>
Reader reader() {
  return read_plain<kRuns, kFetch>;
}
#endif

}  // namespace

double probe_bandwidth(Team& team) {
  const auto start = Clock::now();
  const uint64_t bytes = std::min(kBytes, os::system_memory().available / 8) / kStep * kStep;
  if (bytes < kLeastBytes) return 0;
  HostArray<std::byte> block;
  try {
    block = host_array<std::byte>(static_cast<size_t>(bytes));
  } catch (const std::exception&) {
    return 0;
  }
  // Runs task(from, bytes) on every thread's share of [offset, offset + length), in whole cache lines.
  const auto share = [&](uint64_t offset, uint64_t length, auto&& task) {
    team.run(team.size(), [&](uint32_t index, uint32_t count) {
      const uint64_t lines = length / kLine;
      const uint64_t first = lines * index / count * kLine, last = lines * (index + 1) / count * kLine;
      task(block.get() + offset + first, last - first);
    });
  };
  // A page that was never written is the kernel's one zero page and would be read from cache. New pages come slowly on
  // some machines: then fewer have to do.
  uint64_t touched = 0;
  while (touched < bytes && (touched < kLeastBytes || Clock::now() - start < kTouchTime)) {
    share(touched, kStep, [](std::byte* from, uint64_t n) { std::memset(from, 1, static_cast<size_t>(n)); });
    touched += kStep;
  }
  std::atomic<uint64_t> sink{0};  // the sums are used, so the reads are made
  double best = 0;
  const Reader ways[] = {reader<8, true>(), reader<4, false>(), reader<1, false>()};
  const auto goes_on = [&](size_t passes) {
    const auto took = Clock::now() - start;
    return passes == 0 || (took < kMost && (took < kTime || passes < kLeastPasses));
  };
  for (size_t pass_number = 0; goes_on(pass_number); ++pass_number) {
    const Reader way = ways[pass_number % std::size(ways)];
    const auto pass = Clock::now();
    share(0, touched, [&](const std::byte* from, uint64_t n) { sink += way(from, n); });
    const double seconds = std::chrono::duration<double>(Clock::now() - pass).count();
    if (seconds > 0) best = std::max(best, static_cast<double>(touched) / seconds);
  }
  return best;
}

}  // namespace brim::topology
