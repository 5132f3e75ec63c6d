// The SPIR-V of the kernels, which the build made of kernels/*.comp.
#pragma once

#include <gpu/kernel.hpp>

namespace brim_vulkan {

using namespace brim_gpu;

struct Module {
  const char* name;
  const uint32_t* words;
  uint64_t n_bytes;
};
const Module& module_of(Kernel kernel);

inline constexpr uint32_t kThreads[kKernels] = {64,  64, 64, 64, 64, 64, 64, 64, 64, 32,
                                                256, 64, 64, 64, 64, 64, 64, 64, 64, 64};  // of a work group, by Kernel

}  // namespace brim_vulkan
