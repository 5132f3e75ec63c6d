// Where every temporary and output of a partitioned graph is stored: fixed offsets in one arena per device, so that
// compiled programs and captured graphs stay valid. Values whose lives do not overlap share bytes. The offsets are
// packed for the largest bucket and hold for all smaller ones, since there every value is smaller and lives as long.
// A value that crosses between devices which see one memory lies there once, for all of them.
#pragma once

#include <graph/partition.hpp>
#include <unordered_map>

namespace brim::graph {

inline constexpr uint64_t kArenaAlignment = 256;  // of every value; the largest that a heap asks for in practice

enum class Area : uint8_t {
  kArena,    // device-local
  kOutputs,  // host-visible: outputs, and what other devices read and write in place
};

// Where a device finds a value: in its own memory, or in that of a device whose outputs it sees.
struct Place {
  uint32_t owner;  // the device whose area it is
  Area area;
  uint64_t offset;
  uint64_t bytes;  // in the bucket that the plan was made for
};

// Of one device.
struct DeviceMemory {
  uint64_t arena_bytes = 0, outputs_bytes = 0;   // of its own areas
  std::unordered_map<brim_value, Place> places;  // of every temporary and output that it touches
};

// Says whether `device` reads and writes in place what is in the outputs area of `owner`, coherently and at full speed.
class Reach {
 public:
  explicit Reach(uint32_t n_devices) : n_(n_devices), reaches_(n_devices * n_devices) {
    for (uint32_t d = 0; d < n_; ++d) reaches_[d * n_ + d] = true;
  }
  void set(uint32_t device, uint32_t owner) { reaches_[device * n_ + owner] = true; }
  bool operator()(uint32_t device, uint32_t owner) const { return reaches_[device * n_ + owner]; }
  uint32_t n_devices() const { return n_; }

 private:
  uint32_t n_;
  std::vector<bool> reaches_;
};

// One entry per device.
std::vector<DeviceMemory> plan_memory(const Graph& graph, std::span<const Segment> segments, const brim_bucket& bucket,
                                      const Reach& reach);

// Nothing has to be copied: both sides find the value in one place.
inline bool in_place(std::span<const DeviceMemory> memory, const Transfer& t) {
  return memory[t.from].places.at(t.value).owner == memory[t.to].places.at(t.value).owner;
}

}  // namespace brim::graph
