// What is here: physical memories (pools), devices that backends bring, and how each device can use each memory
// (links). Heaps of several devices, also of several plugins, that name one pool id are one pool with one budget; pool
// 0 is always the system's memory. Devices with one uuid are views of one physical device.
//
// The budget of the system's pool is read by the host itself, the others' come from their backends; refresh() reads
// them anew. It plans nothing and describes no machine but this one.
#pragma once

#include <brim/backend.h>

#include <array>
#include <base/team.hpp>
#include <loader/loader.hpp>
#include <memory>
#include <string>
#include <vector>

namespace brim::topology {

using PoolId = std::array<uint64_t, 2>;

struct Pool {
  PoolId id{};
  std::string name;  // "system memory", "memory of NVIDIA H100"
  uint64_t bytes = 0;
  uint64_t available = 0;
  uint64_t read_bandwidth = 0;  // bytes/s, the best that a heap claims; 0 unknown
  std::string limited_by;       // what keeps `bytes` or `available` below the machine's; empty: nothing
};

struct Heap {
  brim_heap_info info{};
  uint32_t pool = 0;  // index in Topology::pools
  uint64_t available = 0;
};

// Closes the device with its backend, which it keeps alive.
struct CloseDevice {
  std::shared_ptr<const loader::Backend> backend;
  void operator()(brim_device* device) const noexcept { backend->api.device_close(device); }
};

struct Device {
  std::shared_ptr<const loader::Backend> backend;
  std::unique_ptr<brim_device, CloseDevice> handle;
  uint32_t index = 0;  // among the backend's
  brim_device_info info{};
  std::string name, driver, architecture;
  std::vector<Heap> heaps;  // in the backend's order
  bool live = false;        // can allocate and run; else it only plans
  uint32_t physical = 0;    // index of the first device that is the same piece of hardware; its own if it is the first

  const std::string& plugin() const { return backend->plugin->id(); }
};

struct Link {
  uint32_t device = 0;  // index in Topology::devices
  uint32_t pool = 0;    // index in Topology::pools
  brim_edge edge{};
};

// A backend that brought nothing, or a device that could not be opened, and why.
struct Refusal {
  std::string who;
  std::string reason;
};

struct Topology {
  std::vector<Pool> pools;
  std::vector<Device> devices;
  std::vector<Link> links;  // every device with every pool
  std::vector<Refusal> refusals;

  // The link of that pair.
  const Link& link(uint32_t device, uint32_t pool) const { return links[device * pools.size() + pool]; }
};

// [control] Opens every device of every backend. A failing one becomes a refusal.
Topology detect(const loader::Loader& loader);

// [control] Reads the budgets of pools and heaps anew.
void refresh(Topology& topology);

// [control] Read bandwidth of system memory in bytes/s with the whole team, best of several passes over memory far
// larger than any cache; takes at most about 0.3 s. 0 where that memory is not to be had.
double probe_bandwidth(Team& team);

}  // namespace brim::topology
