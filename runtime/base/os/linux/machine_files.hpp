// What machine.cpp and hardware.cpp read out of /proc and /sys, as functions of the folder they lie in, so that tests
// can bring trees of other machines: containers, quotas, both cgroup versions.
#pragma once

#include <base/os/hardware.hpp>
#include <base/os/machine.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace brim::os {

// `root` "" is this machine. `allowed`: the CPUs that the process may run on.
MemoryReading memory_of(const std::string& root);
uint32_t cores_of(const std::string& root, const std::vector<uint32_t>& allowed);
std::vector<NumaNode> numa_nodes_of(const std::string& root);
std::optional<uint64_t> pcie_bandwidth_of(const std::string& root, uint64_t pci);
std::optional<CarveOut> carve_out_of(const std::string& root, uint64_t pci);
std::optional<Pressure> memory_pressure_of(const std::string& root);

}  // namespace brim::os
