#include <fmt/format.h>

#include <algorithm>
#include <base/error.hpp>
#include <base/os/machine.hpp>
#include <new>
#include <topology/topology.hpp>
#include <utility>

namespace brim::topology {
namespace {

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

  // Nothing below fails: a device is in the topology wholly or not at all.
  const auto own = static_cast<uint32_t>(t.devices.size());
  device.physical = own;
  if (device.info.uuid[0] != 0 || device.info.uuid[1] != 0)
    for (uint32_t i = 0; i < own && device.physical == own; ++i)
      if (std::equal(device.info.uuid, device.info.uuid + 2, t.devices[i].info.uuid)) device.physical = i;
  for (Heap& heap : device.heaps) {
    const PoolId id = {heap.info.pool_id[0], heap.info.pool_id[1]};
    heap.pool = pool_index(t, id, device.name);
    Pool& pool = t.pools[heap.pool];
    if (id != kSystem) pool.bytes = std::max(pool.bytes, heap.info.size);
    pool.read_bandwidth = std::max(pool.read_bandwidth, heap.info.read_bandwidth);
  }
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

}  // namespace

void refresh(Topology& t) {
  const os::MemoryReading memory = os::system_memory();
  for (Pool& pool : t.pools) {
    pool.available = 0;
    if (pool.id != kSystem) continue;
    pool.bytes = memory.total;
    pool.available = memory.available;
    pool.limited_by = memory.limited_by;
  }
  for (Device& device : t.devices) {
    for (uint32_t i = 0; i < device.heaps.size(); ++i) {
      Heap& heap = device.heaps[i];
      Pool& pool = t.pools[heap.pool];
      brim_error error = empty_error();
      heap.available = 0;
      // A device that was lost has nothing to give.
      if (device.backend->api.heap_budget(device.handle.get(), i, &heap.available, &error) != BRIM_OK)
        heap.available = 0;
      if (pool.id == kSystem)
        heap.available = std::min(heap.available, pool.available);
      else
        pool.available = std::min(pool.bytes, std::max(pool.available, heap.available));
    }
  }
}

Topology detect(const loader::Loader& loader) {
  Topology t;
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
  for (uint32_t d = 0; d < t.devices.size(); ++d)
    for (uint32_t p = 0; p < t.pools.size(); ++p) t.links.push_back({d, p, edge_of(t.devices[d], t, p)});
  refresh(t);
  return t;
}

}  // namespace brim::topology
