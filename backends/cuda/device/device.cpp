#include "device/device.hpp"

#include <gpu/described.hpp>

#include "device/buffer.hpp"
#include "device/probe.hpp"

namespace brim_cuda {
namespace {

constexpr uint32_t kLeastCapability = 75;  // 7.5: Turing

int attribute(const Driver& cu, CUdevice device, CUdevice_attribute which) {
  int value = 0;
  check(cu.DeviceGetAttribute(&value, which, device), "reading a device's attributes");
  return value;
}

uint32_t capability_of(const Driver& cu, CUdevice device) {
  return static_cast<uint32_t>(attribute(cu, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                               attribute(cu, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
}

void search(brim_plugin* plugin) {
  Driver& cu = plugin->driver;
  if (!open_driver(plugin->driver_path, cu, plugin->why)) return;
  if (const CUresult result = cu.Init(0); result != CUDA_SUCCESS) {
    std::snprintf(plugin->why, sizeof plugin->why, "the CUDA driver does not start: %s (%d)", result_name(result),
                  static_cast<int>(result));
    return;
  }
  check(cu.DriverGetVersion(&plugin->version), "reading the driver's version");
  if (plugin->version < 12000) {
    std::snprintf(plugin->why, sizeof plugin->why, "the CUDA driver speaks CUDA %d.%d; 12.0 or newer is needed",
                  plugin->version / 1000, plugin->version % 1000 / 10);
    return;
  }
  int n = 0;
  check(cu.DeviceGetCount(&n), "counting devices");
  for (int i = 0; i < n; ++i) {
    CUdevice device = 0;
    check(cu.DeviceGet(&device, i), "finding a device");
    if (const uint32_t capability = capability_of(cu, device); capability < kLeastCapability) {
      std::snprintf(plugin->why, sizeof plugin->why, "a device has compute capability %u.%u; 7.5 or newer is needed",
                    capability / 10, capability % 10);
    } else if (plugin->gpus) {
      plugin->found.push_back({device, nullptr});
    }
  }
  if (!plugin->found.empty() || plugin->why[0] != 0) return;
  if (n == 0) {
    std::snprintf(plugin->why, sizeof plugin->why, "the CUDA driver shows no device");
  } else {
    std::snprintf(plugin->why, sizeof plugin->why, "backend.cuda.gpus = false leaves out the GPUs here (%d)", n);
  }
}

// Of a card's memory by its data sheet, bytes/s: clocks are kHz, two transfers each. 0 where the driver does not say,
// and of integrated devices, whose LPDDR the same formula gives twice its speed on some (design: topology.md A1).
uint64_t bandwidth_of(const Device* d) {
  int clock = 0, bits = 0;
  const auto ask = [&](int* out, CUdevice_attribute which) {
    return d->cu().DeviceGetAttribute(out, which, d->ordinal) == CUDA_SUCCESS && *out > 0;
  };
  if (d->facts.integrated || !ask(&clock, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE) ||
      !ask(&bits, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)) {
    return 0;
  }
  return 2000 * static_cast<uint64_t>(clock) * static_cast<uint64_t>(bits) / 8;
}

void open(Device* d) {
  const Driver& cu = d->cu();
  const auto has = [&](CUdevice_attribute which) { return attribute(cu, d->ordinal, which) != 0; };
  d->facts.integrated = has(CU_DEVICE_ATTRIBUTE_INTEGRATED);
  d->facts.pageable = has(CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS);
  d->facts.host_page_tables = has(CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES);
  d->facts.concurrent_managed = has(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS);
  size_t total = 0;
  check(cu.DeviceTotalMem(&total, d->ordinal), "reading a device's memory");
  d->facts.total = total;
  d->facts.system_total = system_memory().total;
  d->kind = classify(d->facts);
  d->bandwidth = bandwidth_of(d);
  d->capability = capability_of(cu, d->ordinal);
  d->processors = static_cast<uint32_t>(attribute(cu, d->ordinal, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
  d->shared_memory = static_cast<uint32_t>(attribute(cu, d->ordinal, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK));
  d->max_groups = static_cast<uint32_t>(attribute(cu, d->ordinal, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y));
  CUuuid uuid{};
  check(cu.DeviceGetUuid(&uuid, d->ordinal), "reading a device's UUID");
  std::memcpy(d->uuid, uuid.bytes, sizeof d->uuid);
  const auto pci = [&](CUdevice_attribute which) {
    return static_cast<uint64_t>(static_cast<uint32_t>(attribute(cu, d->ordinal, which)));
  };
  d->pci = pci(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID) << 32 | pci(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID) << 16 |
           pci(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID) << 8;
  check(cu.DeviceGetName(d->name, sizeof d->name - 1, d->ordinal), "reading a device's name");
  std::snprintf(d->driver, sizeof d->driver, "CUDA %d.%d", d->plugin->version / 1000, d->plugin->version % 1000 / 10);
  check(cu.DevicePrimaryCtxRetain(&d->context, d->ordinal), "opening the device");
  d->modules.open(d);
  const bool promised = d->kind == Class::kAtsUnified || d->kind == Class::kAtsDiscrete;
  d->reads_host = promised && host_memory_works(d);
  std::snprintf(d->architecture, sizeof d->architecture, "sm_%u, %u processors, %s%s", d->capability, d->processors,
                class_name(d->kind),
                d->reads_host ? ", reads the host's in place"
                : promised    ? ", did not see what the host wrote"
                              : "");
}

}  // namespace

brim_plugin* create_plugin(const brim_host_api* api, brim_host* host, const brim_create_info* info) {
  const Memory memory{api, host};
  brim_plugin* plugin = make<brim_plugin>(memory, memory);
  try {
    if (info != nullptr) {
      constexpr const char* kWhere = "the CUDA backend";
      each_setting(kWhere, info->settings, info->n_settings, info->setting_stride, {"driver", "gpus"},
                   [&](std::string_view key, std::string_view value) {
                     if (key == "gpus") {
                       plugin->gpus = truth(kWhere, key, value);
                     } else if (value.size() < sizeof plugin->driver_path) {
                       std::memcpy(plugin->driver_path, value.data(), value.size());
                     } else {
                       fail(BRIM_INVALID_ARGUMENT, "%s: setting 'driver' is longer than %u bytes", kWhere,
                            static_cast<unsigned>(sizeof plugin->driver_path - 1));
                     }
                   });
    }
    return plugin;
  } catch (...) {
    unmake(memory, plugin);
    throw;
  }
}

uint32_t count_devices(brim_plugin* plugin, brim_str* why) {
  const std::lock_guard lock(plugin->mutex);
  if (!plugin->searched) {
    plugin->found.clear();
    search(plugin);
  }
  plugin->searched = true;
  if (why != nullptr) *why = {plugin->why, std::strlen(plugin->why)};
  return static_cast<uint32_t>(plugin->found.size());
}

brim_device* open_device(brim_plugin* plugin, uint32_t index) {
  const uint32_t n = count_devices(plugin, nullptr);
  if (index >= n) fail(BRIM_NOT_FOUND, "the CUDA backend has %u devices; device %u was asked for", n, index);
  const std::lock_guard lock(plugin->mutex);
  brim_device* handle = make<brim_device>(plugin->memory, brim_device{plugin->found[index].device});
  if (handle->shared == nullptr) {
    try {
      handle->shared = make<Device>(plugin->memory, plugin);
      handle->shared->ordinal = plugin->found[index].ordinal;
      handle->shared->index = index;
      open(handle->shared);
    } catch (...) {
      unmake(plugin->memory, handle->shared);
      unmake(plugin->memory, handle);
      throw;
    }
    plugin->found[index].device = handle->shared;
  }
  ++handle->shared->handles;
  return handle;
}

brim_device* describe_device(brim_plugin* plugin, const void* settings, uint32_t n, uint32_t stride) {
  constexpr const char* kWhere = "the description of a CUDA device";
  Facts facts{};
  uint32_t capability = kLeastCapability;
  const brim_gpu::Described described = brim_gpu::read_description(
      kWhere, settings, n, stride,
      {"name", "memory", "bandwidth", "type", "compute_capability", "pageable_access", "host_page_tables",
       "concurrent_managed"},
      [&](std::string_view key, std::string_view value) {
        if (key == "pageable_access") {
          facts.pageable = truth(kWhere, key, value);
        } else if (key == "host_page_tables") {
          facts.host_page_tables = truth(kWhere, key, value);
        } else if (key == "concurrent_managed") {
          facts.concurrent_managed = truth(kWhere, key, value);
        } else {
          const size_t point = std::min(value.find('.'), value.size() - 1);
          capability = static_cast<uint32_t>(whole_number(kWhere, key, value.substr(0, point), 0, 99) * 10 +
                                             whole_number(kWhere, key, value.substr(point + 1), 0, 9));
        }
      });
  if (capability < kLeastCapability) {
    fail(BRIM_INVALID_ARGUMENT, "%s: compute capability %u.%u; 7.5 or newer is needed", kWhere, capability / 10,
         capability % 10);
  }
  brim_device* handle = brim_gpu::make_described<brim_device, Device>(plugin, described);
  Device* d = handle->shared;
  d->facts = facts;
  d->facts.integrated = described.integrated;
  d->facts.total = described.memory;
  d->kind = classify(d->facts);
  d->capability = capability;
  std::snprintf(d->architecture, sizeof d->architecture, "sm_%u, %s", capability, class_name(d->kind));
  return handle;
}

void close_device(brim_device* handle) noexcept {
  if (handle == nullptr) return;
  Device* device = handle->shared;
  brim_plugin* plugin = device->plugin;
  const std::lock_guard lock(plugin->mutex);
  unmake(plugin->memory, handle);
  if (--device->handles != 0) return;
  if (device->live()) plugin->found[device->index].device = nullptr;
  unmake(plugin->memory, device);
}

void fill_device_info(Device* device, brim_device_info* out) {
  brim_device_info info{};
  info.type = device->facts.integrated ? BRIM_DEVICE_INTEGRATED : BRIM_DEVICE_DISCRETE;
  info.flags = BRIM_DEVICE_ANY_KV | BRIM_DEVICE_TELLS_PAGING;
  if (device->live()) info.flags |= BRIM_DEVICE_LIVE;
  if (device->facts.pageable) info.flags |= BRIM_DEVICE_PAGEABLE_ACCESS;
  if (device->facts.host_page_tables) info.flags |= BRIM_DEVICE_HOST_PAGE_TABLES;
  if (device->facts.concurrent_managed) info.flags |= BRIM_DEVICE_CONCURRENT_MANAGED;
  info.n_heaps = 2;
  info.uuid[0] = device->uuid[0];
  info.uuid[1] = device->uuid[1];
  info.pci = device->pci;
  info.subgroup = 32;
  info.max_binding = UINT64_MAX;  // kernels take addresses, not bindings
  info.shared_memory = device->shared_memory;
  info.name = {device->name, std::strlen(device->name)};
  info.driver = {device->driver, std::strlen(device->driver)};
  info.architecture = {device->architecture, std::strlen(device->architecture)};
  answer(out, info);
}

void fill_heap_info(Device* device, uint32_t heap, brim_heap_info* out) {
  check_heap(device, heap);
  brim_heap_info info{};
  info.flags =
      heap == 0 ? BRIM_HEAP_DEVICE_LOCAL : BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_COHERENT | BRIM_HEAP_HOST_CACHED;
  // Said of the host's heap: memory that is read for every token belongs into the device's own.
  if (heap != 0 && device->reads_host) info.flags |= BRIM_HEAP_IMPORT_HOST;
  if (heap != 0 || one_pool(device->kind)) {
    info.pool_id[0] = BRIM_POOL_SYSTEM;
  } else {
    info.pool_id[0] = device->uuid[0];
    info.pool_id[1] = device->uuid[1];
  }
  info.size = heap == 0 || device->facts.system_total == 0 ? device->facts.total : device->facts.system_total;
  info.alignment = kAlignment;
  info.max_alloc = info.size;
  if (heap == 0) info.read_bandwidth = device->bandwidth;
  answer(out, info);
}

uint64_t heap_budget(Device* device, uint32_t heap) {
  check_heap(device, heap);
  need_alive(device);
  const Current current(device);
  size_t free = 0, total = 0;
  check_on(device, device->cu().MemGetInfo(&free, &total), "reading free memory");
  return available(device->kind, heap, total, free, system_memory().available);
}

void need_alive(const Device* device) {
  if (!device->live()) brim_gpu::refuse_described(device->name);
  if (device->lost.load(std::memory_order_relaxed)) {
    fail(BRIM_DEVICE_LOST, "%s was lost before; close it and open it again", device->name);
  }
}

void check_on(Device* device, CUresult result, const char* doing) {
  if (is_loss(result)) {
    device->lost.store(true, std::memory_order_relaxed);
    device->moved.notify_all();
  }
  check(result, doing);
}

Device::~Device() {
  if (context == nullptr) return;
  {
    const Releasing current(this);
    modules.close();
  }
  cu().DevicePrimaryCtxRelease(ordinal);
}

}  // namespace brim_cuda
