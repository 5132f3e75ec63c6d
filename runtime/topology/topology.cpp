#include <fmt/format.h>

#include <algorithm>
#include <base/error.hpp>
#include <base/os/hardware.hpp>
#include <base/os/machine.hpp>
#include <loader/cpu_features.hpp>
#include <new>
#include <topology/topology.hpp>
#include <utility>

namespace brim::topology {
namespace {

constexpr double kPinnedShare = 0.85;
// GPUs 0.82 to 0.89 over 68 published rows, processors about half.
constexpr double kGpuShare = 0.85, kCpuShare = 0.45;
constexpr PoolId kSystem = {BRIM_POOL_SYSTEM, 0};

// The index of the pool with that id, which is made if it is new.
uint32_t pool_index(Topology& t, const PoolId& id, const std::string& name) {
  for (uint32_t i = 0; i < t.pools.size(); ++i)
    if (t.pools[i].id == id) return i;
  Pool pool;
  pool.id = id;
  pool.name = id[0] == BRIM_POOL_SYSTEM ? fmt::format("system memory of NUMA node {}", id[1])
                                        : fmt::format("memory of {}", name);
  t.pools.push_back(std::move(pool));
  return static_cast<uint32_t>(t.pools.size() - 1);
}

// Opens one device and reads what it says of itself and of its heaps; its pools are added. Throws what the backend
// reports.
void add_device(Topology& t, const std::shared_ptr<const loader::Backend>& backend, uint32_t index) {
  const brim_backend& api = backend->api;
  const std::string who = fmt::format("device {} of '{}'", index, backend->plugin->id());
  const std::string not_opened = who + " could not be opened";  // no memory is asked for while the handle has no owner
  brim_error error = empty_error();

  brim_device* handle = nullptr;
  check(api.device_open(backend->plugin->instance(), index, &handle, &error), error, not_opened);
  if (!handle) fail(BRIM_INCOMPATIBLE, "{}: device_open answered OK and gave no device; tell the plugin's author", who);
  Device device;
  device.backend = backend;
  device.handle = {handle, CloseDevice{backend}};
  device.index = index;

  device.info.struct_size = sizeof(device.info);
  check(api.device_info(handle, &device.info, &error), error, who + " does not describe itself");
  device.name = view(device.info.name);
  device.driver = view(device.info.driver);
  device.architecture = view(device.info.architecture);
  device.live = (device.info.flags & BRIM_DEVICE_LIVE) != 0;

  for (uint32_t i = 0; i < device.info.n_heaps; ++i) {
    Heap heap;
    heap.info.struct_size = sizeof(heap.info);
    check(api.heap_info(handle, i, &heap.info, &error), error, fmt::format("{} does not describe its heap {}", who, i));
    if (heap.info.alignment == 0 || (heap.info.alignment & (heap.info.alignment - 1)) != 0)
      fail(BRIM_INCOMPATIBLE, "{}: the alignment of heap {} must be a power of two, found {}; tell the plugin's author",
           who, i, heap.info.alignment);
    if (heap.info.pool_id[0] == 0 && heap.info.pool_id[1] == 0)
      fail(BRIM_INCOMPATIBLE, "{}: heap {} names no pool; tell the plugin's author", who, i);
    device.heaps.push_back(heap);
  }

  if (std::ranges::all_of(device.heaps, [](const Heap& h) { return h.info.size == 0; }))
    fail(BRIM_INCOMPATIBLE, "{} says that it has 0 bytes of memory; it is left out", who);

  // Nothing below fails: a device is in the topology wholly or not at all.
  for (Heap& heap : device.heaps) heap.pool = pool_index(t, {heap.info.pool_id[0], heap.info.pool_id[1]}, device.name);
  device.physical = static_cast<uint32_t>(t.devices.size());
  t.devices.push_back(std::move(device));
}

brim_edge edge_of(const Device& device, const Topology& t, uint32_t pool) {
  brim_edge edge{};
  edge.struct_size = sizeof(edge);
  if (const auto ask = device.backend->api.edge) {
    brim_error error = empty_error();
    if (ask(device.handle.get(), t.pools[pool].id.data(), &edge, &error) == BRIM_OK) return edge;
    edge = {};
    edge.struct_size = sizeof(edge);
  }
  const bool own =
      std::any_of(device.heaps.begin(), device.heaps.end(), [pool](const Heap& h) { return h.pool == pool; });
  edge.coherent = edge.noncoherent = own ? BRIM_EDGE_NATIVE : BRIM_EDGE_COPY;
  return edge;
}

// Why two devices are one piece of hardware; empty: they are not, as far as they tell.
std::string why_same(const brim_device_info& a, const brim_device_info& b) {
  if ((a.uuid[0] || a.uuid[1]) && std::equal(a.uuid, a.uuid + 2, b.uuid))
    return fmt::format("both have the UUID {:016x}{:016x}", a.uuid[0], a.uuid[1]);
  if (a.pci && a.pci == b.pci) return fmt::format("both have the PCI address {}", pci_text(a.pci));
  return {};
}

// The system's memory as this machine's system reads it.
void read_system(Topology& t) {
  Pool& pool = t.pools[0];
  const os::MemoryReading m = os::system_memory();
  pool.limited_by = m.limited_by;
  const auto add = [&](ReadingKind kind, uint64_t bytes, uint64_t of, std::string name) {
    if (of) pool.readings.push_back({kind, bytes, of, std::move(name), 0, false, {}});
  };
  add(ReadingKind::kHostAvailable, m.machine_available, m.machine_total, "available to the system");
  for (const os::MemoryLimit& limit : m.limits) add(ReadingKind::kHostLimit, limit.left, limit.bytes, limit.name);
  add(ReadingKind::kCommitLeft, m.commit_left, m.commit_limit, "left to commit");
  add(ReadingKind::kHostFree, m.machine_free, m.machine_total, "free and in no cache");
  add(ReadingKind::kHugePages, m.huge_free, m.huge_total, "free huge pages");
  // Each piece of hardware once, however many interfaces show it.
  for (uint32_t d = 0; d < t.devices.size(); ++d) {
    const Device& device = t.devices[d];
    if (device.physical != d) continue;
    if (is_uma(device.memory_class)) {
      if (const auto aside = os::carve_out(device.info.pci))
        add(ReadingKind::kCarveOut, aside->bytes - std::min(aside->bytes, aside->used), aside->bytes,
            "set aside for " + device.name);
    } else if (own_pool(device) != 0) {
      // A node without processors that a card says it is: the card's memory, and no more of the host's.
      for (const os::NumaNode& node : os::numa_nodes())
        if (!node.has_cpus && node.id == device.info.numa_node)
          add(ReadingKind::kDeviceNode, node.free, node.total, "the NUMA node of " + device.name);
    }
  }
}

// Every device with every pool, and what is known of the way between them.
void link_devices(Topology& t) {
  for (const Device& device : t.devices) {
    const uint32_t own = own_pool(device);
    for (const Heap& heap : device.heaps) {
      uint64_t& nominal = t.pools[own].nominal_bandwidth;
      if (heap.pool == own) nominal = std::max(nominal, heap.info.read_bandwidth);
    }
  }
  for (uint32_t d = 0; d < t.devices.size(); ++d) {
    const Device& device = t.devices[d];
    const uint32_t own = own_pool(device);
    for (uint32_t p = 0; p < t.pools.size(); ++p) {
      Link link;
      link.device = d;
      link.pool = p;
      link.edge = edge_of(device, t, p);
      link.bandwidth = link.edge.bandwidth;
      for (const Heap& heap : device.heaps)
        if (heap.pool == p && p != own) link.bandwidth = std::max(link.bandwidth, heap.info.read_bandwidth);
      if (link.bandwidth) link.from = Source::kReported;
      if (!link.bandwidth && p == own) {
        link.bandwidth = prior_bandwidth(device.info.type, t.pools[p].nominal_bandwidth);
        if (link.bandwidth) link.from = Source::kPrior;
      }
      // A card over its bus: what pinned copies reach of it.
      if (!link.bandwidth && p == 0 && own != 0) {
        if (const auto bus = os::pcie_bandwidth(device.info.pci)) {
          link.bandwidth = static_cast<uint64_t>(kPinnedShare * static_cast<double>(*bus));
          link.from = Source::kPrior;
        }
      }
      link.latency_ns = link.edge.latency_ns;
      link.coherent = link.edge.coherent == BRIM_EDGE_NATIVE;
      t.links.push_back(link);
    }
  }
}

}  // namespace

uint32_t own_pool(const Device& device) {
  for (const Heap& heap : device.heaps)
    if (heap.info.flags & BRIM_HEAP_DEVICE_LOCAL) return heap.pool;
  return device.heaps.front().pool;
}

uint64_t prior_bandwidth(uint32_t type, uint64_t nominal) {
  return static_cast<uint64_t>(static_cast<double>(nominal) * (type == BRIM_DEVICE_CPU ? kCpuShare : kGpuShare));
}

std::string pci_text(uint64_t pci) {
  return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", pci >> 32, pci >> 16 & 0xff, pci >> 8 & 0xff, pci & 0xff);
}

void merge_views(Topology& t) {
  for (uint32_t i = 0; i < t.devices.size(); ++i) {
    Device& device = t.devices[i];
    device.physical = i;
    device.same_because.clear();
    for (uint32_t j = 0; j < i && device.physical == i; ++j) {
      device.same_because = why_same(t.devices[j].info, device.info);
      if (!device.same_because.empty()) device.physical = t.devices[j].physical;
    }
    if (device.physical == i) continue;
    // One memory: the one that was named first, and the system's where either says that it is that.
    const uint32_t a = own_pool(t.devices[device.physical]), b = own_pool(device);
    const uint32_t from = std::max(a, b), to = std::min(a, b);
    if (from == to) continue;
    for (Device& d : t.devices)
      for (Heap& heap : d.heaps)
        if (heap.pool == from) heap.pool = to;
  }
  // Pools that no heap is in any more go; what follows them moves up.
  for (uint32_t p = 1; p < t.pools.size();) {
    const bool used = std::ranges::any_of(t.devices, [p](const Device& d) {
      return std::ranges::any_of(d.heaps, [p](const Heap& h) { return h.pool == p; });
    });
    if (used) {
      ++p;
      continue;
    }
    t.pools.erase(t.pools.begin() + p);
    for (Device& d : t.devices)
      for (Heap& heap : d.heaps) heap.pool -= heap.pool > p;
  }
}

void classify_devices(Topology& t) {
  for (Device& device : t.devices) {
    const Classified c = classify(device.facts);
    device.memory_class = c.value;
    device.class_because = c.because;
    // Of the system's memory: the processors' rules, unless a GPU computes from it too.
    if (const uint32_t own = own_pool(device); own != 0 || is_uma(c.value) || c.value == Class::kUnknown)
      t.pools[own].rules = c.value;
  }
}

void set_budget(Pool& pool) {
  const Budget b = budget_of(pool.rules, pool.readings);
  pool.binding = b.binding;
  pool.bytes = b.bytes;
  pool.available = b.available;
  pool.reserve = b.reserve;
  pool.floor = b.floor;
  pool.budget = b.budget;
}

void set_host_bandwidth(Topology& t, double bytes_per_second) {
  const auto bandwidth = static_cast<uint64_t>(bytes_per_second);
  if (bandwidth == 0) return;
  t.pools[0].read_bandwidth = bandwidth;
  t.pools[0].bandwidth_from = Source::kProbe;
  for (Link& link : t.links) {
    if (link.pool != 0 || t.devices[link.device].memory_class != Class::kCpu) continue;
    link.bandwidth = bandwidth;
    link.from = Source::kProbe;
  }
}

void refresh(Topology& t) {
  if (!t.described_by.empty()) return;  // its readings are the description's
  for (uint32_t p = 0; p < t.pools.size(); ++p) {
    t.pools[p].readings.clear();
    if (p == 0) read_system(t);
  }
  for (uint32_t d = 0; d < t.devices.size(); ++d) {
    Device& device = t.devices[d];
    for (uint32_t i = 0; i < device.heaps.size(); ++i) {
      Heap& heap = device.heaps[i];
      brim_error error = empty_error();
      heap.available = 0;
      // A device that was lost has nothing to give.
      if (device.backend->api.heap_budget(device.handle.get(), i, &heap.available, &error) != BRIM_OK)
        heap.available = 0;
      // Heaps of one device on one memory are windows on it: the largest speaks for all.
      std::vector<Reading>& readings = t.pools[heap.pool].readings;
      const auto own =
          std::ranges::find_if(readings, [d](const Reading& r) { return r.kind == ReadingKind::kHeap && r.view == d; });
      if (own == readings.end()) {
        readings.push_back({ReadingKind::kHeap,
                            heap.available,
                            heap.info.size,
                            fmt::format("heap {} of {}, {}", i, device.plugin(), device.name),
                            d,
                            false,
                            {}});
      } else {
        own->bytes = std::max(own->bytes, heap.available);
        own->of = std::max(own->of, heap.info.size);
      }
    }
  }
  for (Pool& pool : t.pools) set_budget(pool);
  for (Device& device : t.devices)
    for (Heap& heap : device.heaps) heap.available = std::min(heap.available, t.pools[heap.pool].available);
}

Topology detect(const loader::Loader& loader) {
  Topology t;
  t.windows = loader::host_os() == "windows";
  Pool system;
  system.id = kSystem;
  system.name = "system memory";
  t.pools.push_back(std::move(system));

  for (const auto& backend : loader.backends()) {
    const std::string& id = backend->plugin->id();
    const auto refuse = [&](std::string who, std::string reason) {
      loader.log().write(BRIM_LOG_WARNING, "topology", fmt::format("{}: {}", who, reason));
      t.refusals.push_back({std::move(who), std::move(reason)});
    };
    uint32_t count = 0;
    brim_str why{};
    brim_error error = empty_error();
    try {
      check(backend->api.device_count(backend->plugin->instance(), &count, &why, &error), error,
            fmt::format("'{}' cannot count its devices", id));
    } catch (const std::bad_alloc&) {
      throw;  // no fault of the backend's
    } catch (const std::exception& e) {
      refuse(id, e.what());
      continue;
    }
    if (count == 0) {
      t.refusals.push_back({id, why.len ? std::string(view(why)) : "it found no device and does not say why"});
      continue;
    }
    for (uint32_t i = 0; i < count; ++i) {
      try {
        add_device(t, backend, i);
      } catch (const std::bad_alloc&) {
        throw;  // no fault of the backend's
      } catch (const std::exception& e) {
        refuse(fmt::format("{} device {}", id, i), e.what());
      }
    }
  }
  merge_views(t);
  for (Device& device : t.devices) {
    device.facts.type = device.info.type;
    if (device.info.flags & BRIM_DEVICE_TELLS_PAGING) {
      const auto told = [&](uint32_t flag) { return device.info.flags & flag ? Fact::kYes : Fact::kNo; };
      device.facts.pageable = told(BRIM_DEVICE_PAGEABLE_ACCESS);
      device.facts.host_page_tables = told(BRIM_DEVICE_HOST_PAGE_TABLES);
      device.facts.concurrent_managed = told(BRIM_DEVICE_CONCURRENT_MANAGED);
    }
    device.facts.windows = t.windows;
    device.facts.own_pool = t.pools[own_pool(device)].id[0] != BRIM_POOL_SYSTEM;
    device.facts.own_link = device.info.pci != 0;
  }
  classify_devices(t);
  link_devices(t);
  refresh(t);
  return t;
}

}  // namespace brim::topology
