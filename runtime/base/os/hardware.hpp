// What the operating system knows of memories and buses beyond how much is free: NUMA nodes, the way to a PCI device,
// memory set aside for an integrated GPU, pressure. os/linux/ reads /proc and /sys; os/windows/ knows the nodes only.
// Readings are those of the moment; nothing is kept.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace brim::os {

struct NumaNode {
  uint32_t id = 0;
  uint64_t total = 0, free = 0;  // bytes
  bool has_cpus = true;          // false: a device's memory, or memory behind a bus
};
std::vector<NumaNode> numa_nodes();

// Bytes/s in one direction that the links from the root to a PCI device allow, by what the narrowest of them can be
// trained to (idle devices train lower). `pci` as in brim_device_info. Nothing where it is not known.
std::optional<uint64_t> pcie_bandwidth(uint64_t pci);

// Memory that firmware has set aside for the GPU at that address and that the system does not count.
struct CarveOut {
  uint64_t bytes = 0, used = 0;
};
std::optional<CarveOut> carve_out(uint64_t pci);

// How much of the last 10 s tasks waited for memory, percent: some of them, all of them. `all` rises before a machine
// stands still.
struct Pressure {
  double some = 0, all = 0;
};
std::optional<Pressure> memory_pressure();

}  // namespace brim::os
