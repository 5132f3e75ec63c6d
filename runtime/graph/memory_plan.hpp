// Where every temporary and output of a partitioned graph is stored: fixed offsets in one arena per device, so that
// compiled programs and captured graphs stay valid. Values whose lives do not overlap share bytes. The offsets are
// packed for the largest bucket and hold for all smaller ones, since there every value is smaller and lives as long.
#pragma once

#include <graph/partition.hpp>
#include <unordered_map>

namespace brim::graph {

inline constexpr uint64_t kArenaAlignment = 256;  // of every value; the largest that a heap asks for in practice

struct Storage {
  uint64_t offset;
  uint64_t bytes;  // in the bucket that the plan was made for
};

// Of one device.
struct DeviceMemory {
  uint64_t arena_bytes = 0;    // temporaries, device-local
  uint64_t outputs_bytes = 0;  // outputs, host-visible
  std::unordered_map<brim_value, Storage> arena;
  std::unordered_map<brim_value, Storage> outputs;
};

// One entry per device, n_devices in all.
std::vector<DeviceMemory> plan_memory(const Graph& graph, std::span<const Segment> segments, const brim_bucket& bucket,
                                      uint32_t n_devices);

}  // namespace brim::graph
