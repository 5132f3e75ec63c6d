// What real GPUs' compilers make of the kernels, without the GPUs: Mesa's RADV compiles for any AMD chip that
// RADV_FORCE_FAMILY names and tells registers, spills and shared memory of the code. A kernel that spills, or takes so
// many registers that too few waves are there to hide memory's latency, is found here and not by a user.
//
// The variants are those that the lowering asks for with the widest shapes of the families there are.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "driver/functions.hpp"
#include "kernels/kernels.hpp"

using namespace brim_vulkan;

namespace {

struct Variant {
  std::string name;
  Kernel kernel;
  std::array<uint32_t, 4> constants;
};

std::vector<Variant> variants() {
  std::vector<Variant> all;
  const std::pair<uint32_t, const char*> formats[] = {
      {BRIM_DTYPE_F32, "F32"},    {BRIM_DTYPE_F16, "F16"},       {BRIM_DTYPE_BF16, "BF16"},
      {BRIM_DTYPE_Q4_0, "Q4_0"},  {BRIM_DTYPE_Q4_1, "Q4_1"},     {BRIM_DTYPE_Q5_0, "Q5_0"},
      {BRIM_DTYPE_Q5_1, "Q5_1"},  {BRIM_DTYPE_Q8_0, "Q8_0"},     {BRIM_DTYPE_Q2_K, "Q2_K"},
      {BRIM_DTYPE_Q3_K, "Q3_K"},  {BRIM_DTYPE_Q4_K, "Q4_K"},     {BRIM_DTYPE_Q5_K, "Q5_K"},
      {BRIM_DTYPE_Q6_K, "Q6_K"},  {BRIM_DTYPE_IQ4_NL, "IQ4_NL"}, {BRIM_DTYPE_IQ4_XS, "IQ4_XS"},
      {BRIM_DTYPE_MXFP4, "MXFP4"}};
  for (const auto& [dtype, name] : formats) {
    const std::string format = name;
    all.push_back({"matvec " + format, Kernel::kMatvec, {dtype, 4, 1, 0}});
    all.push_back({"matvec " + format + " x4", Kernel::kMatvec, {dtype, 4, 4, 0}});
    all.push_back({"matvec " + format + " heads", Kernel::kMatvec, {dtype, 4, 1, 1}});
    all.push_back({"matvec " + format + " grouped", Kernel::kMatvec, {dtype, 4, 1, 2}});
    all.push_back({"matmul " + format + " x4", Kernel::kMatmul, {dtype, 4}});
    all.push_back({"gather " + format, Kernel::kGather, {dtype}});
  }
  const std::pair<uint32_t, const char*> states[] = {
      {BRIM_DTYPE_F32, "F32"}, {BRIM_DTYPE_F16, "F16"}, {BRIM_DTYPE_Q8_0, "Q8_0"}};
  for (const auto& [dtype, name] : states) {
    all.push_back({std::string("kv_write ") + name, Kernel::kKvWrite, {dtype}});
    // Heads of 64, 128 and 256, and DeepSeek's 576 of which 512 are V.
    for (const auto& [k, v] : {std::pair{64u, 64u}, {128u, 128u}, {256u, 256u}, {576u, 512u}}) {
      for (const uint32_t rows : {1u, 4u}) {
        char text[64];
        std::snprintf(text, sizeof text, "attention %s %u x%u", name, k, rows);
        all.push_back({text, Kernel::kAttention, {dtype, rows, k, (v + 63) / 64}});
      }
    }
  }
  const std::pair<uint32_t, const char*> with_dot[] = {{BRIM_DTYPE_Q4_0, "Q4_0"},
                                                       {BRIM_DTYPE_Q8_0, "Q8_0"},
                                                       {BRIM_DTYPE_Q4_K, "Q4_K"},
                                                       {BRIM_DTYPE_Q5_K, "Q5_K"},
                                                       {BRIM_DTYPE_Q6_K, "Q6_K"}};
  for (const auto& [dtype, name] : with_dot) {
    const std::string format = name;
    all.push_back({"matvec_dot " + format, Kernel::kMatvecDot, {dtype, 4, 1, 0}});
    all.push_back({"matvec_dot " + format + " x4", Kernel::kMatvecDot, {dtype, 4, 4, 0}});
    all.push_back({"matvec_dot " + format + " heads", Kernel::kMatvecDot, {dtype, 4, 1, 1}});
    all.push_back({"matvec_dot " + format + " grouped", Kernel::kMatvecDot, {dtype, 4, 1, 2}});
  }
  all.push_back({"attention_join", Kernel::kAttentionJoin, {}});
  for (const uint32_t op : {BRIM_OP_SOFTMAX, BRIM_OP_RMS_NORM, BRIM_OP_LAYER_NORM, BRIM_OP_L2_NORM}) {
    all.push_back({"norm " + std::to_string(op), Kernel::kNorm, {op}});
  }
  // {op, kind}: the longest functions there are.
  const std::pair<uint32_t, uint32_t> functions[] = {{BRIM_OP_UNARY, BRIM_UNARY_GELU},
                                                     {BRIM_OP_UNARY, BRIM_UNARY_SIN},
                                                     {BRIM_OP_BINARY, BRIM_BINARY_POW},
                                                     {BRIM_OP_GLU, BRIM_GLU_GELU}};
  for (const auto& [op, kind] : functions) {
    all.push_back({"elementwise " + std::to_string(op) + " " + std::to_string(kind), Kernel::kElementwise, {op, kind}});
  }
  all.push_back({"batched", Kernel::kBatched, {}});
  all.push_back({"combine", Kernel::kCombine, {}});
  all.push_back({"conv", Kernel::kConv, {}});
  all.push_back({"copy F32 F32", Kernel::kCopy, {BRIM_DTYPE_F32, BRIM_DTYPE_F32}});
  all.push_back({"linear_attention 128", Kernel::kLinearAttention, {128}});
  all.push_back({"quantise", Kernel::kQuantise, {}});
  all.push_back({"rope", Kernel::kRope, {}});
  all.push_back({"rope_angles", Kernel::kRopeAngles, {}});
  all.push_back({"route", Kernel::kRoute, {}});
  all.push_back({"scatter", Kernel::kScatter, {}});
  all.push_back({"select", Kernel::kSelect, {}});
  return all;
}

// What a kernel may take on any of the chips. 128 registers leave 2 waves of 64 on each SIMD of the oldest chip.
struct Ceiling {
  Kernel kernel;
  uint32_t registers, shared;  // vector registers of a lane; bytes of a work group
};
constexpr Ceiling kCeilings[] = {
    {Kernel::kAttention, 64, 12288},
    {Kernel::kAttentionJoin, 24, 0},
    {Kernel::kBatched, 24, 0},
    {Kernel::kCombine, 24, 0},
    {Kernel::kConv, 24, 0},
    {Kernel::kCopy, 24, 0},
    {Kernel::kElementwise, 48, 0},
    {Kernel::kGather, 32, 0},
    {Kernel::kKvWrite, 32, 0},
    {Kernel::kLinearAttention, 256, 16384},  // a column of the state stays in registers from token to token
    {Kernel::kMatmul, 48, 17408},
    {Kernel::kMatvec, 112, 4096},
    {Kernel::kMatvecDot, 112, 4096},
    {Kernel::kNorm, 32, 512},
    {Kernel::kQuantise, 24, 512},
    {Kernel::kRope, 24, 0},
    {Kernel::kRopeAngles, 24, 0},
    {Kernel::kRoute, 32, 13312},
    {Kernel::kScatter, 24, 0},
    {Kernel::kSelect, 24, 512},
};
static_assert(std::size(kCeilings) == kKernels);

// A driver that compiles for a chip that is not here.
class NullDevice {
 public:
  explicit NullDevice(const char* family) {
    setenv("RADV_FORCE_FAMILY", family, 1);
    const char* why = nullptr;
    vk_.GetInstanceProcAddr = open_loader(&why);
    if (vk_.GetInstanceProcAddr == nullptr) return;
    load_global(vk_);
    auto application = typed<VkApplicationInfo>(VK_STRUCTURE_TYPE_APPLICATION_INFO);
    application.apiVersion = VK_API_VERSION_1_2;
    auto create = typed<VkInstanceCreateInfo>(VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO);
    create.pApplicationInfo = &application;
    if (vk_.CreateInstance(&create, nullptr, &instance_) != VK_SUCCESS) return;
    load_instance(vk_, instance_);
    VkPhysicalDevice devices[16];
    uint32_t n = 16;
    vk_.EnumeratePhysicalDevices(instance_, &n, devices);
    for (uint32_t i = 0; i < n; ++i) {
      auto properties = typed<VkPhysicalDeviceProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2);
      vk_.GetPhysicalDeviceProperties2(devices[i], &properties);
      if (std::strstr(properties.properties.deviceName, "Null hardware") == nullptr) continue;
      open(devices[i]);
      break;
    }
  }
  ~NullDevice() {
    if (device_ != VK_NULL_HANDLE) {
      vk_.DestroyPipelineLayout(device_, layout_, nullptr);
      vk_.DestroyDevice(device_, nullptr);
    }
    if (instance_ != VK_NULL_HANDLE) vk_.DestroyInstance(instance_, nullptr);
  }
  NullDevice(const NullDevice&) = delete;
  explicit operator bool() const { return device_ != VK_NULL_HANDLE; }

  // Whether it says that it is good at dot products of bytes.
  bool has_dot() const { return has_dot_; }

  // The compiler's statistics by their names.
  std::map<std::string, uint64_t> compile(const Variant& variant) {
    const Module& module = module_of(variant.kernel);
    auto code = typed<VkShaderModuleCreateInfo>(VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO);
    code.codeSize = module.n_bytes;
    code.pCode = module.words;
    VkShaderModule shader = VK_NULL_HANDLE;
    REQUIRE(vk_.CreateShaderModule(device_, &code, nullptr, &shader) == VK_SUCCESS);
    uint32_t values[5] = {kThreads[static_cast<uint32_t>(variant.kernel)]};
    std::copy(variant.constants.begin(), variant.constants.end(), values + 1);
    VkSpecializationMapEntry entries[5];
    for (uint32_t i = 0; i < 5; ++i) entries[i] = {i, i * 4, 4};
    const VkSpecializationInfo specialization{5, entries, sizeof values, values};
    auto info = typed<VkComputePipelineCreateInfo>(VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO);
    info.flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR;
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = shader;
    info.stage.pName = "main";
    info.stage.pSpecializationInfo = &specialization;
    info.layout = layout_;
    VkPipeline pipeline = VK_NULL_HANDLE;
    REQUIRE(vk_.CreateComputePipelines(device_, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline) == VK_SUCCESS);
    auto executable = typed<VkPipelineExecutableInfoKHR>(VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR);
    executable.pipeline = pipeline;
    VkPipelineExecutableStatisticKHR found[64];
    for (auto& f : found)
      f = typed<VkPipelineExecutableStatisticKHR>(VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR);
    uint32_t n = 64;
    REQUIRE(statistics_(device_, &executable, &n, found) == VK_SUCCESS);
    std::map<std::string, uint64_t> all;
    for (uint32_t i = 0; i < n; ++i) all[found[i].name] = found[i].value.u64;
    vk_.DestroyPipeline(device_, pipeline, nullptr);
    vk_.DestroyShaderModule(device_, shader, nullptr);
    return all;
  }

 private:
  void open(VkPhysicalDevice physical) {
    auto executable = typed<VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR);
    auto v12 = typed<VkPhysicalDeviceVulkan12Features>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
    auto v11 = typed<VkPhysicalDeviceVulkan11Features>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES);
    auto features = typed<VkPhysicalDeviceFeatures2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
    auto dot = typed<VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR);
    features.pNext = &v11;
    v11.pNext = &v12;
    v12.pNext = &executable;
    executable.pNext = &dot;
    vk_.GetPhysicalDeviceFeatures2(physical, &features);
    auto dot_properties = typed<VkPhysicalDeviceShaderIntegerDotProductPropertiesKHR>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES_KHR);
    auto properties = typed<VkPhysicalDeviceProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2);
    properties.pNext = &dot_properties;
    vk_.GetPhysicalDeviceProperties2(physical, &properties);
    has_dot_ = dot_properties.integerDotProduct4x8BitPackedSignedAccelerated;
    const float priority = 1.0f;
    auto queue = typed<VkDeviceQueueCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO);
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    const char* extensions[] = {VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME,
                                VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME};
    auto create = typed<VkDeviceCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO);
    create.pNext = &features;
    create.queueCreateInfoCount = 1;
    create.pQueueCreateInfos = &queue;
    create.enabledExtensionCount = 2;
    create.ppEnabledExtensionNames = extensions;
    if (vk_.CreateDevice(physical, &create, nullptr, &device_) != VK_SUCCESS) return;
    load_device(vk_, device_);
    statistics_ = reinterpret_cast<PFN_vkGetPipelineExecutableStatisticsKHR>(
        vk_.GetDeviceProcAddr(device_, "vkGetPipelineExecutableStatisticsKHR"));
    const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, 16};
    auto layout = typed<VkPipelineLayoutCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO);
    layout.pushConstantRangeCount = 1;
    layout.pPushConstantRanges = &range;
    REQUIRE(vk_.CreatePipelineLayout(device_, &layout, nullptr, &layout_) == VK_SUCCESS);
  }

  Functions vk_;
  VkInstance instance_ = VK_NULL_HANDLE;
  VkDevice device_ = VK_NULL_HANDLE;
  VkPipelineLayout layout_ = VK_NULL_HANDLE;
  PFN_vkGetPipelineExecutableStatisticsKHR statistics_ = nullptr;
  bool has_dot_ = false;
};

}  // namespace

TEST_CASE("no kernel spills on AMD's chips, and each keeps to its registers and shared memory") {
  for (const char* family : {"GFX1100", "RENOIR"}) {
    NullDevice device(family);
    if (!device) {
      MESSAGE("skipped: no RADV here that compiles for " << family);
      continue;
    }
    std::printf("%-16s  vector registers  shared memory  waves a SIMD  (the worst variant of each kernel)\n", family);
    for (const Ceiling& ceiling : kCeilings) {
      // A chip that multiplies bytes one by one is not given that kernel, and would need a register for each.
      if (ceiling.kernel == Kernel::kMatvecDot && !device.has_dot()) continue;
      uint64_t registers = 0, shared = 0, waves = UINT64_MAX, variants_seen = 0;
      for (const Variant& variant : variants()) {
        if (variant.kernel != ceiling.kernel) continue;
        const auto found = device.compile(variant);
        CAPTURE(family);
        CAPTURE(variant.name);
        CHECK(found.at("Spilled VGPRs") == 0);
        CHECK(found.at("Spilled SGPRs") == 0);
        CHECK(found.at("Scratch size") == 0);
        CHECK(found.at("VGPRs") <= ceiling.registers);
        CHECK(found.at("LDS size") <= ceiling.shared);
        registers = std::max(registers, found.at("VGPRs"));
        shared = std::max(shared, found.at("LDS size"));
        waves = std::min(waves, found.at("Subgroups per SIMD"));
        ++variants_seen;
      }
      REQUIRE(variants_seen > 0);
      std::printf("%-16s  %16llu  %13llu  %12llu\n", module_of(ceiling.kernel).name,
                  static_cast<unsigned long long>(registers), static_cast<unsigned long long>(shared),
                  static_cast<unsigned long long>(waves));
    }
  }
}
