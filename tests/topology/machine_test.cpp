// A described machine plans like one that is here: what its file says is what the topology has, and a file that is
// wrong says where. Devices are described by the CPU backend of the build tree, which stands in for GPUs' backends.
#include <doctest/doctest.h>

#include <algorithm>
#include <loader/cpu_features.hpp>
#include <map>
#include <topology/machine_file.hpp>
#include <topology/topology.hpp>

#include "../support/failure.hpp"
#include "plugin_folders.hpp"

using namespace brim::topology;
using brim::loader::Loader;

namespace {

const std::string kMachines = std::string(BRIM_SOURCE_DIR) + "/sdk/machines";

const Loader& cpu_only() {
  static const Loader loader = [] {
    auto config = config_for({std::string(BRIM_BINARY_DIR) + "/lib/brim/plugins"});
    config.cpu_features = brim::loader::detect_cpu_features();
    return Loader(config);
  }();
  return loader;
}

Topology machine(const std::string& name) { return describe(cpu_only(), open_machine(name, {kMachines}), name); }

std::vector<std::string> shipped() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kMachines)) names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string with(std::string_view extra_pool, std::string_view extra_device, std::string_view rest = "") {
  return fmt::format(
      "name = \"test\"\n[[pool]]\nid = \"system\"\nbytes = \"16 GiB\"\n{}\n[[device]]\nname = \"cores\"\n"
      "type = \"cpu\"\n{}\n{}\n",
      extra_pool, extra_device, rest);
}

// Everything that plans depend on.
std::string summary(const Topology& t) {
  std::string out;
  for (const Pool& p : t.pools)
    out += fmt::format("pool {} {} {} {} {} {} {} {}\n", p.bytes, p.available, p.reserve, p.floor, p.budget, p.binding,
                       p.nominal_bandwidth, class_name(p.rules));
  for (const Device& d : t.devices)
    out += fmt::format("device {} {} {} {} {} {} {}\n", d.info.type, class_name(d.memory_class), d.physical, d.flops,
                       d.heaps.size(), own_pool(d), !d.assumed.empty());
  for (const Link& l : t.links)
    out += fmt::format("link {} {} {} {} {}\n", l.device, l.pool, l.bandwidth, l.coherent, l.edge.noncoherent);
  return out;
}

}  // namespace

TEST_CASE(
    "every machine that is shipped can be planned on: a budget in each memory, a class and a speed of each device") {
  const std::map<std::string, std::vector<Class>> classes = {
      {"arc-b70", {Class::kDiscrete, Class::kCpu}},
      {"cpu", {Class::kCpu}},
      {"dgx-spark", {Class::kAtsUma, Class::kCpu}},
      {"gh200", {Class::kAtsNuma, Class::kCpu}},
      {"intel-140t", {Class::kUma, Class::kCpu}},
      {"jetson-orin", {Class::kTegraUma, Class::kCpu}},
      {"jetson-thor", {Class::kTegraUma, Class::kCpu}},
      {"m2-ultra", {Class::kUma, Class::kCpu}},
      {"m3-max", {Class::kUma, Class::kCpu}},
      {"m4-pro", {Class::kUma, Class::kCpu}},
      {"rtx-3090", {Class::kDiscreteHmm, Class::kCpu}},
      {"rtx-4090", {Class::kDiscreteHmm, Class::kCpu}},
      {"rtx-5070", {Class::kDiscreteHmm, Class::kCpu}},
      {"rtx-5070-pcie4", {Class::kDiscreteHmm, Class::kCpu}},
      {"rtx-5090", {Class::kDiscreteHmm, Class::kCpu}},
      {"rtx-5090-pcie4", {Class::kDiscreteHmm, Class::kCpu}},
      {"rtx-spark", {Class::kAtsUma, Class::kCpu}},
      {"rtx-spark-windows", {Class::kWindowsUma, Class::kCpu}},
      {"strix-halo", {Class::kUma, Class::kCpu}},
      {"two-rtx-3090", {Class::kDiscreteHmm, Class::kDiscreteHmm, Class::kCpu}},
  };
  std::vector<std::string> expected;
  for (const auto& [name, value] : classes) expected.push_back(name);
  CHECK(shipped() == expected);
  for (const auto& [name, value] : classes) {
    CAPTURE(name);
    const Topology t = machine(name);
    CHECK(t.refusals.empty());
    CHECK(t.described_by == name);
    REQUIRE(t.devices.size() == value.size());
    for (size_t d = 0; d < value.size(); ++d) {
      const Device& device = t.devices[d];
      CHECK(class_name(device.memory_class) == class_name(value[d]));
      CHECK(device.described);
      CHECK_FALSE(device.live);
      CHECK(t.takes_part(device));
      // Its own backend describes it, where that was built; else the CPU backend, with its name and the reason.
      const bool own = value[d] == Class::kCpu || device.plugin() != "brim.cpu";
      CHECK(device.assumed.empty() == own);
      if (!device.assumed.empty()) CHECK(device.assumed.ends_with("computes is assumed"));
      CHECK(t.link(static_cast<uint32_t>(d), own_pool(device)).bandwidth > 0);
      CHECK((device.heaps[0].info.flags & BRIM_HEAP_DEVICE_LOCAL) ==
            (value[d] == Class::kCpu ? 0 : BRIM_HEAP_DEVICE_LOCAL));
    }
    for (const Pool& p : t.pools) {
      CHECK(p.budget > p.bytes / 2);
      CHECK(p.budget < p.bytes);
    }
  }
}

TEST_CASE("dgx-spark plans with what is available less 12 GiB, and not with what CUDA calls free") {
  const Topology t = machine("dgx-spark");
  REQUIRE(t.pools.size() == 1);
  CHECK(static_cast<double>(t.pools[0].budget) / (1 << 30) == doctest::Approx(103.85));
  CHECK(t.pools[0].readings[t.pools[0].binding].kind == ReadingKind::kHostAvailable);
}

TEST_CASE("under Windows the carve-out and the region behind it bound the GPU, by rule") {
  const Topology t = machine("rtx-spark-windows");
  const auto& readings = t.pools[0].readings;
  const auto rule = std::ranges::find(readings, ReadingKind::kDriver, &Reading::kind);
  REQUIRE(rule != readings.end());
  // 8128 MiB and four fifths of the 118 GiB and some behind them.
  CHECK(static_cast<double>(rule->bytes) / (1 << 30) == doctest::Approx(7.9375 + 0.8 * (126 - 7.9375)));
  CHECK(rule->bounds);
  CHECK(t.pools[0].binding == rule - readings.begin());
}

TEST_CASE("the links of two cards go where their file says, and each card has its own memory though names are equal") {
  const Topology t = machine("two-rtx-3090");
  REQUIRE(t.pools.size() == 3);
  CHECK(own_pool(t.devices[0]) == 1);
  CHECK(own_pool(t.devices[1]) == 2);
  CHECK(t.devices[1].physical == 1);
  CHECK(t.link(0, 0).bandwidth == 26'800'000'000);
  CHECK(t.link(0, 2).bandwidth == 26'800'000'000);
  CHECK(t.link(0, 2).edge.coherent == BRIM_EDGE_COPY);
  CHECK(t.link(2, 1).bandwidth == 26'800'000'000);  // the way back
  CHECK(t.link(0, 1).from == Source::kPrior);
  CHECK(t.link(0, 1).edge.coherent == BRIM_EDGE_NATIVE);
}

TEST_CASE("no choice is made by a name: renaming everything changes nothing") {
  for (const std::string& name : shipped()) {
    MachineFile file = open_machine(name, {kMachines});
    const std::string before = summary(describe(cpu_only(), file, name));
    for (auto& pool : file.pools) pool.name = "llvmpipe";
    for (auto& device : file.devices) device.name = "Intel RTX Radeon", device.architecture = "";
    CHECK(summary(describe(cpu_only(), file, "another")) == before);
  }
}

TEST_CASE("what was saved is the same machine again") {
  for (const std::string& name : shipped()) {
    CAPTURE(name);
    const Topology t = machine(name);
    const std::string saved = write_machine(t, "saved");
    const Topology again = describe(cpu_only(), parse_machine(saved, "saved.toml"), "saved");
    CHECK(summary(again) == summary(t));
    CHECK(write_machine(again, "saved") == saved);
  }
  // This machine too: its readings are those of the moment.
  const Topology here = detect(cpu_only());
  const Topology there = describe(cpu_only(), parse_machine(write_machine(here, "here \"x\""), "here.toml"), "here");
  CHECK(there.pools[0].budget == here.pools[0].budget);
  CHECK(there.devices.size() == here.devices.size());
}

TEST_CASE("a file that is wrong says where and what would be right") {
  const auto fails = [](const std::string& toml, const std::string& says) {
    CHECK_FAILS(BRIM_DATA_CORRUPT, says, parse_machine(toml, "my.toml"));
  };
  CHECK(parse_machine(with("", ""), "my.toml").pools[0].bytes == 16ull << 30);
  fails(with("nominal_bandwith = 1", ""),
        "'my.toml', line 5: unknown key 'pool[0].nominal_bandwith'; did you mean "
        "'pool[0].nominal_bandwidth'?");
  fails(with("nominal_bandwidth = \"273 GB\"", ""), "line 5: 'pool[0].nominal_bandwidth' must be bytes/s");
  fails(with("nominal_bandwidth = -1", ""), "must be bytes/s");
  fails(with("nominal_bandwidth = 1.5", ""), "must be bytes/s");
  fails(with("carve_out = \"17 GiB\"", ""), "'pool[0].carve_out' must be no more than bytes");
  fails(with("[[pool.reading]]\nkind = \"free\"", ""), "'pool[0].reading[0].kind' must be one of host_available");
  fails(with("", "pool = \"vram\""), "'device[0].pool' must be the id of a [[pool]] (system), found \"vram\"");
  fails(with("", "", "[[device]]\nname = \"x\"\ntype = \"gpu\""),
        "'device[1].type' must be one of cpu, integrated, discrete, accelerator, found \"gpu\"");
  fails(with("", "pageable_access = 1"), "'device[0].pageable_access' must be true or false, found an integer");
  fails(with("", "uuid = \"12\""), "must be 32 hexadecimal digits");
  fails(with("", "pci = \"01:00.0\""), "must be an address such as");
  fails(with("", "flops = \"3 TB\""), "must be FLOP/s");
  fails(with("", "", "[[pool]]\nid = \"system\"\nbytes = 1"), "an id that no other [[pool]] has");
  fails("name = \"x\"\n[[pool]]\nid = \"vram\"\nbytes = 1\n", "the first [[pool]] must have id = \"system\"");
  fails("name = \"x\"\n[[pool]]\nid = \"system\"\nbytes = 1\n", "there is no [[device]]");
  fails("name = \"x\"\n[[pool]]\nid = \"system\"\n", "'pool[0].bytes' is missing or 0");
  fails("os = \"linux\"", "'name' is missing or empty");
  fails("name = \"x\"\nos = \"beos\"", "'os' must be one of linux, windows, macos, found \"beos\"");
  fails("name = ", "'my.toml', line 1: not a TOML file");
  std::string many = with("", "");
  for (int i = 0; i < 64; ++i) many += "[[device]]\nname = \"x\"\ntype = \"cpu\"\n";
  fails(many, "at most 64 are read");
}

TEST_CASE("a name that no folder has lists those that there are, and a path is a file") {
  CHECK_FAILS(BRIM_NOT_FOUND, "did you mean 'rtx-spark'?", open_machine("rtx-sparc", {kMachines}));
  CHECK_FAILS(BRIM_NOT_FOUND, "dgx-spark, gh200", open_machine("something-else-altogether", {"/nowhere", kMachines}));
  CHECK(open_machine(kMachines + "/gh200.toml", {}).name == "gh200");
  CHECK_FAILS(BRIM_NOT_FOUND, "no-such.toml", open_machine("no-such.toml", {kMachines}));
}

TEST_CASE("where no backend describes anything, that is an error with the device and the reason") {
  const Loader loader(config_for({built("device")}));
  CHECK_FAILS(BRIM_NOT_FOUND, "brim.cpu is not installed, and no other backend stands in for it",
              describe(loader, parse_machine(with("", "backend = \"brim.cpu\""), "x.toml"), "x"));
}

TEST_CASE(
    "two interfaces' views of one card are one device with one memory, by UUID or PCI address and by nothing else") {
  const auto card = [](uint64_t uuid, uint64_t pci, uint32_t pool) {
    Device d;
    d.info.type = BRIM_DEVICE_DISCRETE;
    d.info.uuid[0] = uuid;
    d.info.pci = pci;
    d.name = "NVIDIA GeForce";
    Heap heap;
    heap.info.flags = BRIM_HEAP_DEVICE_LOCAL;
    heap.pool = pool;
    d.heaps.push_back(heap);
    heap.info.flags = BRIM_HEAP_HOST_VISIBLE;
    heap.pool = 0;
    d.heaps.push_back(heap);
    return d;
  };
  const auto merged = [&](Device a, Device b) {
    Topology t;
    t.pools.resize(3);
    for (uint32_t p = 0; p < 3; ++p) t.pools[p].id = {p == 0 ? BRIM_POOL_SYSTEM : 100 + p, 0};
    t.devices.push_back(std::move(a));
    t.devices.push_back(std::move(b));
    merge_views(t);
    return t;
  };
  Topology t = merged(card(7, 0, 1), card(7, 0, 2));
  CHECK(t.pools.size() == 2);
  CHECK(own_pool(t.devices[1]) == 1);
  CHECK(t.devices[1].physical == 0);
  CHECK(t.devices[1].same_because.starts_with("both have the UUID"));

  t = merged(card(7, 0x10100, 1), card(8, 0x10100, 2));  // interfaces that make UUIDs of their own
  CHECK(t.pools.size() == 2);
  CHECK(t.devices[1].same_because == "both have the PCI address 0000:01:01.0");

  t = merged(card(0, 0, 1), card(0, 0, 2));
  CHECK(t.pools.size() == 3);
  CHECK(t.devices[1].physical == 1);

  // One view knows that the memory is the system's: then it is.
  Device shared = card(7, 0, 0);
  t = merged(card(7, 0, 1), std::move(shared));
  CHECK(own_pool(t.devices[0]) == 0);
  CHECK(own_pool(t.devices[1]) == 0);
  CHECK(t.pools.size() == 1);
}
