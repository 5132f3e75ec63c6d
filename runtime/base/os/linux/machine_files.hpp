// What machine.cpp reads out of /proc and /sys, as functions of the folder they lie in, so that tests can bring trees
// of other machines: containers, quotas, both cgroup versions.
#pragma once

#include <base/os/machine.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace brim::os {

// `root` "" is this machine. `allowed`: the CPUs that the process may run on.
MemoryReading memory_of(const std::string& root);
uint32_t cores_of(const std::string& root, const std::vector<uint32_t>& allowed);

}  // namespace brim::os
