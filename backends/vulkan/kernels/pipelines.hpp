// Pipelines of a device: a kernel with its specialization constants, made when first asked for and kept until the
// device is closed. All share one layout: two addresses as push constants, no descriptors.
#pragma once

#include <mutex>

#include "driver/functions.hpp"
#include "kernels/kernels.hpp"

namespace brim_vulkan {

struct Device;

class Pipelines {
 public:
  explicit Pipelines(Memory memory) : made_(memory) {}

  void open(Device* device);
  void close() noexcept;

  VkPipeline get(Kernel kernel, const uint32_t (&constants)[4]);
  VkPipelineLayout layout() const { return layout_; }

 private:
  struct Made {
    Kernel kernel;
    uint32_t constants[4];
    VkPipeline pipeline;
  };

  Device* device_ = nullptr;
  VkPipelineLayout layout_ = VK_NULL_HANDLE;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  std::mutex mutex_;
  Array<Made> made_;
};

// Binds, pushes the addresses, dispatches.
void record_launch(Device* device, VkCommandBuffer commands, const Launch& launch, VkPipeline pipeline);

}  // namespace brim_vulkan
