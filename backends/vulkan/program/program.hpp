// A program: kernels' arguments in a buffer of its own and one command buffer, recorded when the program is created and
// submitted again for every step.
//
// What changes from step to step is the step block and its counts. They come in a Run block at the head of the
// arguments, which a small command buffer in front of the recorded one writes; so a program may be in the queue several
// times, each with its own step. Launches are as wide as the bucket; kernels read the real counts and leave the rest.
#pragma once

#include <gpu/lower.hpp>

#include "device/queue.hpp"

struct brim_program {
  explicit brim_program(brim_vulkan::Device* of) : device(of) {}
  ~brim_program();

  brim_vulkan::Device* device;
  brim_bucket bucket{};
  uint64_t step_bytes = 0;
  uint32_t launches = 0, barriers = 0;
  uint64_t runs = 0, handing_over_ns = 0;  // the host's time in run_program, all runs together
  brim_buffer* arguments = nullptr;        // Run, then the kernels' arguments
  VkCommandPool pool = VK_NULL_HANDLE;
  VkCommandBuffer commands = VK_NULL_HANDLE;
};

namespace brim_vulkan {

void measure_program(Device* device, const brim_program_info& info, brim_program_cost* out);
brim_program* create_program(Device* device, const brim_program_info& info);
void destroy_program(brim_program* program) noexcept;
void run_program(brim_program* program, brim_queue* queue, const brim_run& run);

}  // namespace brim_vulkan
