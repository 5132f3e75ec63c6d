// os/hardware.hpp over Win32 calls, which tell NUMA nodes and nothing of the rest.
#include <base/os/hardware.hpp>

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX 1
#include <windows.h>

namespace brim::os {

std::vector<NumaNode> numa_nodes() {
  std::vector<NumaNode> nodes;
  ULONG highest = 0;
  if (!GetNumaHighestNodeNumber(&highest)) return nodes;
  for (ULONG id = 0; id <= highest; ++id) {
    ULONGLONG free = 0;
    GROUP_AFFINITY cpus{};
    if (!GetNumaAvailableMemoryNodeEx(static_cast<USHORT>(id), &free)) continue;
    const bool known = GetNumaNodeProcessorMaskEx(static_cast<USHORT>(id), &cpus);
    nodes.push_back({static_cast<uint32_t>(id), 0, free, !known || cpus.Mask != 0});  // the total is not told
  }
  return nodes;
}

std::optional<uint64_t> pcie_bandwidth(uint64_t) { return {}; }
std::optional<CarveOut> carve_out(uint64_t) { return {}; }
std::optional<Pressure> memory_pressure() { return {}; }

}  // namespace brim::os
