// os/machine.hpp from sched_getaffinity, /proc and /sys. Both cgroup versions are read, at the process's own group and
// at every group above it: a limit anywhere on the way up holds.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <base/os/linux/machine_files.hpp>
#include <base/os/linux/text_files.hpp>
#include <base/os/machine.hpp>
#include <cstring>
#include <exception>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <vector>

namespace brim::os {
namespace {

// Does the comma-separated list hold the word?
bool lists(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(','), list.size());
    if (list.substr(0, end) == word) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

// One group on the way from the process's own to the root.
struct Group {
  std::string folder;  // where its files lie
  std::string name;    // "/a/b", as people know it
};

// A hierarchy that the process is in: `mount` joined with every ancestor of `path`, innermost first. Inside a container
// the path may name groups that the mount does not show; then the mount's own root is all there is.
std::vector<Group> groups(const std::string& mount, std::string path) {
  std::vector<Group> out;
  while (path.size() > 1) {
    out.push_back({mount + path, path});
    path.resize(path.rfind('/'));
  }
  out.push_back({mount, "/"});
  return out;
}

// The process's groups that control `controller` ("memory", "cpu"): those of version 1 where it is mounted so, and
// those of version 2.
struct Hierarchies {
  std::vector<Group> v1, v2;
};

Hierarchies hierarchies(const std::string& root, std::string_view controller) {
  Hierarchies out;
  std::string path1, path2;
  bool in1 = false, in2 = false;
  std::istringstream lines(text_of(root + "/proc/self/cgroup"));
  lines.exceptions(std::ios::badbit);  // or where memory ends, lines would be missing quietly
  for (std::string line; std::getline(lines, line);) {
    // "4:memory:/a/b" of version 1, "0::/a/b" of version 2
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (path.empty() || path[0] != '/') continue;
    if (controllers.empty()) {
      path2 = path;
      in2 = true;
    } else if (lists(controllers, controller)) {
      path1 = path;
      in1 = true;
    }
  }
  std::istringstream mounts(text_of(root + "/proc/self/mountinfo"));
  mounts.exceptions(std::ios::badbit);
  for (std::string line; std::getline(mounts, line);) {
    // id parent dev root mountpoint options [fields] - type source super-options
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream before(line.substr(0, dash)), after(line.substr(dash + 3));
    before.exceptions(std::ios::badbit);
    after.exceptions(std::ios::badbit);
    std::string skip, base, mount, type, source, options;
    before >> skip >> skip >> skip >> base >> mount;
    after >> type >> source >> options;
    // The mount shows the groups below `base`; the process's path counts from there.
    const auto below = [&base](const std::string& path) {
      if (base.size() <= 1) return path;
      return path.starts_with(base + "/") ? path.substr(base.size()) : std::string("/");
    };
    if (type == "cgroup2" && in2 && out.v2.empty()) {
      out.v2 = groups(root + mount, below(path2));
    } else if (type == "cgroup" && in1 && out.v1.empty() && lists(options, controller)) {
      out.v1 = groups(root + mount, below(path1));
    }
  }
  return out;
}

uint64_t minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

void clamp(MemoryReading& reading, uint64_t limit, uint64_t used, uint64_t cache, std::string by) {
  const uint64_t free = minus(limit, minus(used, cache));
  if (limit < reading.machine_total) reading.limits.push_back({by, limit, free});
  if (limit >= reading.total && free >= reading.available) return;
  reading.total = std::min(reading.total, limit);
  reading.available = std::min({reading.available, free, reading.total});
  reading.limited_by = std::move(by);
}

}  // namespace

MemoryReading memory_of(const std::string& root) {
  MemoryReading reading;
  const std::string info = text_of(root + "/proc/meminfo");
  reading.total = field(info, "MemTotal:").value_or(0) * 1024;
  reading.available = field(info, "MemAvailable:").value_or(0) * 1024;
  reading.machine_total = reading.total;
  reading.machine_available = reading.available;
  reading.machine_free = field(info, "MemFree:").value_or(0) * 1024;
  const uint64_t huge_page = field(info, "Hugepagesize:").value_or(0) * 1024;
  reading.huge_total = field(info, "HugePages_Total:").value_or(0) * huge_page;
  reading.huge_free = field(info, "HugePages_Free:").value_or(0) * huge_page;
  const Hierarchies all = hierarchies(root, "memory");
  for (const Group& group : all.v2) {
    // Above memory.high the kernel throttles until nothing moves: as good as a limit.
    std::optional<uint64_t> limit = number(text_of(group.folder + "/memory.max"));
    if (const auto high = number(text_of(group.folder + "/memory.high")))
      limit = std::min(*high, limit.value_or(*high));
    const auto used = number(text_of(group.folder + "/memory.current"));
    if (!limit || !used) continue;
    const std::string stat = text_of(group.folder + "/memory.stat");
    const uint64_t cache = field(stat, "inactive_file").value_or(0) + field(stat, "active_file").value_or(0);
    clamp(reading, *limit, *used, cache, "the cgroup v2 limit of " + group.name);
  }
  for (const Group& group : all.v1) {
    const auto limit = number(text_of(group.folder + "/memory.limit_in_bytes"));
    const auto used = number(text_of(group.folder + "/memory.usage_in_bytes"));
    if (!limit || !used) continue;
    const std::string stat = text_of(group.folder + "/memory.stat");
    const uint64_t cache =
        field(stat, "total_inactive_file").value_or(0) + field(stat, "total_active_file").value_or(0);
    clamp(reading, *limit, *used, cache, "the cgroup v1 limit of " + group.name);
  }
  return reading;
}

uint32_t cores_of(const std::string& root, const std::vector<uint32_t>& allowed) {
  // Hyper-threads of one core list each other: as many lists, as many cores.
  std::set<std::string> cores;
  for (const uint32_t cpu : allowed) {
    const std::string folder = root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    std::string siblings = text_of(folder + "core_cpus_list");
    if (siblings.empty()) siblings = text_of(folder + "thread_siblings_list");
    cores.insert(siblings.empty() ? "cpu " + std::to_string(cpu) : siblings);
  }
  uint64_t count = std::max<size_t>(1, cores.size());
  const auto apply = [&count](uint64_t quota, uint64_t period) {
    if (period != 0) count = std::min(count, std::max<uint64_t>(1, quota / period + (quota % period != 0)));
  };
  const Hierarchies all = hierarchies(root, "cpu");
  for (const Group& group : all.v2) {
    const std::string max = text_of(group.folder + "/cpu.max");  // "150000 100000" or "max 100000"
    const size_t space = max.find(' ');
    if (space == std::string::npos) continue;
    const auto quota = number(std::string_view(max).substr(0, space));
    const auto period = number(std::string_view(max).substr(space));
    if (quota && period) apply(*quota, *period);
  }
  for (const Group& group : all.v1) {
    const auto quota = number(text_of(group.folder + "/cpu.cfs_quota_us"));
    const auto period = number(text_of(group.folder + "/cpu.cfs_period_us"));
    if (quota && period) apply(*quota, *period);
  }
  return static_cast<uint32_t>(count);
}

uint32_t usable_cores() noexcept {
  try {
    std::vector<uint32_t> allowed;
    // The kernel refuses a set smaller than its own: grow until it fits.
    for (size_t sets = 1; sets <= 1024 && allowed.empty(); sets *= 4) {
      std::vector<cpu_set_t> mask(sets);
      const size_t bytes = sets * sizeof(cpu_set_t);
      if (sched_getaffinity(0, bytes, mask.data()) != 0) continue;
      for (uint32_t cpu = 0; cpu < bytes * 8; ++cpu)
        if (CPU_ISSET_S(cpu, bytes, mask.data())) allowed.push_back(cpu);
    }
    return cores_of("", allowed);
  } catch (const std::exception&) {
    return 1;
  }
}

MemoryReading system_memory() { return memory_of(""); }

uint64_t memory_left() noexcept {
  char text[512];  // the line is the third
  const int file = ::openat(AT_FDCWD, "/proc/meminfo", O_RDONLY | O_CLOEXEC);
  if (file < 0) return UINT64_MAX;
  const ssize_t bytes = ::read(file, text, sizeof text);
  ::close(file);
  const auto kib = field(std::string_view(text, bytes > 0 ? static_cast<size_t>(bytes) : 0), "MemAvailable:");
  return kib ? *kib * 1024 : UINT64_MAX;
}

void* take_pages(size_t bytes) noexcept {
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  ::madvise(pages, bytes, MADV_HUGEPAGE);
  return pages;
}

void give_pages(void* pages, size_t bytes) noexcept { ::munmap(pages, bytes); }

void discard(void* address, size_t bytes) noexcept {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(address) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(address) + bytes) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

static_assert(sizeof(sigset_t) <= 128);

SignalsBlocked::SignalsBlocked() noexcept {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, reinterpret_cast<sigset_t*>(kept_));
}

SignalsBlocked::~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, reinterpret_cast<const sigset_t*>(kept_), nullptr); }

void name_this_thread(const char* name) noexcept {
  char cut[16] = {};
  std::strncpy(cut, name, sizeof(cut) - 1);
  pthread_setname_np(pthread_self(), cut);
}

}  // namespace brim::os
