// What /sys and /proc of other machines say of their memories and buses, from trees as kernels show them.
#include <doctest/doctest.h>

#include <base/os/linux/machine_files.hpp>
#include <filesystem>
#include <fstream>
#include <string>

namespace fs = std::filesystem;
using namespace brim::os;

namespace {

struct Tree {
  std::string root = (fs::temp_directory_path() / ("brim-hardware-" + std::to_string(counter++))).string();
  static inline int counter = 0;
  Tree() {
    fs::remove_all(root);
    fs::create_directories(root);
  }
  ~Tree() { fs::remove_all(root); }
  void file(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root + path).parent_path());
    std::ofstream(root + path) << text;
  }
  // A device or bridge at its place in the tree, with the link that it can be trained to and the one it is at.
  void port(const std::string& path, const std::string& speed, const std::string& width) const {
    file("/sys/devices/pci0000:00/" + path + "/max_link_speed", speed);
    file("/sys/devices/pci0000:00/" + path + "/max_link_width", width);
    file("/sys/devices/pci0000:00/" + path + "/current_link_speed", "2.5 GT/s PCIe\n");
    file("/sys/devices/pci0000:00/" + path + "/current_link_width", width);
  }
  void device(const std::string& name, const std::string& path) const {
    fs::create_directories(root + "/sys/bus/pci/devices");
    fs::create_directory_symlink(root + "/sys/devices/pci0000:00/" + path, root + "/sys/bus/pci/devices/" + name);
  }
};

constexpr uint64_t kPci = 0x0000000000020000;  // 0000:02:00.0

}  // namespace

TEST_CASE("the way to a card is as wide as its narrowest link can be, not as it is while the card sleeps") {
  const Tree t;
  t.port("0000:00:01.0", "16.0 GT/s PCIe\n", "16\n");
  t.port("0000:00:01.0/0000:02:00.0", "32.0 GT/s PCIe\n", "16\n");
  t.device("0000:02:00.0", "0000:00:01.0/0000:02:00.0");
  // A PCIe 5 card behind a PCIe 4 port: 16 GT/s x 16 lanes x 128/130 / 8.
  CHECK(pcie_bandwidth_of(t.root, kPci) == 31'507'692'307ull);
  CHECK_FALSE(pcie_bandwidth_of(t.root, 0x30000));
  CHECK_FALSE(pcie_bandwidth_of(t.root, 0));
}

TEST_CASE("links of PCIe 2 lose a fifth to their coding, and what has no link says nothing") {
  const Tree t;
  t.port("0000:02:00.0", "5.0 GT/s PCIe\n", "4\n");
  t.device("0000:02:00.0", "0000:02:00.0");
  CHECK(pcie_bandwidth_of(t.root, kPci) == 2'000'000'000ull);
  const Tree unknown;
  unknown.port("0000:02:00.0", "Unknown\n", "255\n");
  unknown.device("0000:02:00.0", "0000:02:00.0");
  CHECK_FALSE(pcie_bandwidth_of(unknown.root, kPci));
}

TEST_CASE("NUMA nodes have memory, and the one without processors says so") {
  const Tree t;
  t.file("/sys/devices/system/node/node0/meminfo", "Node 0 MemTotal:       1000 kB\nNode 0 MemFree:        600 kB\n");
  t.file("/sys/devices/system/node/node0/cpulist", "0-71\n");
  t.file("/sys/devices/system/node/node1/meminfo", "Node 1 MemTotal:       2000 kB\nNode 1 MemFree:       1900 kB\n");
  t.file("/sys/devices/system/node/node1/cpulist", "\n");
  t.file("/sys/devices/system/node/possible", "0-1\n");
  const auto nodes = numa_nodes_of(t.root);
  REQUIRE(nodes.size() == 2);
  CHECK(nodes[0].has_cpus);
  CHECK(nodes[0].total == 1000 * 1024);
  CHECK(nodes[1].id == 1);
  CHECK(nodes[1].free == 1900 * 1024);
  CHECK_FALSE(nodes[1].has_cpus);
  CHECK(numa_nodes_of(t.root + "/nothing").empty());
}

TEST_CASE("what firmware has set aside for an AMD GPU is read, and of another nothing") {
  const Tree t;
  t.device("0000:02:00.0", "0000:02:00.0");
  CHECK_FALSE(carve_out_of(t.root, kPci));
  t.file("/sys/devices/pci0000:00/0000:02:00.0/mem_info_vram_total", "103079215104\n");
  t.file("/sys/devices/pci0000:00/0000:02:00.0/mem_info_vram_used", "1073741824\n");
  REQUIRE(carve_out_of(t.root, kPci));
  CHECK(carve_out_of(t.root, kPci)->bytes == 96ull << 30);
  CHECK(carve_out_of(t.root, kPci)->used == 1ull << 30);
}

TEST_CASE("pressure is that of the last ten seconds, some and all") {
  const Tree t;
  CHECK_FALSE(memory_pressure_of(t.root));
  t.file("/proc/pressure/memory",
         "some avg10=12.50 avg60=3.00 avg300=1.00 total=7\nfull avg10=4.25 avg60=1.00 avg300=0.00 total=3\n");
  REQUIRE(memory_pressure_of(t.root));
  CHECK(memory_pressure_of(t.root)->some == 12.5);
  CHECK(memory_pressure_of(t.root)->all == 4.25);
}
