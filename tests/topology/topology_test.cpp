// What planning relies on: every memory is counted once, whoever shows it; budgets are true; what is not here says why.
#include <doctest/doctest.h>

#include <base/os/machine.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <topology/probe_cache.hpp>
#include <topology/report.hpp>
#include <topology/topology.hpp>

#include "plugin_folders.hpp"

using brim::loader::Loader;
using namespace brim::topology;

namespace {
constexpr uint64_t kMiB = 1024 * 1024;
}

TEST_CASE("without any backend there is the system's memory") {
  const Loader loader(config_for({}));
  const Topology t = detect(loader);
  REQUIRE(t.pools.size() == 1);
  CHECK(t.pools[0].id == PoolId{BRIM_POOL_SYSTEM, 0});
  CHECK(t.pools[0].bytes == brim::os::system_memory().total);
  CHECK(t.pools[0].available > 0);
  CHECK(t.pools[0].available <= t.pools[0].bytes);
  CHECK(t.devices.empty());
}

TEST_CASE("devices, heaps, pools and links of a backend") {
  const Loader loader(config_for({built("device")}));
  const Topology t = detect(loader);
  REQUIRE(t.devices.size() == 2);
  REQUIRE(t.pools.size() == 2);

  const Device& cpu = t.devices[0];
  CHECK(cpu.plugin() == "test.device");
  CHECK(cpu.name == "fake processor");
  CHECK(cpu.live);
  REQUIRE(cpu.heaps.size() == 1);
  CHECK(cpu.heaps[0].pool == 0);
  // The backend claims a petabyte: the system's pool knows better.
  CHECK(t.pools[0].bytes < 1ull << 50);
  CHECK(cpu.heaps[0].available == t.pools[0].available);
  CHECK(t.pools[0].nominal_bandwidth == 5000);
  CHECK(t.pools[0].read_bandwidth == 0);  // nobody has measured it

  const Device& card = t.devices[1];
  CHECK(card.index == 1);
  CHECK_FALSE(card.live);
  REQUIRE(card.heaps.size() == 2);
  CHECK(card.heaps[0].pool == 1);
  CHECK(card.heaps[1].pool == 1);
  // Two heaps on one memory are one budget, not the sum.
  CHECK(t.pools[1].bytes == 1000 * kMiB);
  CHECK(t.pools[1].available == 900 * kMiB);
  CHECK(card.heaps[1].available == 200 * kMiB);

  // What a backend says of its memory is the data sheet's; kernels reach a share of it.
  CHECK(t.pools[1].nominal_bandwidth == 100 * kMiB);
  CHECK(t.link(1, 1).bandwidth == 85 * kMiB);
  CHECK(t.link(1, 1).from == Source::kPrior);
  // No edge slot: a device uses its own pools in place and copies from the others.
  REQUIRE(t.links.size() == 4);
  CHECK(t.link(0, 0).edge.coherent == BRIM_EDGE_NATIVE);
  CHECK(t.link(0, 1).edge.coherent == BRIM_EDGE_COPY);
  CHECK(t.link(1, 0).edge.coherent == BRIM_EDGE_COPY);
  CHECK(t.link(1, 1).edge.noncoherent == BRIM_EDGE_NATIVE);
}

TEST_CASE("one card seen by two backends is one memory and one piece of hardware with two views") {
  const Loader loader(config_for({built("device"), built("device_twin")}));
  const Topology t = detect(loader);
  REQUIRE(t.devices.size() == 4);
  CHECK(t.pools.size() == 2);
  CHECK(t.pools[1].bytes == 1000 * kMiB);
  CHECK(t.pools[1].available == 900 * kMiB);
  CHECK(t.devices[1].physical == 1);
  CHECK(t.devices[3].plugin() == "test.twin");
  CHECK(t.devices[3].physical == 1);
  // Without a uuid nothing is known to be the same.
  CHECK(t.devices[0].physical == 0);
  CHECK(t.devices[2].physical == 2);
}

TEST_CASE("a backend without devices says why, a device that does not open too, and neither harms the rest") {
  auto config = config_for({built("device"), built("device_twin")});
  config.settings["test.device"] = {{"devices", "0"}};
  config.settings["test.twin"] = {{"devices", "3"}};
  const Loader loader(config);
  const Topology t = detect(loader);
  CHECK(t.devices.size() == 2);
  REQUIRE(t.refusals.size() == 2);
  CHECK(t.refusals[0].who == "test.device");
  CHECK(t.refusals[0].reason == "no fake driver (libfake.so.1 not found)");
  CHECK(t.refusals[1].who == "test.twin device 2");
  CHECK(t.refusals[1].reason.find("the card fell off the bus") != std::string::npos);
}

TEST_CASE("a card that says it has no memory is left out, with that reason, and the processor stays") {
  auto config = config_for({built("device")});
  config.settings["test.device"] = {{"hollow", "1"}};
  const Loader loader(config);
  const Topology t = detect(loader);
  REQUIRE(t.devices.size() == 1);
  CHECK(t.devices[0].name == "fake processor");
  REQUIRE(t.refusals.size() == 1);
  CHECK(t.refusals[0].who == "test.device device 1");
  CHECK(t.refusals[0].reason.find("0 bytes of memory") != std::string::npos);
  CHECK(t.pools.size() == 1);
}

TEST_CASE("a topology keeps its backends alive and gives everything back") {
  Records records;
  auto config = config_for({built("device")});
  config.log = records.log();
  {
    Topology t;
    {
      const Loader loader(config);
      t = detect(loader);
    }
    REQUIRE(t.devices.size() == 2);
    refresh(t);
    CHECK(t.pools[1].available == 900 * kMiB);
  }
  CHECK(records.find(BRIM_LOG_PLUGIN_MISUSE, "test.device").empty());
}

TEST_CASE("the report has everything by its name") {
  const Loader loader(config_for({built("device"), built("wrong_major"), built("good")}));
  const Topology t = detect(loader);
  brim::Json text;
  text.object([&] { report(text, loader, t); });
  const auto json = nlohmann::json::parse(text.text());
  REQUIRE(json.at("plugins").size() == 2);
  CHECK(json["plugins"][0]["id"] == "test.device");
  CHECK(json["plugins"][0]["kind"] == "backend");
  CHECK(json["plugins"][1]["kind"] == "architecture");
  REQUIRE(json.at("refused").size() == 1);
  CHECK(fs::path(std::string(json["refused"][0]["manifest"])) == fs::path(built("wrong_major")) / "wrong_major.toml");
  CHECK(std::string(json["refused"][0]["reason"]).find("found 99") != std::string::npos);
  REQUIRE(json.at("devices").size() == 2);
  CHECK(json["devices"][0]["uuid"].is_null());
  CHECK(json["devices"][1]["uuid"] == "0000000000001234000000000000abcd");
  CHECK(json["devices"][1]["pci"] == "0001:02:03.1");
  CHECK(json["devices"][1]["type"] == "discrete gpu");
  CHECK(json["devices"][1]["heaps"][0]["pool"] == 1);
  CHECK(json["devices"][1]["heaps"][1]["flags"] == nlohmann::json::array({"device_local", "host_visible"}));
  CHECK(json["pools"][1]["bytes"] == 1000 * kMiB);
  CHECK(json["links"][1]["coherent"] == "copy");
}

TEST_CASE("the read bandwidth of memory is measured in less than a second or so") {
  brim::Team team(2);
  const auto start = std::chrono::steady_clock::now();
  const double bandwidth = probe_bandwidth(team);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  MESSAGE("read bandwidth ", bandwidth / 1e9, " GB/s in ", seconds, " s");
  // Anything that runs this reads between 100 MB/s (an emulator) and 10 TB/s.
  CHECK(bandwidth > 1e8);
  CHECK(bandwidth < 1e13);
  CHECK(seconds < 3);
}

TEST_CASE("a bandwidth is kept for the device, driver and build that it was measured of, and for no other") {
  const Folder folder;
  const std::string path = folder.path() + "/probes";
  CHECK(kept_bandwidth(path, "a; brim 1; 2 threads") == 0);
  keep_bandwidth(path, "a; brim 1; 2 threads", 25e9);
  keep_bandwidth(path, "a; brim 2; 2 threads", 30e9);
  CHECK(kept_bandwidth(path, "a; brim 1; 2 threads") == 25e9);
  CHECK(kept_bandwidth(path, "a; brim 2; 2 threads") == 30e9);
  CHECK(kept_bandwidth(path, "a; brim 3; 2 threads") == 0);
  keep_bandwidth(path, "a; brim 1; 2 threads", 26e9);
  CHECK(kept_bandwidth(path, "a; brim 1; 2 threads") == 26e9);
  CHECK(kept_bandwidth(path, "a; brim 2; 2 threads") == 30e9);
  // Nothing is kept of nothing, a file that is none costs a measurement, a folder that is not there no error.
  keep_bandwidth(path, "", 1e9);
  CHECK(kept_bandwidth(path, "") == 0);
  folder.file("wrong", "nan x\n-4 x\n1e99 x\nx\n\n");
  CHECK(kept_bandwidth(folder.path() + "/wrong", "x") == 0);
  keep_bandwidth("/no/such/folder/probes", "x", 1e9);
}

TEST_CASE("what was measured is the system memory's speed and the processors', and says that it was measured") {
  const Loader loader(config_for({built("device")}));
  Topology t = detect(loader);
  CHECK(t.link(0, 0).from == Source::kPrior);
  CHECK(t.link(0, 0).bandwidth == 2250);  // of 5000
  set_host_bandwidth(t, 7e9);
  CHECK(t.pools[0].read_bandwidth == 7'000'000'000);
  CHECK(t.pools[0].bandwidth_from == Source::kProbe);
  CHECK(t.link(0, 0).bandwidth == 7'000'000'000);
  CHECK(t.link(0, 0).from == Source::kProbe);
  CHECK(t.link(1, 0).from == Source::kUnknown);  // the card's way to it was not measured
  set_host_bandwidth(t, 0);
  CHECK(t.pools[0].read_bandwidth == 7'000'000'000);
  CHECK(probe_key(t, "1", 2).find("fake processor; ; fake 1.0; brim 1; 2 threads") == 0);
}
