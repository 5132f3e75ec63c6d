#include "driver/functions.hpp"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace brim_vulkan {

PFN_vkGetInstanceProcAddr open_loader(const char** why) {
#if defined(_WIN32)
  *why = "no Vulkan driver (vulkan-1.dll not found)";
  const HMODULE library = LoadLibraryExA("vulkan-1.dll", nullptr, LOAD_LIBRARY_SEARCH_SYSTEM32);
  if (library == nullptr) return nullptr;
  return reinterpret_cast<PFN_vkGetInstanceProcAddr>(
      reinterpret_cast<void*>(GetProcAddress(library, "vkGetInstanceProcAddr")));
#else
  *why = "no Vulkan driver (libvulkan.so.1 not found)";
  void* library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  return reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library, "vkGetInstanceProcAddr"));
#endif
}

void load_global(Functions& f) {
#define BRIM_X(name) f.name = reinterpret_cast<PFN_vk##name>(f.GetInstanceProcAddr(nullptr, "vk" #name));
  BRIM_VULKAN_GLOBAL(BRIM_X)
#undef BRIM_X
}

void load_instance(Functions& f, VkInstance instance) {
#define BRIM_X(name) f.name = reinterpret_cast<PFN_vk##name>(f.GetInstanceProcAddr(instance, "vk" #name));
  BRIM_VULKAN_INSTANCE(BRIM_X)
#undef BRIM_X
}

void load_device(Functions& f, VkDevice device) {
#define BRIM_X(name) f.name = reinterpret_cast<PFN_vk##name>(f.GetDeviceProcAddr(device, "vk" #name));
  BRIM_VULKAN_DEVICE(BRIM_X)
#undef BRIM_X
  f.GetMemoryHostPointerPropertiesEXT = reinterpret_cast<PFN_vkGetMemoryHostPointerPropertiesEXT>(
      f.GetDeviceProcAddr(device, "vkGetMemoryHostPointerPropertiesEXT"));
}

const char* result_name(VkResult result) {
  switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
      return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
      return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED:
      return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST:
      return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_EXTENSION_NOT_PRESENT:
      return "VK_ERROR_EXTENSION_NOT_PRESENT";
    case VK_ERROR_FEATURE_NOT_PRESENT:
      return "VK_ERROR_FEATURE_NOT_PRESENT";
    case VK_ERROR_INCOMPATIBLE_DRIVER:
      return "VK_ERROR_INCOMPATIBLE_DRIVER";
    case VK_ERROR_INVALID_EXTERNAL_HANDLE:
      return "VK_ERROR_INVALID_EXTERNAL_HANDLE";
    default:
      return "another VkResult";
  }
}

void check(VkResult result, const char* doing) {
  if (result >= VK_SUCCESS) return;
  Failure failure;
  failure.native_code = result;
  switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
      failure.code = BRIM_OUT_OF_MEMORY;
      break;
    case VK_ERROR_DEVICE_LOST:
      failure.code = BRIM_DEVICE_LOST;
      break;
    default:
      failure.code = BRIM_INTERNAL;
  }
  std::snprintf(failure.message, sizeof failure.message, "%s: the Vulkan driver answered %s (%d)", doing,
                result_name(result), static_cast<int>(result));
  throw failure;
}

}  // namespace brim_vulkan
