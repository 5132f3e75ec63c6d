// An instance of the plugin, the devices that the driver shows, and an open device.
//
// The primary context of a device is used, the one that the host program's own CUDA code has: its streams can be
// wrapped. Every entry makes it current for as long as it runs (Current). Both handles of a device that is opened twice
// share one Device, so that their queues and fences meet; what is lost is lost until the last handle is closed.
//
// A described device is a Device without a context: no driver is asked about it, and it only plans.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "device/classes.hpp"
#include "kernels/modules.hpp"

namespace brim_cuda {
struct Device;
}

struct brim_plugin {
  explicit brim_plugin(brim::backend::Memory from) : memory(from), found(from) {}

  brim::backend::Memory memory;
  bool gpus = true;
  bool searched = false;
  char driver_path[1024] = {};  // empty: the system's
  std::mutex mutex;
  brim_cuda::Driver driver;
  int version = 0;  // of the driver: 12080 is 12.8
  struct Found {
    CUdevice ordinal;
    brim_cuda::Device* device;  // while it is open
  };
  brim::backend::Array<Found> found;
  char why[256] = {};  // there is none, or why fewer are offered than are here
};

namespace brim_cuda {

struct Device {
  explicit Device(brim_plugin* of) : plugin(of) {}
  ~Device();

  brim_plugin* plugin;
  uint32_t index = 0;    // in plugin->found
  uint32_t handles = 0;  // given out and not closed; under plugin->mutex
  CUdevice ordinal = 0;
  CUcontext context = nullptr;
  Facts facts{};
  Class kind = Class::kDiscrete;
  uint32_t capability = 0;  // 121: compute capability 12.1
  uint32_t processors = 0, shared_memory = 0;
  uint32_t max_groups = 65535;  // of a launch in y and z, which are the tightest
  uint64_t uuid[2] = {}, pci = 0;
  bool reads_host = false;  // the host's memory in place: tried
  uint64_t bandwidth = 0;   // of its memory, by the data sheet or as described, bytes/s; 0 unknown
  char name[256] = {}, driver[64] = {}, architecture[96] = {};

  std::mutex queue_mutex;         // of everything submitted, and of what waits to be
  std::condition_variable moved;  // a fence was promised a value, held work was handed over, or the device was lost
  brim_queue* queues = nullptr;   // linked by brim_queue::next
  std::atomic<bool> lost{false};

  Modules modules;

  Memory host() const { return plugin->memory; }
  bool live() const { return context != nullptr; }
  const Driver& cu() const { return plugin->driver; }
  Target target() const {
    return {.memory = host(),
            .max_groups = max_groups,
            .threads = kThreads,
            .integer_dot = true,
            .dot_outputs = kDotOutputs,
            .dot_all_formats = true,
            .matrix_units = capability >= kMatrixCapability,
            .unpacks = multiplies_halves_fast(capability),
            .fuses = true};
  }
};

// Makes the device's context current on this thread for as long as it lives.
class Current {
 public:
  explicit Current(Device* device) : device_(device) {
    check(device->cu().CtxPushCurrent(device->context), "using the device's context");
  }
  ~Current() {
    CUcontext popped = nullptr;
    device_->cu().CtxPopCurrent(&popped);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  Device* device_;
};

// The same for giving things back, which goes on where the driver refuses: what it still takes, it takes.
class Releasing {
 public:
  explicit Releasing(Device* device) noexcept
      : device_(device), pushed_(device->cu().CtxPushCurrent(device->context) == CUDA_SUCCESS) {}
  ~Releasing() {
    CUcontext popped = nullptr;
    if (pushed_) device_->cu().CtxPopCurrent(&popped);
  }
  Releasing(const Releasing&) = delete;
  Releasing& operator=(const Releasing&) = delete;

 private:
  Device* device_;
  bool pushed_;
};

}  // namespace brim_cuda

// A handle.
struct brim_device {
  brim_cuda::Device* shared;
};

namespace brim_cuda {

brim_plugin* create_plugin(const brim_host_api* api, brim_host* host, const brim_create_info* info);

// Looks for devices once; later calls give the same.
uint32_t count_devices(brim_plugin* plugin, brim_str* why);
brim_device* open_device(brim_plugin* plugin, uint32_t index);
// Keys: those of gpu/described.hpp; compute_capability ("12.1"; default: the least that is offered); and what a driver
// says of memory, true or false: pageable_access, host_page_tables, concurrent_managed.
brim_device* describe_device(brim_plugin* plugin, const void* settings, uint32_t n, uint32_t stride);
void close_device(brim_device* handle) noexcept;
void fill_device_info(Device* device, brim_device_info* out);
void fill_heap_info(Device* device, uint32_t heap, brim_heap_info* out);
uint64_t heap_budget(Device* device, uint32_t heap);

// DEVICE_LOST where the device was lost before, FAILED_PRECONDITION where it is described only.
void need_alive(const Device* device);
// check(), and the loss is remembered.
void check_on(Device* device, CUresult result, const char* doing);

}  // namespace brim_cuda
