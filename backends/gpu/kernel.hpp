// The kernels by number, their arguments as C++ structs, and one launch of a kernel.
#pragma once

#include <cstdint>

namespace brim_gpu {

using uint = uint32_t;
#include "arguments.h"

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
  kMatvecDot,
  kNorm,
  kQuantise,
  kRope,
  kRopeAngles,
  kRoute,
  kScatter,
  kSelect,
  kMatmulDot,  // from here on, kernels that a backend may lack
  kMatmulHalf,
  kAttentionMma,
  kMatmulUnpacked,
  kHalve,
};
inline constexpr uint32_t kKernels = 20, kMostKernels = 25;  // that all have; and those besides

struct Launch {
  Kernel kernel;
  uint32_t constants[4];  // what code is made for: formats, kinds, tiles
  uint32_t groups[3];
  uint64_t arguments, run;  // device addresses
};

}  // namespace brim_gpu
