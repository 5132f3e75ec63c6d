// The cores and the memory of this process are what the kernel grants it: read from trees of /proc and /sys such as
// containers show them.
#include <doctest/doctest.h>

#include <base/os/linux/machine_files.hpp>
#include <base/os/machine.hpp>
#include <filesystem>
#include <fstream>
#include <string>

namespace fs = std::filesystem;
using brim::os::cores_of;
using brim::os::memory_of;

namespace {

constexpr uint64_t kMiB = 1024 * 1024;

// A machine's /proc and /sys in a folder that vanishes with it.
struct Machine {
  std::string root = (fs::temp_directory_path() / ("brim-machine-" + std::to_string(counter++))).string();
  static inline int counter = 0;

  Machine() {
    fs::remove_all(root);
    // 1000 MiB, 600 of them available
    file("/proc/meminfo", "MemTotal:        1024000 kB\nMemFree:  1 kB\nMemAvailable:     614400 kB\n");
  }
  ~Machine() { fs::remove_all(root); }

  void file(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root + path).parent_path());
    std::ofstream(root + path) << text;
  }
  void core(int cpu, const std::string& siblings) {
    file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/core_cpus_list", siblings + "\n");
  }
  void version2(const std::string& group) {
    file("/proc/self/cgroup", "0::" + group + "\n");
    file("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
  }
};

}  // namespace

TEST_CASE("without limits the machine's memory is the process's") {
  Machine m;
  const auto reading = memory_of(m.root);
  CHECK(reading.total == 1000 * kMiB);
  CHECK(reading.available == 600 * kMiB);
  CHECK(reading.limited_by.empty());
}

TEST_CASE("the tightest group on the way to the root holds, with its page cache counted as free") {
  Machine m;
  m.version2("/outer/inner");
  const std::string top = "/sys/fs/cgroup/outer";
  m.file(top + "/memory.max", "419430400\n");      // 400 MiB
  m.file(top + "/memory.current", "314572800\n");  // 300 MiB, of which cache 120
  m.file(top + "/memory.stat", "anon 1\ninactive_file 104857600\nactive_file 20971520\nactive_file_x 9\n");
  m.file(top + "/inner/memory.max", "max\n");
  m.file(top + "/inner/memory.current", "314572800\n");
  const auto reading = memory_of(m.root);
  CHECK(reading.total == 400 * kMiB);
  CHECK(reading.available == 220 * kMiB);
  CHECK(reading.limited_by == "the cgroup v2 limit of /outer");

  // A soft limit below it counts: above it the kernel throttles.
  m.file(top + "/inner/memory.high", "335544320\n");  // 320 MiB
  CHECK(memory_of(m.root).total == 320 * kMiB);
  CHECK(memory_of(m.root).available == 20 * kMiB);
}

TEST_CASE("a group that is over its limit has nothing available") {
  Machine m;
  m.version2("/g");
  m.file("/sys/fs/cgroup/g/memory.max", "104857600\n");
  m.file("/sys/fs/cgroup/g/memory.current", "209715200\n");
  m.file("/sys/fs/cgroup/g/memory.stat", "");
  CHECK(memory_of(m.root).available == 0);
}

TEST_CASE("limits of version 1 hold, also where the container mounts its own group as the root") {
  Machine m;
  m.file("/proc/self/cgroup", "5:devices:/x\n4:memory:/docker/abc\n0::/\n");
  m.file("/proc/self/mountinfo", "40 23 0:26 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  m.file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "209715200\n");
  m.file("/sys/fs/cgroup/memory/memory.usage_in_bytes", "104857600\n");
  m.file("/sys/fs/cgroup/memory/memory.stat", "total_inactive_file 1048576\ntotal_active_file 0\n");
  const auto reading = memory_of(m.root);
  CHECK(reading.total == 200 * kMiB);
  CHECK(reading.available == 101 * kMiB);
}

TEST_CASE("hyper-threads of one core count once, and only CPUs that the process may run on") {
  Machine m;
  for (int cpu : {0, 4}) m.core(cpu, "0,4");
  for (int cpu : {1, 5}) m.core(cpu, "1,5");
  m.core(2, "2");
  CHECK(cores_of(m.root, {0, 1, 2, 4, 5}) == 3);
  CHECK(cores_of(m.root, {0, 4}) == 1);
  CHECK(cores_of(m.root, {}) == 1);
  CHECK(cores_of(m.root, {7, 8}) == 2);  // the kernel tells nothing of them: each is a core
}

TEST_CASE("a quota bounds the cores, rounded up") {
  Machine m;
  for (int cpu = 0; cpu < 8; ++cpu) m.core(cpu, std::to_string(cpu));
  m.version2("/a/b");
  m.file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  CHECK(cores_of(m.root, {0, 1, 2, 3, 4, 5, 6, 7}) == 8);
  m.file("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
  CHECK(cores_of(m.root, {0, 1, 2, 3, 4, 5, 6, 7}) == 3);
  CHECK(cores_of(m.root, {0, 1}) == 2);
  m.file("/sys/fs/cgroup/a/cpu.max", "1000 100000\n");
  CHECK(cores_of(m.root, {0, 1}) == 1);
}

TEST_CASE("this machine has cores and memory") {
  CHECK(brim::os::usable_cores() >= 1);
  const auto reading = brim::os::system_memory();
  CHECK(reading.total > 0);
  CHECK(reading.available > 0);
  CHECK(reading.available <= reading.total);
}
