// How fast the team reads system memory: every thread sums its own share of one block, in one run of addresses, in four
// at once, or in eight that are fetched ahead as the CPU backend's kernels do, and the fastest pass counts. On one
// machine they reach 4, 13 and 20 GB/s. The block is larger than caches usually are, written once before so that its
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
constexpr std::chrono::milliseconds kTouchTime{120}, kTime{260};
constexpr uint64_t kLine = 64, kAhead = 512;

// Sums `bytes` bytes, a multiple of 64; eight independent sums keep enough loads in flight.
uint64_t read_all(const std::byte* from, uint64_t bytes) {
  uint64_t sums[8] = {};
  for (uint64_t at = 0; at < bytes; at += kLine) {
    uint64_t words[8];
    std::memcpy(words, from + at, kLine);
    for (int i = 0; i < 8; ++i) sums[i] += words[i];
  }
  uint64_t sum = 0;
  for (const uint64_t s : sums) sum += s;
  return sum;
}

// The same in several runs at once. Fetching ahead past the end does nothing.
template <int kRuns, bool kFetch>
uint64_t read_runs(const std::byte* from, uint64_t bytes) {
  const uint64_t run = bytes / kRuns / kLine * kLine;
  uint64_t sums[kRuns] = {};
  for (uint64_t at = 0; at < run; at += kLine) {
    for (int r = 0; r < kRuns; ++r) {
      const std::byte* line = from + static_cast<uint64_t>(r) * run + at;
      if constexpr (kFetch) __builtin_prefetch(line + kAhead);
      uint64_t words[8];
      std::memcpy(words, line, kLine);
      for (int i = 0; i < 8; ++i) sums[r] += words[i];
    }
  }
  uint64_t sum = read_all(from + kRuns * run, bytes - kRuns * run);
  for (const uint64_t s : sums) sum += s;
  return sum;
}

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
  constexpr uint64_t (*kWays[])(const std::byte*, uint64_t) = {read_runs<8, true>, read_runs<4, false>, read_all};
  for (size_t pass_number = 0; pass_number == 0 || Clock::now() - start < kTime; ++pass_number) {
    const auto way = kWays[pass_number % std::size(kWays)];
    const auto pass = Clock::now();
    share(0, touched, [&](const std::byte* from, uint64_t n) { sink += way(from, n); });
    const double seconds = std::chrono::duration<double>(Clock::now() - pass).count();
    if (seconds > 0) best = std::max(best, static_cast<double>(touched) / seconds);
  }
  return best;
}

}  // namespace brim::topology
