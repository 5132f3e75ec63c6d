// The Vulkan loader, opened at run time: a plugin that was linked with it could not even say that it is missing. One
// table holds every function that this backend calls; those of a device are fetched from that device, which spares a
// jump through the loader.
#pragma once

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include <gpu/backend.hpp>

namespace brim_vulkan {

using namespace brim_gpu;

#define BRIM_VULKAN_GLOBAL(X) X(CreateInstance) X(EnumerateInstanceVersion)
#define BRIM_VULKAN_INSTANCE(X)                                                                                 \
  X(DestroyInstance)                                                                                            \
  X(EnumeratePhysicalDevices)                                                                                   \
  X(GetPhysicalDeviceProperties2)                                                                               \
  X(GetPhysicalDeviceFeatures2) X(GetPhysicalDeviceMemoryProperties2) X(GetPhysicalDeviceQueueFamilyProperties) \
      X(EnumerateDeviceExtensionProperties) X(CreateDevice) X(GetDeviceProcAddr)
#define BRIM_VULKAN_DEVICE(X)                                                                                        \
  X(DestroyDevice)                                                                                                   \
  X(GetDeviceQueue)                                                                                                  \
  X(QueueSubmit)                                                                                                     \
  X(DeviceWaitIdle) X(AllocateMemory) X(FreeMemory) X(MapMemory) X(CreateBuffer) X(DestroyBuffer)                    \
      X(GetBufferMemoryRequirements) X(BindBufferMemory) X(GetBufferDeviceAddress) X(CreateSemaphore)                \
          X(DestroySemaphore) X(GetSemaphoreCounterValue) X(WaitSemaphores) X(SignalSemaphore) X(CreateShaderModule) \
              X(DestroyShaderModule) X(CreatePipelineLayout) X(DestroyPipelineLayout) X(CreatePipelineCache)         \
                  X(DestroyPipelineCache) X(GetPipelineCacheData) X(CreateComputePipelines) X(DestroyPipeline)       \
                      X(CreateCommandPool) X(DestroyCommandPool) X(AllocateCommandBuffers) X(FreeCommandBuffers)     \
                          X(BeginCommandBuffer) X(EndCommandBuffer) X(CmdBindPipeline) X(CmdPushConstants)           \
                              X(CmdDispatch) X(CmdPipelineBarrier) X(CmdCopyBuffer) X(CmdUpdateBuffer)

struct Functions {
  PFN_vkGetInstanceProcAddr GetInstanceProcAddr = nullptr;
#define BRIM_X(name) PFN_vk##name name = nullptr;
  BRIM_VULKAN_GLOBAL(BRIM_X)
  BRIM_VULKAN_INSTANCE(BRIM_X)
  BRIM_VULKAN_DEVICE(BRIM_X)
#undef BRIM_X
  PFN_vkGetMemoryHostPointerPropertiesEXT GetMemoryHostPointerPropertiesEXT = nullptr;  // where the device has it
};

// A zeroed struct of Vulkan's with its type filled in.
template <class T>
T typed(VkStructureType type) {
  T made{};
  made.sType = type;
  return made;
}

// Opens the loader; null, with a reason that lives for ever, where there is none. It stays open.
PFN_vkGetInstanceProcAddr open_loader(const char** why);

void load_global(Functions& f);
void load_instance(Functions& f, VkInstance instance);
void load_device(Functions& f, VkDevice device);

// Throws what a failed call means: OUT_OF_MEMORY, DEVICE_LOST, else INTERNAL with the result's name.
void check(VkResult result, const char* doing);
const char* result_name(VkResult result);

}  // namespace brim_vulkan
