// Machines that are not here, put together by hand: the pools and devices of a description, with this machine's CPU
// backend standing in for every device's own, so that plans are made through real plugins from the first node to the
// last byte.
#pragma once

#include <negotiator/plan.hpp>

#include "machine.hpp"

namespace brim::test {

struct Card {
  std::string name;
  topology::Class rules = topology::Class::kDiscreteHmm;
  uint64_t bytes = 0;    // of its own; 0: it shares the host's
  double bandwidth = 0;  // nominal, bytes/s, of its own memory
};
struct Host {
  uint64_t total = 0, available = 0;
  double bandwidth = 0;
  topology::Class rules = topology::Class::kCpu;
};

inline constexpr uint64_t kGiB = 1ull << 30;

inline std::shared_ptr<negotiator::Machine> described(const Host& host, const std::vector<Card>& cards) {
  auto machine = test::machine();
  topology::Topology& t = machine->topology;
  const auto cpu = std::find_if(t.devices.begin(), t.devices.end(),
                                [](const topology::Device& d) { return d.plugin() == "brim.cpu"; });
  if (cpu == t.devices.end()) throw Error(BRIM_NOT_FOUND, "the tests need the CPU backend");
  const auto backend = cpu->backend;
  topology::Heap heap = cpu->heaps.front();
  heap.info.max_alloc = UINT64_MAX;
  const brim_device_info info = cpu->info;
  t.devices.clear();
  t.pools.clear();
  t.links.clear();
  t.described_by = "by hand";

  topology::Pool system;
  system.name = "system memory";
  system.rules = host.rules;
  system.readings = {{topology::ReadingKind::kHostAvailable, host.available, host.total, "MemAvailable", 0, false, ""}};
  system.nominal_bandwidth = static_cast<uint64_t>(host.bandwidth);
  t.pools.push_back(system);
  const auto device = [&](const std::string& name, uint32_t type, topology::Class rules) -> topology::Device& {
    topology::Device d;
    brim_device* handle = nullptr;
    brim_error error = empty_error();
    check(backend->api.device_open(backend->plugin->instance(), 0, &handle, &error), error, "opening the stand-in");
    d.backend = backend;
    d.handle = {handle, topology::CloseDevice{backend}};
    d.info = info;
    d.info.type = type;
    d.name = name;
    d.described = true;
    d.memory_class = rules;
    d.physical = static_cast<uint32_t>(t.devices.size());
    t.devices.push_back(std::move(d));
    return t.devices.back();
  };
  for (const Card& card : cards) {
    topology::Device& d = device(card.name, card.bytes ? BRIM_DEVICE_DISCRETE : BRIM_DEVICE_INTEGRATED, card.rules);
    topology::Heap local = heap, visible = heap;
    local.info.flags = BRIM_HEAP_DEVICE_LOCAL;
    visible.info.flags = BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_COHERENT | BRIM_HEAP_HOST_CACHED;
    local.pool = visible.pool = 0;
    if (card.bytes) {
      topology::Pool pool;
      pool.id = {1, t.pools.size()};
      pool.name = "memory of " + card.name;
      pool.rules = card.rules;
      pool.readings = {{topology::ReadingKind::kDriver, card.bytes, card.bytes, "cudaMemGetInfo", 0, false, ""}};
      pool.nominal_bandwidth = static_cast<uint64_t>(card.bandwidth);
      local.pool = static_cast<uint32_t>(t.pools.size());
      t.pools.push_back(pool);
    }
    d.heaps = {local, visible};
  }
  topology::Device& processor = device("the processor", BRIM_DEVICE_CPU, topology::Class::kCpu);
  processor.heaps = {heap};
  processor.heaps.front().pool = 0;
  for (topology::Pool& pool : t.pools) topology::set_budget(pool);
  for (uint32_t d = 0; d < t.devices.size(); ++d) {
    for (uint32_t p = 0; p < t.pools.size(); ++p) t.links.push_back({d, p, {}});
  }
  return machine;
}

// GB10 as found idle, and a desktop.
inline std::shared_ptr<negotiator::Machine> spark() {
  return described(
      {static_cast<uint64_t>(121.69 * kGiB), static_cast<uint64_t>(115.85 * kGiB), 273e9, topology::Class::kAtsUma},
      {{"GPU", topology::Class::kAtsUma, 0, 0}});
}
inline std::shared_ptr<negotiator::Machine> desktop(uint64_t host = 64 * kGiB) {
  return described({host, host / 16 * 15, 90e9}, {{"RTX 4090", topology::Class::kDiscreteHmm, 24 * kGiB, 1008e9}});
}

}  // namespace brim::test
