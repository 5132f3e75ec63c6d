// The CUDA functions that the backend calls, under the names that a driver exports, and the tests' own (control.hpp).
#include "driver/control.hpp"
#include "driver/device.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

using namespace test_cuda;

namespace {

thread_local std::vector<CUcontext> current;

Device& device() { return Device::get(); }
CUcontext context() { return reinterpret_cast<CUcontext>(&Device::get()); }

// Answers for the function where it may not go on.
#define ENTER(needs_context)                                                                                  \
  if (const CUresult answer = device().enter(__func__, needs_context); answer != CUDA_SUCCESS) return answer; \
  if ((needs_context) && current.empty()) return CUDA_ERROR_INVALID_CONTEXT

// Functions that give something back do so whatever they answer, as an error of earlier work may be.
#define ENTER_TO_RELEASE() const CUresult answered = device().enter(__func__, false)
#define RELEASED(call)              \
  const CUresult released = (call); \
  return answered != CUDA_SUCCESS ? answered : released

template <class T, class H>
T* known(const std::set<T*>& all, H handle) {
  const std::lock_guard lock(device().mutex);
  const auto found = all.find(reinterpret_cast<T*>(handle));
  return found == all.end() ? nullptr : *found;
}

template <class T, class H>
CUresult make(std::set<T*>& all, H* out) {
  const std::lock_guard lock(device().mutex);
  T* made = new T;
  all.insert(made);
  *out = reinterpret_cast<H>(made);
  return CUDA_SUCCESS;
}
template <class T, class H>
CUresult unmake(std::set<T*>& all, H handle) {
  const std::lock_guard lock(device().mutex);
  const auto found = all.find(reinterpret_cast<T*>(handle));
  if (found == all.end()) return CUDA_ERROR_INVALID_HANDLE;
  delete *found;
  all.erase(found);
  return CUDA_SUCCESS;
}

// Grid, block and arguments of a kernel; false where they do not fit it.
bool fill(Node& node, const CUDA_KERNEL_NODE_PARAMS* params) {
  node.kernel = reinterpret_cast<const ptx::Kernel*>(params->func);
  node.grid = {params->gridDimX, params->gridDimY, params->gridDimZ};
  node.block = {params->blockDimX, params->blockDimY, params->blockDimZ};
  const uint32_t most = device().most_groups;
  if (node.grid.count() == 0 || node.grid.y > most || node.grid.z > most) return false;
  if (node.block.count() == 0 || node.block.count() > node.kernel->max_threads) return false;
  node.params.assign(node.kernel->param_bytes, std::byte{0});
  for (size_t i = 0; i < node.kernel->params.size(); ++i) {
    const ptx::Variable& p = node.kernel->params[i];
    std::memcpy(node.params.data() + p.offset, params->kernelParams[i], p.bytes);
  }
  return true;
}

}  // namespace

// ---- for tests ----

EXPORT void brim_test_cuda_configure(const char* options) { device().configure(options); }
EXPORT uint64_t brim_test_cuda_calls(const char* function) {
  const std::lock_guard lock(device().mutex);
  if (function == nullptr) return device().all_calls;
  const auto found = device().calls.find(function);
  return found == device().calls.end() ? 0 : found->second;
}
EXPORT const char* brim_test_cuda_called(uint32_t i) {
  const std::lock_guard lock(device().mutex);
  if (i >= device().calls.size()) return nullptr;
  return std::next(device().calls.begin(), static_cast<ptrdiff_t>(i))->first.c_str();
}
EXPORT uint64_t brim_test_cuda_live() {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  return d.streams.size() + d.events.size() + d.modules.size() + d.graphs.size() + d.ready.size() +
         d.live_allocations() + d.retained;
}
EXPORT uint64_t brim_test_cuda_most_bytes(int pinned) {
  const std::lock_guard lock(device().mutex);
  return device().most_used[pinned != 0];
}
EXPORT uint64_t brim_test_cuda_instructions() {
  const std::lock_guard lock(device().mutex);
  return device().instructions;
}

// ---- the driver and its device ----

EXPORT CUresult cuInit(unsigned int) {
  ENTER(false);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDriverGetVersion(int* version) {
  ENTER(false);
  *version = 13000;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetCount(int* n) {
  ENTER(false);
  *n = 1;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGet(CUdevice* out, int ordinal) {
  ENTER(false);
  *out = ordinal;
  return ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
EXPORT CUresult cuDeviceGetName(char* name, int size, CUdevice) {
  ENTER(false);
  std::snprintf(name, static_cast<size_t>(size), "Test CUDA device (%s)", device().profile->name);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice) {
  ENTER(false);
  for (int i = 0; i < 16; ++i) uuid->bytes[i] = static_cast<char>(0xc0 + i);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice) {
  ENTER(false);
  *bytes = device().total;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute which, CUdevice) {
  ENTER(false);
  const Profile& p = *device().profile;
  switch (which) {
    case CU_DEVICE_ATTRIBUTE_INTEGRATED:
      *value = p.integrated;
      break;
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS:
      *value = p.pageable;
      break;
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES:
      *value = p.host_page_tables;
      break;
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
      *value = p.concurrent_managed;
      break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = p.major;
      break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = p.minor;
      break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
      *value = p.memory_clock;
      break;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
      *value = p.memory_bits;
      break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = 48;
      break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      *value = 48 << 10;
      break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
      *value = static_cast<int>(device().most_groups);
      break;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
      *value = 1;
      break;
    case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID:
      *value = 15;
      break;
    case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID:
      *value = 0;
      break;
    default:
      std::fprintf(stderr, "test driver: nobody said what attribute %d is\n", static_cast<int>(which));
      return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext* out, CUdevice) {
  ENTER(false);
  const std::lock_guard lock(device().mutex);
  ++device().retained;
  *out = context();
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) {
  ENTER_TO_RELEASE();
  const std::lock_guard lock(device().mutex);
  if (device().retained == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (--device().retained == 0) device().lost = CUDA_SUCCESS;  // the next one begins anew
  return answered;
}
EXPORT CUresult cuCtxPushCurrent_v2(CUcontext pushed) {
  ENTER(false);
  if (pushed != context() || device().retained == 0) return CUDA_ERROR_INVALID_CONTEXT;
  current.push_back(pushed);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxPopCurrent_v2(CUcontext* popped) {
  // Never refused: a context that stayed current would be the caller's fault ever after.
  device().enter(__func__, false);
  if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  *popped = current.back();
  current.pop_back();
  return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxSynchronize() {
  ENTER(true);
  device().finish(static_cast<Stream*>(nullptr));
  return device().sticky();
}

// ---- memory ----

EXPORT CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  ENTER(true);
  const std::lock_guard lock(device().mutex);
  *free = device().total - device().used;
  *total = device().total;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemAlloc_v2(CUdeviceptr* out, size_t bytes) {
  ENTER(true);
  uint64_t address = 0;
  const CUresult result = device().allocate(bytes, false, &address);
  if (result == CUDA_SUCCESS) *out = address;
  return result;
}
// Memory is given back by a lost context too.
EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
  ENTER_TO_RELEASE();
  RELEASED(device().release(address, false));
}
EXPORT CUresult cuMemHostAlloc(void** out, size_t bytes, unsigned int) {
  ENTER(true);
  uint64_t address = 0;
  const CUresult result = device().allocate(bytes, true, &address);
  if (result == CUDA_SUCCESS) *out = reinterpret_cast<void*>(address);
  return result;
}
EXPORT CUresult cuMemFreeHost(void* address) {
  ENTER_TO_RELEASE();
  RELEASED(device().release(reinterpret_cast<uint64_t>(address), true));
}
EXPORT CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* out, void* host, unsigned int) {
  ENTER(true);
  *out = reinterpret_cast<CUdeviceptr>(host);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream handle) {
  ENTER(true);
  Stream* stream = known(device().streams, handle);
  return stream == nullptr ? CUDA_ERROR_INVALID_HANDLE : device().copy(to, from, bytes, stream);
}

// ---- streams and events ----

EXPORT CUresult cuStreamCreate(CUstream* out, unsigned int) {
  ENTER(true);
  return make(device().streams, out);
}
EXPORT CUresult cuStreamDestroy_v2(CUstream handle) {
  ENTER_TO_RELEASE();
  if (Stream* stream = known(device().streams, handle)) device().finish(stream);
  RELEASED(unmake(device().streams, handle));
}
EXPORT CUresult cuStreamSynchronize(CUstream handle) {
  ENTER(true);
  Stream* stream = known(device().streams, handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  device().finish(stream);
  return device().sticky();
}
EXPORT CUresult cuStreamQuery(CUstream handle) {
  ENTER(true);
  Stream* stream = known(device().streams, handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const std::lock_guard lock(device().mutex);
  return stream->work.empty() ? device().lost : CUDA_ERROR_NOT_READY;
}
EXPORT CUresult cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned int) {
  ENTER(true);
  Stream* stream = known(device().streams, handle);
  Event* event = known(device().events, event_handle);
  if (stream == nullptr || event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  device().submit(stream, {Work::kWait, {}, event, event->recorded});
  return CUDA_SUCCESS;
}
EXPORT CUresult cuEventCreate(CUevent* out, unsigned int) {
  ENTER(true);
  return make(device().events, out);
}
EXPORT CUresult cuEventDestroy_v2(CUevent handle) {
  ENTER_TO_RELEASE();
  if (Event* event = known(device().events, handle)) device().finish(event);
  RELEASED(unmake(device().events, handle));
}
EXPORT CUresult cuEventRecord(CUevent event_handle, CUstream handle) {
  ENTER(true);
  Stream* stream = known(device().streams, handle);
  Event* event = known(device().events, event_handle);
  if (stream == nullptr || event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  device().submit(stream, {Work::kRecord, {}, event, ++event->recorded});
  return CUDA_SUCCESS;
}
EXPORT CUresult cuEventQuery(CUevent handle) {
  ENTER(true);
  Event* event = known(device().events, handle);
  if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const std::lock_guard lock(device().mutex);
  return event->done >= event->recorded ? device().lost : CUDA_ERROR_NOT_READY;
}
EXPORT CUresult cuEventSynchronize(CUevent handle) {
  ENTER(true);
  Event* event = known(device().events, handle);
  if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  device().finish(event);
  return device().sticky();
}

// ---- kernels and graphs ----

EXPORT CUresult cuModuleLoadData(CUmodule* out, const void* image) {
  ENTER(true);
  LoadedModule* module = nullptr;
  const CUresult result = device().load(static_cast<const char*>(image), &module);
  if (result == CUDA_SUCCESS) *out = reinterpret_cast<CUmodule>(module);
  return result;
}
EXPORT CUresult cuModuleUnload(CUmodule handle) {
  ENTER_TO_RELEASE();
  RELEASED(unmake(device().modules, handle));
}
EXPORT CUresult cuModuleGetFunction(CUfunction* out, CUmodule handle, const char* name) {
  ENTER(true);
  LoadedModule* module = known(device().modules, handle);
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const auto found = module->code->kernels.find(name);
  if (found == module->code->kernels.end()) return CUDA_ERROR_NOT_FOUND;
  *out = reinterpret_cast<CUfunction>(&found->second);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
                               unsigned int by, unsigned int bz, unsigned int shared, CUstream handle, void** arguments,
                               void** extra) {
  ENTER(true);
  Stream* stream = known(device().streams, handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const CUDA_KERNEL_NODE_PARAMS params{function, gx, gy, gz, bx, by, bz, shared, arguments, extra, nullptr, nullptr};
  Ready one;
  one.nodes.emplace_back();
  if (!fill(one.nodes[0], &params)) return CUDA_ERROR_INVALID_VALUE;
  device().launch(one, stream);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuGraphCreate(CUgraph* out, unsigned int) {
  ENTER(true);
  return make(device().graphs, out);
}
EXPORT CUresult cuGraphDestroy(CUgraph handle) {
  ENTER_TO_RELEASE();
  RELEASED(unmake(device().graphs, handle));
}
EXPORT CUresult cuGraphAddKernelNode_v2(CUgraphNode* out, CUgraph handle, const CUgraphNode* before, size_t n_before,
                                        const CUDA_KERNEL_NODE_PARAMS* params) {
  ENTER(true);
  Graph* graph = known(device().graphs, handle);
  if (graph == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  auto node = std::make_unique<Node>();
  if (!fill(*node, params)) return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < n_before; ++i) {
    node->level = std::max(node->level, reinterpret_cast<const Node*>(before[i])->level + 1);
  }
  *out = reinterpret_cast<CUgraphNode>(node.get());
  graph->nodes.push_back(std::move(node));
  return CUDA_SUCCESS;
}
EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec* out, CUgraph handle, unsigned long long) {
  ENTER(true);
  Graph* graph = known(device().graphs, handle);
  if (graph == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  make(device().ready, out);
  Ready* ready = reinterpret_cast<Ready*>(*out);
  for (const auto& node : graph->nodes) {
    ready->place[node.get()] = ready->nodes.size();
    ready->nodes.push_back(*node);
  }
  return CUDA_SUCCESS;
}
EXPORT CUresult cuGraphExecDestroy(CUgraphExec handle) {
  ENTER_TO_RELEASE();
  RELEASED(unmake(device().ready, handle));
}
EXPORT CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec handle, CUgraphNode node,
                                                  const CUDA_KERNEL_NODE_PARAMS* params) {
  ENTER(true);
  Ready* ready = known(device().ready, handle);
  if (ready == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const auto place = ready->place.find(reinterpret_cast<const Node*>(node));
  if (place == ready->place.end()) return CUDA_ERROR_INVALID_VALUE;
  return fill(ready->nodes[place->second], params) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
EXPORT CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
  ENTER(true);
  Ready* ready = known(device().ready, handle);
  Stream* stream = known(device().streams, stream_handle);
  if (ready == nullptr || stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  device().launch(*ready, stream);
  return CUDA_SUCCESS;
}
