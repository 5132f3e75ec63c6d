// Pipelines of a device: a kernel with its specialization constants, made when first asked for and kept until the
// device is closed; what the driver compiled is kept in `file`. All share one layout: two addresses as push constants,
// no descriptors.
#pragma once

#include <mutex>

#include "driver/functions.hpp"
#include "kernels/kernels.hpp"
#include "kernels/pipeline_file.hpp"

namespace brim_vulkan {

struct Device;

class Pipelines {
 public:
  explicit Pipelines(Memory memory) : made_(memory) {}

  void open(Device* device, const PipelineFile& file);
  void close() noexcept;

  VkPipeline get(Kernel kernel, const uint32_t (&constants)[4]);
  VkPipelineLayout layout() const { return layout_; }

 private:
  struct Made {
    Kernel kernel;
    uint32_t constants[4];
    VkPipeline pipeline;
  };

  void keep();

  Device* device_ = nullptr;
  VkPipelineLayout layout_ = VK_NULL_HANDLE;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  PipelineFile file_;
  uint64_t kept_ = 0;  // bytes that the file had
  std::mutex mutex_;
  Array<Made> made_;
};

// Binds, pushes the addresses, dispatches.
void record_launch(Device* device, VkCommandBuffer commands, const Launch& launch, VkPipeline pipeline);

}  // namespace brim_vulkan
