#include <algorithm>
#include <map>
#include <topology/budget.hpp>

namespace brim::topology {
namespace {

constexpr uint64_t kMiB = 1ull << 20, kGiB = 1ull << 30;
constexpr uint64_t kLargeUma = 64'000'000'000;  // from here on a shared memory's reserve is a fixed one

uint64_t minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

uint64_t percent(uint64_t bytes, uint64_t n) { return bytes / 100 * n; }

struct Margins {
  uint64_t reserve, floor;
};

// GB10 hangs instead of refusing where 6 to 7 GiB are left: large shared memories keep more. Elsewhere a share, with a
// least that a desktop or a driver takes, and never so much that a small machine has nothing left to plan with.
Margins margins_of(Class rules, uint64_t bytes) {
  if (is_discrete(rules)) {
    return {std::min(std::max(512 * kMiB, percent(bytes, 3)), bytes / 8),
            std::min(std::max(256 * kMiB, percent(bytes, 1)), bytes / 16)};
  }
  if (is_uma(rules) || rules == Class::kUnknown) {
    if (bytes >= kLargeUma) return {12 * kGiB, 8 * kGiB};
    return {std::min(std::max(2 * kGiB, percent(bytes, 12)), bytes / 4),
            std::min(std::max(3 * kGiB / 2, percent(bytes, 8)), bytes / 6)};
  }
  return {std::min(std::max(2 * kGiB, percent(bytes, 5)), bytes / 8),
          std::min(std::max(kGiB, percent(bytes, 3)), bytes / 16)};
}

constexpr const char* kCountsCache = "counts page cache that could be dropped as used: a least, not a bound";
constexpr const char* kOtherMemory = "another memory than this one";

// Does a reading of that kind bound the budget under these rules? `note`: why not, or what is wrong with it.
bool bounds(Class rules, ReadingKind kind, std::string& note) {
  const bool all = rules == Class::kUnknown, host = !is_discrete(rules);
  const bool no_gpu = rules == Class::kCpu || rules == Class::kSoftware;
  const bool counted_as_free = rules == Class::kAtsUma || rules == Class::kTegraUma;
  switch (kind) {
    case ReadingKind::kHostAvailable:
    case ReadingKind::kCommitLeft:
      if (!host) note = kOtherMemory;
      return host;
    case ReadingKind::kHostLimit:
      if (!host) note = kOtherMemory;
      if (counts_no_device_memory(rules, kind))
        note = "the kernel does not count what CUDA allocates: kept by counting it here";
      return host;
    case ReadingKind::kDriver:
      if (no_gpu) note = kOtherMemory;
      if (counted_as_free) note = kCountsCache;
      if (rules == Class::kWindowsUma) note = "does not follow what is left of the memory: one bound among others";
      return !no_gpu && !counted_as_free;
    case ReadingKind::kHeap:
      // What the system says of its own memory holds; a heap there is a view of it.
      if (no_gpu) note = "a view of this memory";
      return !no_gpu;
    case ReadingKind::kHostFree:
      note = kCountsCache;
      return all;
    case ReadingKind::kManagement:
      note = "shows a part of a shared memory";
      return all;
    case ReadingKind::kHugePages:
      note = "kept from everybody else: no part of what is available";
      return false;
    case ReadingKind::kCarveOut:
      note = "no part of what the host reads: added to it";
      return false;
    case ReadingKind::kDeviceNode:
      note = "a part of what the host reads, and another memory: taken off it";
      return false;
  }
  return false;
}

}  // namespace

Budget budget_of(Class rules, std::vector<Reading>& readings) {
  const bool host = !is_discrete(rules);
  uint64_t total = 0, most = 0, added = 0, added_free = 0, node = 0, node_free = 0;
  struct View {
    uint64_t bytes = 0, of = 0;
    uint32_t first = kNoReading;
  };
  std::map<uint32_t, View> views;
  for (uint32_t i = 0; i < readings.size(); ++i) {
    Reading& r = readings[i];
    r.note.clear();
    r.bounds = bounds(rules, r.kind, r.note);
    if (r.kind == ReadingKind::kHostAvailable && host) total = std::max(total, r.of);
    if (r.kind == ReadingKind::kDriver && !host) total = std::max(total, r.of);
    if (r.kind == ReadingKind::kCarveOut) added += r.of, added_free += r.bytes;
    if (r.kind == ReadingKind::kDeviceNode) node += r.of, node_free += r.bytes;
    if (r.kind != ReadingKind::kHeap) continue;
    View& view = views[r.view];
    const uint64_t bytes = r.of == 0 ? r.bytes : std::min(r.bytes, r.of);
    if (bytes < r.bytes) r.note = "more than the heap's size, which holds instead";
    view.bytes += bytes;
    view.of += r.of;
    view.first = std::min(view.first, i);
  }
  if (host) total = minus(total, node) + added;
  for (const auto& [number, view] : views) most = std::max(most, view.of);
  if (total == 0) total = most;

  Budget b;
  b.bytes = total;
  // `of`: the whole that the reading speaks of, and so what its reserve is a share of.
  const auto bound = [&](uint32_t index, uint64_t bytes, uint64_t of) {
    const auto [reserve, floor] = margins_of(rules, of);
    if (b.binding != kNoReading && b.budget <= minus(bytes, reserve) && (b.budget > 0 || b.available <= bytes)) return;
    b.binding = index;
    b.available = bytes;
    b.reserve = std::min(reserve, bytes);
    b.floor = std::min(floor, bytes);
    b.budget = minus(bytes, reserve);
  };
  for (uint32_t i = 0; i < readings.size(); ++i) {
    const Reading& r = readings[i];
    if (!r.bounds || r.kind == ReadingKind::kHeap) continue;
    if (r.kind == ReadingKind::kHostAvailable) {
      bound(i, std::min(minus(r.bytes, node_free) + added_free, total), total);
    } else if (r.kind == ReadingKind::kHostLimit) {
      const uint64_t limit = r.of + added;
      b.bytes = std::min(b.bytes, limit);
      bound(i, r.bytes + added_free, std::min(limit, total));
    } else {
      bound(i, r.bytes, total);
    }
  }
  for (const auto& [number, view] : views)
    if (readings[view.first].bounds) bound(view.first, view.bytes, total);
  return b;
}

uint64_t windows_shared_region(uint64_t post_carve_out) {
  return std::clamp(minus(post_carve_out, 16 * kGiB), post_carve_out / 2, post_carve_out / 5 * 4);
}

std::string_view reading_name(ReadingKind kind) {
  switch (kind) {
    case ReadingKind::kHostAvailable:
      return "host_available";
    case ReadingKind::kHostFree:
      return "host_free";
    case ReadingKind::kHostLimit:
      return "host_limit";
    case ReadingKind::kCommitLeft:
      return "commit_left";
    case ReadingKind::kHugePages:
      return "huge_pages";
    case ReadingKind::kCarveOut:
      return "carve_out";
    case ReadingKind::kDeviceNode:
      return "device_node";
    case ReadingKind::kDriver:
      return "driver";
    case ReadingKind::kManagement:
      return "management";
    case ReadingKind::kHeap:
      return "heap";
  }
  return "unknown";
}

}  // namespace brim::topology
