#include "kernels/pipelines.hpp"

#include "device/device.hpp"

namespace brim_vulkan {
namespace {

constexpr uint32_t kPushBytes = 16;  // arguments, run

}  // namespace

void Pipelines::open(Device* device, const PipelineFile& file) {
  device_ = device;
  file_ = file;
  const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, kPushBytes};
  VkPipelineLayoutCreateInfo layout = typed<VkPipelineLayoutCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO);
  layout.pushConstantRangeCount = 1;
  layout.pPushConstantRanges = &range;
  check_on(device, device->vk.CreatePipelineLayout(device->handle, &layout, nullptr, &layout_), "a pipeline layout");
  const Array<std::byte> kept = read_pipelines(device->host(), file);
  kept_ = kept.size();
  VkPipelineCacheCreateInfo cache = typed<VkPipelineCacheCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO);
  cache.initialDataSize = kept.size();
  cache.pInitialData = kept.data();
  check_on(device, device->vk.CreatePipelineCache(device->handle, &cache, nullptr, &cache_), "a pipeline cache");
}

// The driver's cache only grows, so one of the old size has nothing new.
void Pipelines::keep() {
  if (cache_ == VK_NULL_HANDLE || file_.path[0] == 0) return;
  size_t bytes = 0;
  if (device_->vk.GetPipelineCacheData(device_->handle, cache_, &bytes, nullptr) != VK_SUCCESS || bytes == kept_)
    return;
  Array<std::byte> data(device_->host());
  data.resize(bytes);
  if (device_->vk.GetPipelineCacheData(device_->handle, cache_, &bytes, data.data()) != VK_SUCCESS) return;
  data.resize(bytes);
  write_pipelines(device_->host(), file_, data);
}

void Pipelines::close() noexcept {
  if (device_ == nullptr) return;
  try {
    keep();
  } catch (const Failure&) {  // no memory for it: it is compiled again next time
  }
  for (const Made& made : made_) device_->vk.DestroyPipeline(device_->handle, made.pipeline, nullptr);
  if (cache_ != VK_NULL_HANDLE) device_->vk.DestroyPipelineCache(device_->handle, cache_, nullptr);
  if (layout_ != VK_NULL_HANDLE) device_->vk.DestroyPipelineLayout(device_->handle, layout_, nullptr);
}

VkPipeline Pipelines::get(Kernel kernel, const uint32_t (&constants)[4]) {
  const std::lock_guard lock(mutex_);
  for (const Made& made : made_) {
    if (made.kernel == kernel && std::equal(constants, constants + 4, made.constants)) return made.pipeline;
  }
  made_.reserve(made_.size() + 1);  // so that a pipeline that was made is kept
  const Module& module = module_of(kernel);
  VkShaderModuleCreateInfo code = typed<VkShaderModuleCreateInfo>(VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO);
  code.codeSize = module.n_bytes;
  code.pCode = module.words;
  VkShaderModule shader = VK_NULL_HANDLE;
  check_on(device_, device_->vk.CreateShaderModule(device_->handle, &code, nullptr, &shader), module.name);
  const uint32_t values[5] = {kThreads[static_cast<uint32_t>(kernel)], constants[0], constants[1], constants[2],
                              constants[3]};
  VkSpecializationMapEntry entries[5];
  for (uint32_t i = 0; i < 5; ++i) entries[i] = {i, i * 4, 4};
  const VkSpecializationInfo specialization{5, entries, sizeof values, values};
  VkComputePipelineCreateInfo info = typed<VkComputePipelineCreateInfo>(VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO);
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = shader;
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = &specialization;
  info.layout = layout_;
  VkPipeline pipeline = VK_NULL_HANDLE;
  const VkResult result = device_->vk.CreateComputePipelines(device_->handle, cache_, 1, &info, nullptr, &pipeline);
  device_->vk.DestroyShaderModule(device_->handle, shader, nullptr);
  check_on(device_, result, module.name);
  made_.push_back({kernel, {constants[0], constants[1], constants[2], constants[3]}, pipeline});
  return pipeline;
}

void record_launch(Device* device, VkCommandBuffer commands, const Launch& launch, VkPipeline pipeline) {
  const uint64_t addresses[2] = {launch.arguments, launch.run};
  device->vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
  device->vk.CmdPushConstants(commands, device->pipelines.layout(), VK_SHADER_STAGE_COMPUTE_BIT, 0, kPushBytes,
                              addresses);
  device->vk.CmdDispatch(commands, launch.groups[0], launch.groups[1], launch.groups[2]);
}

}  // namespace brim_vulkan
