#include "device/device.hpp"

#include <gpu/described.hpp>

#include "device/buffer.hpp"

namespace brim_vulkan {
namespace {

// What is wanted of a device and what it has, as the chains of structs that Vulkan takes.
struct Features {
  VkPhysicalDeviceFeatures2 core = typed<VkPhysicalDeviceFeatures2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
  VkPhysicalDeviceVulkan11Features v11 =
      typed<VkPhysicalDeviceVulkan11Features>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES);
  VkPhysicalDeviceVulkan12Features v12 =
      typed<VkPhysicalDeviceVulkan12Features>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
  Features() {
    core.pNext = &v11;
    v11.pNext = &v12;
  }
  Features(const Features&) = delete;
};

struct Properties {
  VkPhysicalDeviceProperties2 core = typed<VkPhysicalDeviceProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2);
  VkPhysicalDeviceVulkan11Properties v11 =
      typed<VkPhysicalDeviceVulkan11Properties>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES);
  VkPhysicalDeviceVulkan12Properties v12 =
      typed<VkPhysicalDeviceVulkan12Properties>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES);
  Properties() {
    core.pNext = &v11;
    v11.pNext = &v12;
  }
  Properties(const Properties&) = delete;
};

// The features that kernels are written on, by name, in one place: to ask for and to check.
template <class Each>
void each_needed(Features& f, Each&& each) {
  each("shaderInt64", f.core.features.shaderInt64);
  each("shaderInt16", f.core.features.shaderInt16);
  each("storageBuffer16BitAccess", f.v11.storageBuffer16BitAccess);
  each("storageBuffer8BitAccess", f.v12.storageBuffer8BitAccess);
  each("shaderInt8", f.v12.shaderInt8);
  each("scalarBlockLayout", f.v12.scalarBlockLayout);
  each("bufferDeviceAddress", f.v12.bufferDeviceAddress);
  each("timelineSemaphore", f.v12.timelineSemaphore);
}

void read_properties(const Functions& vk, VkPhysicalDevice device, Properties& p) {
  vk.GetPhysicalDeviceProperties2(device, &p.core);
}

uint32_t compute_family(const Functions& vk, VkPhysicalDevice device) {
  VkQueueFamilyProperties families[16];
  uint32_t n = 16, found = UINT32_MAX;
  vk.GetPhysicalDeviceQueueFamilyProperties(device, &n, families);
  for (uint32_t i = 0; i < n; ++i) {
    if ((families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) == 0) continue;
    // A family without graphics shares the device's time with nobody's screen.
    if (found == UINT32_MAX || (families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) == 0) found = i;
  }
  return found;
}

// Null, or what the device lacks.
const char* lacks(const Functions& vk, VkPhysicalDevice device, const Properties& p) {
  if (p.core.properties.apiVersion < VK_API_VERSION_1_2) return "Vulkan 1.2";
  if (compute_family(vk, device) == UINT32_MAX) return "a compute queue";
  constexpr VkSubgroupFeatureFlags kNeeded = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
  if ((p.v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) == 0 ||
      (p.v11.subgroupSupportedOperations & kNeeded) != kNeeded) {
    return "arithmetic over subgroups";
  }
  Features features;
  vk.GetPhysicalDeviceFeatures2(device, &features.core);
  const char* missing = nullptr;
  each_needed(features, [&](const char* name, VkBool32 has) {
    if (!has && missing == nullptr) missing = name;
  });
  if (missing != nullptr) return missing;
  VkPhysicalDeviceMemoryProperties2 memory =
      typed<VkPhysicalDeviceMemoryProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2);
  vk.GetPhysicalDeviceMemoryProperties2(device, &memory);
  if (arrange_heaps(memory.memoryProperties, p.core.properties.deviceType).n == 0) return "memory that the host sees";
  return nullptr;
}

uint32_t rank_of(VkPhysicalDeviceType type) {
  return type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU ? 0 : type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU ? 1 : 2;
}

void search(brim_plugin* plugin) {
  Functions& vk = plugin->functions;
  const char* why = nullptr;
  vk.GetInstanceProcAddr = open_loader(&why);
  if (vk.GetInstanceProcAddr == nullptr) {
    std::snprintf(plugin->why, sizeof plugin->why, "%s", why);
    return;
  }
  load_global(vk);
  uint32_t version = 0;
  if (vk.EnumerateInstanceVersion == nullptr || vk.EnumerateInstanceVersion(&version) != VK_SUCCESS ||
      version < VK_API_VERSION_1_2) {
    std::snprintf(plugin->why, sizeof plugin->why, "the Vulkan loader is older than 1.2; install a newer one");
    return;
  }
  VkApplicationInfo application = typed<VkApplicationInfo>(VK_STRUCTURE_TYPE_APPLICATION_INFO);
  application.pEngineName = "brim";
  application.apiVersion = VK_API_VERSION_1_2;
  VkInstanceCreateInfo info = typed<VkInstanceCreateInfo>(VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO);
  info.pApplicationInfo = &application;
  const VkResult result = vk.CreateInstance(&info, nullptr, &plugin->instance);
  if (result != VK_SUCCESS) {
    std::snprintf(plugin->why, sizeof plugin->why, "no Vulkan driver is installed (vkCreateInstance: %s)",
                  result_name(result));
    return;
  }
  load_instance(vk, plugin->instance);

  VkPhysicalDevice devices[64];
  uint32_t n = 64, software = 0, gpus = 0;
  vk.EnumeratePhysicalDevices(plugin->instance, &n, devices);
  for (uint32_t rank = 0; rank < 3; ++rank) {
    for (uint32_t i = 0; i < n; ++i) {
      Properties p;
      read_properties(vk, devices[i], p);
      if (rank_of(p.core.properties.deviceType) != rank) continue;
      const bool is_software = p.core.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
      if (!(is_software ? plugin->software : plugin->gpus)) {
        ++(is_software ? software : gpus);
        continue;
      }
      const char* missing = lacks(vk, devices[i], p);
      if (missing == nullptr) {
        plugin->found.push_back({devices[i], nullptr});
      } else {
        std::snprintf(plugin->why, sizeof plugin->why, "%.100s lacks %s", p.core.properties.deviceName, missing);
      }
    }
  }
  if (!plugin->found.empty() || plugin->why[0] != 0) return;
  if (gpus != 0) {
    std::snprintf(plugin->why, sizeof plugin->why,
                  "this backend has not been tried on a GPU yet, so the GPUs here (%u) are used only where "
                  "backend.vulkan.gpus = true says so",
                  gpus);
  } else if (software != 0) {
    std::snprintf(plugin->why, sizeof plugin->why,
                  "only software devices are here, which the CPU backend outruns; set backend.vulkan.software = true "
                  "to use them");
  } else {
    std::snprintf(plugin->why, sizeof plugin->why, "the Vulkan drivers here show no device");
  }
}

bool has_extension(const Array<VkExtensionProperties>& all, const char* name) {
  return std::any_of(all.begin(), all.end(), [&](const auto& e) { return std::strcmp(e.extensionName, name) == 0; });
}

uint64_t word_of(const uint8_t* bytes) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

void describe(Device* d, const Properties& p) {
  const VkPhysicalDeviceProperties& core = p.core.properties;
  d->type = core.deviceType;
  d->subgroup = p.v11.subgroupSize;
  d->shared_memory = core.limits.maxComputeSharedMemorySize;
  d->max_groups = std::min({core.limits.maxComputeWorkGroupCount[0], core.limits.maxComputeWorkGroupCount[1],
                            core.limits.maxComputeWorkGroupCount[2]});
  d->max_alloc = p.v11.maxMemoryAllocationSize;
  d->uuid[0] = word_of(p.v11.deviceUUID);
  d->uuid[1] = word_of(p.v11.deviceUUID + 8);
  std::snprintf(d->name, sizeof d->name, "%.200s", core.deviceName);
  std::snprintf(d->driver, sizeof d->driver, "%.100s %.100s", p.v12.driverName, p.v12.driverInfo);
  std::snprintf(d->architecture, sizeof d->architecture, "Vulkan %u.%u, subgroups of %u",
                VK_API_VERSION_MAJOR(core.apiVersion), VK_API_VERSION_MINOR(core.apiVersion), d->subgroup);
}

// Of a device with VK_KHR_shader_integer_dot_product, which says with `has` what it is good at.
bool takes_integer_dot(const Device& d, const VkPhysicalDeviceShaderIntegerDotProductPropertiesKHR& has) {
  if (d.plugin->integer_dot == brim_plugin::IntegerDot::kFalse) return false;
  VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR feature =
      typed<VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR>(
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR);
  VkPhysicalDeviceFeatures2 all = typed<VkPhysicalDeviceFeatures2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
  all.pNext = &feature;
  d.plugin->functions.GetPhysicalDeviceFeatures2(d.physical, &all);
  return feature.shaderIntegerDotProduct && (d.plugin->integer_dot == brim_plugin::IntegerDot::kTrue ||
                                             has.integerDotProduct4x8BitPackedSignedAccelerated);
}

void open(Device* d) {
  const Functions& vk = d->plugin->functions;
  Properties p;
  VkPhysicalDevicePCIBusInfoPropertiesEXT pci =
      typed<VkPhysicalDevicePCIBusInfoPropertiesEXT>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT);
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT import = typed<VkPhysicalDeviceExternalMemoryHostPropertiesEXT>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT);
  VkPhysicalDeviceShaderIntegerDotProductPropertiesKHR dot =
      typed<VkPhysicalDeviceShaderIntegerDotProductPropertiesKHR>(
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES_KHR);

  Array<VkExtensionProperties> extensions(d->host());
  uint32_t n = 0;
  vk.EnumerateDeviceExtensionProperties(d->physical, nullptr, &n, nullptr);
  extensions.resize(n);
  vk.EnumerateDeviceExtensionProperties(d->physical, nullptr, &n, extensions.data());
  extensions.resize(n);
  const char* wanted[3];
  uint32_t n_wanted = 0;
  d->has_budget = has_extension(extensions, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  if (d->has_budget) wanted[n_wanted++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
  d->has_pci = has_extension(extensions, VK_EXT_PCI_BUS_INFO_EXTENSION_NAME);
  const bool imports = has_extension(extensions, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  if (imports) wanted[n_wanted++] = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
  const bool has_dot = has_extension(extensions, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
  if (d->has_pci) {
    pci.pNext = p.v12.pNext;
    p.v12.pNext = &pci;
  }
  if (imports) {
    import.pNext = p.v12.pNext;
    p.v12.pNext = &import;
  }
  if (has_dot) {
    dot.pNext = p.v12.pNext;
    p.v12.pNext = &dot;
  }
  read_properties(vk, d->physical, p);
  describe(d, p);
  if (d->has_pci) {
    d->pci =
        uint64_t{pci.pciDomain} << 32 | uint64_t{pci.pciBus} << 16 | uint64_t{pci.pciDevice} << 8 | pci.pciFunction;
  }
  VkPhysicalDeviceMemoryProperties2 memory =
      typed<VkPhysicalDeviceMemoryProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2);
  vk.GetPhysicalDeviceMemoryProperties2(d->physical, &memory);
  d->memory = memory.memoryProperties;
  d->heaps = arrange_heaps(d->memory, d->type);

  Features features;
  each_needed(features, [](const char*, VkBool32& feature) { feature = VK_TRUE; });
  VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot_feature =
      typed<VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR>(
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR);
  d->integer_dot = has_dot && takes_integer_dot(*d, dot);
  if (d->integer_dot) {
    wanted[n_wanted++] = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME;
    dot_feature.shaderIntegerDotProduct = VK_TRUE;
    features.v12.pNext = &dot_feature;
  }
  d->queue_family = compute_family(vk, d->physical);
  const float priority = 1.0f;
  VkDeviceQueueCreateInfo queue = typed<VkDeviceQueueCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO);
  queue.queueFamilyIndex = d->queue_family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  VkDeviceCreateInfo info = typed<VkDeviceCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO);
  info.pNext = &features.core;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  info.enabledExtensionCount = n_wanted;
  info.ppEnabledExtensionNames = wanted;
  check(vk.CreateDevice(d->physical, &info, nullptr, &d->handle), "opening the device");
  d->vk = vk;
  load_device(d->vk, d->handle);
  d->vk.GetDeviceQueue(d->handle, d->queue_family, 0, &d->queue);
  d->pipelines.open(d, pipeline_file(d->plugin->cache, p.core.properties));
  // A card would read every weight through its bus for every token.
  const bool in_system_memory = d->heaps.heap[0].system;
  if (imports && in_system_memory && d->vk.GetMemoryHostPointerPropertiesEXT != nullptr) {
    d->import_alignment = import.minImportedHostPointerAlignment;
    if (!import_works(d)) d->import_alignment = 0;
  }
}

const Heap& heap_of(const Device* device, uint32_t heap) {
  if (heap >= device->heaps.n) {
    fail(BRIM_INVALID_ARGUMENT, "%s has %u heaps; heap %u was asked for", device->name, device->heaps.n, heap);
  }
  return device->heaps.heap[heap];
}

}  // namespace

brim_plugin* create_plugin(const brim_host_api* api, brim_host* host, const brim_create_info* info) {
  const Memory memory{api, host};
  brim_plugin* plugin = make<brim_plugin>(memory, memory);
  try {
    if (info != nullptr) {
      constexpr const char* kWhere = "the Vulkan backend";
      each_setting(
          kWhere, info->settings, info->n_settings, info->setting_stride,
          {"gpus", "software", "reversed", "cache", "integer_dot"}, [&](std::string_view key, std::string_view value) {
            if (key == "cache") {
              if (value.size() >= sizeof plugin->cache) {
                fail(BRIM_INVALID_ARGUMENT, "%s: the path in setting 'cache' has %zu characters; at most %zu are taken",
                     kWhere, value.size(), sizeof plugin->cache - 1);
              }
              std::memcpy(plugin->cache, value.data(), value.size());
              plugin->cache[value.size()] = 0;
              return;
            }
            if (key == "integer_dot") {
              using Dot = brim_plugin::IntegerDot;
              if (value != "auto" && value != "true" && value != "false") {
                fail(BRIM_INVALID_ARGUMENT, "%s: setting 'integer_dot' is '%.*s'; expected auto, true or false", kWhere,
                     static_cast<int>(std::min<size_t>(value.size(), 40)), value.data());
              }
              plugin->integer_dot = value == "auto" ? Dot::kAuto : value == "true" ? Dot::kTrue : Dot::kFalse;
              return;
            }
            bool& setting = key == "gpus" ? plugin->gpus : key == "software" ? plugin->software : plugin->reversed;
            setting = truth(kWhere, key, value);
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
  if (!plugin->searched) search(plugin);
  plugin->searched = true;
  if (why != nullptr) *why = {plugin->why, std::strlen(plugin->why)};
  return static_cast<uint32_t>(plugin->found.size());
}

brim_device* open_device(brim_plugin* plugin, uint32_t index) {
  const uint32_t n = count_devices(plugin, nullptr);
  if (index >= n) fail(BRIM_NOT_FOUND, "the Vulkan backend has %u devices; device %u was asked for", n, index);
  const std::lock_guard lock(plugin->mutex);
  brim_device* handle = make<brim_device>(plugin->memory, brim_device{plugin->found[index].device});
  if (handle->shared == nullptr) {
    try {
      handle->shared = make<Device>(plugin->memory, plugin);
      handle->shared->physical = plugin->found[index].physical;
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
  const brim_gpu::Described described =
      brim_gpu::read_description("the description of a Vulkan device", settings, n, stride,
                                 {"name", "memory", "bandwidth", "type"}, [](std::string_view, std::string_view) {});
  brim_device* handle = brim_gpu::make_described<brim_device, Device>(plugin, described);
  Device* d = handle->shared;
  d->type = described.integrated ? VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU : VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
  // Its own memory; a card's next to the system's, of which the description says nothing.
  d->memory.memoryHeapCount = d->memory.memoryTypeCount = described.integrated ? 1 : 2;
  d->memory.memoryHeaps[0] = {described.memory, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
  d->memory.memoryTypes[0] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
  constexpr VkMemoryPropertyFlags kHost =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  if (described.integrated) {
    d->memory.memoryTypes[0].propertyFlags |= kHost;
  } else {
    d->memory.memoryHeaps[1] = {described.memory, 0};
    d->memory.memoryTypes[1] = {kHost, 1};
  }
  d->heaps = arrange_heaps(d->memory, d->type);
  d->max_alloc = UINT64_MAX;
  d->max_groups = 65535;  // what Vulkan guarantees
  d->integer_dot = plugin->integer_dot != brim_plugin::IntegerDot::kFalse;
  std::snprintf(d->architecture, sizeof d->architecture, "Vulkan 1.2");
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
  switch (device->type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      info.type = BRIM_DEVICE_DISCRETE;
      break;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      info.type = BRIM_DEVICE_INTEGRATED;
      break;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
      info.type = BRIM_DEVICE_CPU;
      break;
    default:
      info.type = BRIM_DEVICE_ACCELERATOR;
  }
  info.flags = BRIM_DEVICE_ANY_KV | (device->live() ? BRIM_DEVICE_LIVE : 0);
  info.n_heaps = device->heaps.n;
  info.uuid[0] = device->uuid[0];
  info.uuid[1] = device->uuid[1];
  info.pci = device->pci;
  info.subgroup = device->subgroup;
  info.max_binding = UINT64_MAX;  // kernels take addresses, not bindings
  info.shared_memory = device->shared_memory;
  info.name = {device->name, std::strlen(device->name)};
  info.driver = {device->driver, std::strlen(device->driver)};
  info.architecture = {device->architecture, std::strlen(device->architecture)};
  answer(out, info);
}

void fill_heap_info(Device* device, uint32_t index, brim_heap_info* out) {
  const Heap& heap = heap_of(device, index);
  brim_heap_info info{};
  info.flags = heap.flags;
  if (index == 0 && device->import_alignment != 0) info.flags |= BRIM_HEAP_IMPORT_HOST;
  if (heap.system) {
    info.pool_id[0] = BRIM_POOL_SYSTEM;
  } else {
    info.pool_id[0] = device->uuid[0];
    info.pool_id[1] = device->uuid[1];
  }
  info.size = heap_size(device->memory, heap);
  info.alignment = kAlignment;
  for (uint32_t i = 0; i < heap.n_vk_heaps; ++i) {
    info.max_alloc = std::max<uint64_t>(info.max_alloc, device->memory.memoryHeaps[heap.vk_heaps[i]].size);
  }
  info.max_alloc = std::min(info.max_alloc, device->max_alloc);
  if (index == 0) info.read_bandwidth = device->bandwidth;
  answer(out, info);
}

uint64_t heap_budget(Device* device, uint32_t index) {
  const Heap& heap = heap_of(device, index);
  need_alive(device);
  if (!device->has_budget) return heap_available(device->memory, nullptr, heap);
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget =
      typed<VkPhysicalDeviceMemoryBudgetPropertiesEXT>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT);
  VkPhysicalDeviceMemoryProperties2 memory =
      typed<VkPhysicalDeviceMemoryProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2);
  memory.pNext = &budget;
  device->vk.GetPhysicalDeviceMemoryProperties2(device->physical, &memory);
  return heap_available(device->memory, &budget, heap);
}

void need_alive(const Device* device) {
  if (!device->live()) brim_gpu::refuse_described(device->name);
  if (device->lost.load(std::memory_order_relaxed)) {
    fail(BRIM_DEVICE_LOST, "%s was lost before; close it and open it again", device->name);
  }
}

void check_on(Device* device, VkResult result, const char* doing) {
  if (result == VK_ERROR_DEVICE_LOST) device->lost.store(true, std::memory_order_relaxed);
  check(result, doing);
}

Device::Device(brim_plugin* of) : plugin(of), pipelines(of->memory) {}

Device::~Device() {
  if (handle == VK_NULL_HANDLE) return;
  vk.DeviceWaitIdle(handle);
  pipelines.close();
  vk.DestroyDevice(handle, nullptr);
}

}  // namespace brim_vulkan

brim_plugin::~brim_plugin() {
  if (instance != VK_NULL_HANDLE) functions.DestroyInstance(instance, nullptr);
}
