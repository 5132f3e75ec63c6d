// The kernels by number, their arguments as C++ structs, and their SPIR-V, which the build made of kernels/*.comp.
#pragma once

#include <cstdint>

namespace brim_vulkan {

using uint = uint32_t;
#include "kernels/arguments.h"

enum class Kernel : uint32_t {
  kAttention,
  kAttentionJoin,
  kBatched,
  kCombine,
  kConv,
  kCopy,
  kElementwise,
  kGather,
  kKvWrite,
  kLinearAttention,
  kMatmul,
  kMatvec,
  kNorm,
  kRope,
  kRopeAngles,
  kRoute,
  kScatter,
  kSelect,
};
inline constexpr uint32_t kKernels = 18;

struct Module {
  const char* name;
  const uint32_t* words;
  uint64_t n_bytes;
  uint32_t threads;  // of a work group
};
const Module& module_of(Kernel kernel);

// One dispatch of a kernel.
struct Launch {
  Kernel kernel;
  uint32_t constants[4];  // specialization constants 1 .. 4; 0 is the number of threads
  uint32_t groups[3];
  uint64_t arguments, run;  // device addresses
};

}  // namespace brim_vulkan
