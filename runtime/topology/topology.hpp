// What is here, or in a file that describes another machine: physical memories (pools), devices that backends bring,
// and how each device can use each memory (links). Heaps of several devices, also of several plugins, that name one
// pool id are one pool with one budget; pool 0 is always the system's memory. Devices with one uuid or one PCI address
// are views of one physical device.
//
// The system's pool is read by the host itself, the others' readings come from their backends; refresh() reads all of
// them anew. It plans nothing.
#pragma once

#include <brim/backend.h>

#include <array>
#include <base/team.hpp>
#include <loader/loader.hpp>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <topology/budget.hpp>
#include <topology/memory_class.hpp>
#include <vector>

namespace brim::topology {

using PoolId = std::array<uint64_t, 2>;

// Where a number comes from, the least to be relied on first.
enum class Source : uint8_t {
  kUnknown,    // there is no number
  kPrior,      // a share of a nominal value that similar machines reach
  kReported,   // a backend says so
  kDescribed,  // a machine's description says so
  kProbe,      // measured
};
std::string_view source_name(Source source);  // "prior"

struct Pool {
  PoolId id{};
  std::string name;           // "system memory", "memory of NVIDIA H100"
  Class rules = Class::kCpu;  // the class of the devices that use it decides how its readings are taken
  // Every reading of it, what binds, and what remains: budget_of(rules, readings).
  std::vector<Reading> readings;
  uint32_t binding = kNoReading;   // index in readings
  uint64_t bytes = 0;              // that this process could ever have
  uint64_t available = 0;          // now, by the reading that binds
  uint64_t reserve = 0;            // of these, left to others by every plan
  uint64_t floor = 0;              // left to others at every moment, also while loading
  uint64_t budget = 0;             // available less reserve: what plans may take
  uint64_t nominal_bandwidth = 0;  // bytes/s by the data sheet; 0 unknown
  uint64_t read_bandwidth = 0;     // bytes/s, the best that is known of any device on it; 0 unknown
  Source bandwidth_from = Source::kUnknown;
  std::string limited_by;  // what keeps `bytes` or `available` below the machine's; empty: nothing
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
  std::shared_ptr<const loader::Backend> backend;  // never null; answers every planning call
  std::unique_ptr<brim_device, CloseDevice> handle;
  uint32_t index = 0;  // among the backend's
  brim_device_info info{};
  std::string name, driver, architecture;
  std::vector<Heap> heaps;  // in the backend's order
  bool live = false;        // can allocate and run; else it only plans
  bool described = false;   // from a machine's description
  // Not empty: no backend that is installed describes such a device, and `backend` stands in for its own: what it says
  // it can compute, and what that takes, is assumed. The sentence says so.
  std::string assumed;
  std::string asked;                            // the backend that a description names
  std::map<std::string, std::string> settings;  // that a description hands to it
  Facts facts;
  Class memory_class = Class::kUnknown;
  std::string class_because;  // the facts that the class follows from
  uint32_t physical = 0;     // index of the first device that is the same piece of hardware; its own if it is the first
  std::string same_because;  // "both have the PCI address 0000:01:00.0"; empty where it is the first
  double flops = 0;          // of dense prefill, FLOP/s, where a description says it; 0: unknown

  const std::string& plugin() const { return backend->plugin->id(); }
};

struct Link {
  uint32_t device = 0;  // index in Topology::devices
  uint32_t pool = 0;    // index in Topology::pools
  brim_edge edge{};
  // At which the device reads the pool, bytes/s; 0 unknown. Its own memory: what its kernels reach at best; another:
  // what crosses.
  uint64_t bandwidth = 0;
  uint64_t latency_ns = 0;  // of one crossing; 0 unknown
  Source from = Source::kUnknown;
  bool coherent = false;  // the device sees the host's writes without a flush, and the host the device's
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
  bool windows = false;      // whose rules hold
  std::string described_by;  // the file or name that replaced detection; empty: this machine. Its devices only plan

  // Plans may give the device work: all of a described machine, of this one those that run.
  bool takes_part(const Device& device) const { return device.live || !described_by.empty(); }
  // The link of that pair.
  const Link& link(uint32_t device, uint32_t pool) const { return links[device * pools.size() + pool]; }
};

// [control] Opens every device of every backend. A failing one becomes a refusal.
Topology detect(const loader::Loader& loader);

struct MachineFile;

// [control] The machine that a file describes: no device of it is live. `described_by`: what the file was asked for as.
// NOT_FOUND where no backend describes any of its devices.
Topology describe(const loader::Loader& loader, const MachineFile& file, std::string described_by);

// [control] Reads the budgets of pools and heaps anew; a described machine's stay as described.
void refresh(Topology& topology);

// Finds devices that are one piece of hardware, makes one pool of the memory that they share, and drops pools that no
// heap is in any more. Fills physical and same_because.
void merge_views(Topology& topology);

// Tells every device's class from its facts, and every pool's rules.
void classify_devices(Topology& topology);

// The pool that a device computes from.
uint32_t own_pool(const Device& device);

// What decoding on a device of that type (BRIM_DEVICE_*) reaches of its memory's nominal bandwidth, where nobody
// measured.
uint64_t prior_bandwidth(uint32_t type, uint64_t nominal);

std::string pci_text(uint64_t pci);  // "0000:01:00.0"

// Bytes and budget of the pool from its rules and readings.
void set_budget(Pool& pool);

// What probe_bandwidth measured, into the system's pool and the processors' links to it.
void set_host_bandwidth(Topology& topology, double bytes_per_second);

// [control] Read bandwidth of system memory in bytes/s with the whole team, best of several passes over memory far
// larger than any cache; takes half a second, at most one. 0 where that memory is not to be had.
double probe_bandwidth(Team& team);

}  // namespace brim::topology
