// The CUDA driver's functions, opened at run time: a plugin that was linked with libcuda could not even say that it is
// missing. The toolkit's cuda.h gives their types when this is built; nothing of the toolkit is needed to run.
#pragma once

#include <cuda.h>

#include <gpu/backend.hpp>
#include <string>

namespace brim_cuda {

using namespace brim_gpu;

// By the names that the library exports: cuda.h renames some to their newest version.
#define BRIM_CUDA_FUNCTIONS(X)                                       \
  X(Init, cuInit)                                                    \
  X(DriverGetVersion, cuDriverGetVersion)                            \
  X(DeviceGetCount, cuDeviceGetCount)                                \
  X(DeviceGet, cuDeviceGet)                                          \
  X(DeviceGetName, cuDeviceGetName)                                  \
  X(DeviceGetUuid, cuDeviceGetUuid_v2)                               \
  X(DeviceTotalMem, cuDeviceTotalMem_v2)                             \
  X(DeviceGetAttribute, cuDeviceGetAttribute)                        \
  X(DevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain)                \
  X(DevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2)           \
  X(CtxPushCurrent, cuCtxPushCurrent_v2)                             \
  X(CtxPopCurrent, cuCtxPopCurrent_v2)                               \
  X(CtxSynchronize, cuCtxSynchronize)                                \
  X(MemGetInfo, cuMemGetInfo_v2)                                     \
  X(MemAlloc, cuMemAlloc_v2)                                         \
  X(MemFree, cuMemFree_v2)                                           \
  X(MemHostAlloc, cuMemHostAlloc)                                    \
  X(MemFreeHost, cuMemFreeHost)                                      \
  X(MemHostGetDevicePointer, cuMemHostGetDevicePointer_v2)           \
  X(MemcpyAsync, cuMemcpyAsync)                                      \
  X(StreamCreate, cuStreamCreate)                                    \
  X(StreamDestroy, cuStreamDestroy_v2)                               \
  X(StreamSynchronize, cuStreamSynchronize)                          \
  X(StreamQuery, cuStreamQuery)                                      \
  X(StreamWaitEvent, cuStreamWaitEvent)                              \
  X(EventCreate, cuEventCreate)                                      \
  X(EventDestroy, cuEventDestroy_v2)                                 \
  X(EventRecord, cuEventRecord)                                      \
  X(EventQuery, cuEventQuery)                                        \
  X(EventSynchronize, cuEventSynchronize)                            \
  X(ModuleLoadData, cuModuleLoadData)                                \
  X(ModuleUnload, cuModuleUnload)                                    \
  X(ModuleGetFunction, cuModuleGetFunction)                          \
  X(LaunchKernel, cuLaunchKernel)                                    \
  X(GraphCreate, cuGraphCreate)                                      \
  X(GraphDestroy, cuGraphDestroy)                                    \
  X(GraphAddKernelNode, cuGraphAddKernelNode_v2)                     \
  X(GraphInstantiate, cuGraphInstantiateWithFlags)                   \
  X(GraphExecDestroy, cuGraphExecDestroy)                            \
  X(GraphExecKernelNodeSetParams, cuGraphExecKernelNodeSetParams_v2) \
  X(GraphLaunch, cuGraphLaunch)

struct Driver {
#define BRIM_X(name, symbol) decltype(&::symbol) name = nullptr;
  BRIM_CUDA_FUNCTIONS(BRIM_X)
#undef BRIM_X
};

// Opens the library at `path`, or the system's where it is empty, and fills the table. Null, or why not: text in `why`.
bool open_driver(const char* path, Driver& driver, char (&why)[256]);

const char* result_name(CUresult result);
// Throws what a failed call means: OUT_OF_MEMORY, DEVICE_LOST, else INTERNAL with the result's name.
void check(CUresult result, const char* doing);
// Results after which a context can do nothing more.
bool is_loss(CUresult result);

}  // namespace brim_cuda
