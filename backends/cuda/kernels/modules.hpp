// The compiled kernels: one image a file of kernels/ and architecture, machine code for some and PTX for all, embedded
// in the library; and the modules of a device, loaded when a kernel of theirs is first asked for.
#pragma once

#include <mutex>

#include "driver/functions.hpp"

namespace brim_cuda {

struct Device;

// Threads of a block, by Kernel.
inline constexpr uint32_t kThreads[kMostKernels] = {128, 64, 64, 64, 64, 64, 64, 64,  64,  32,  256, 64, 128,
                                                    512, 64, 64, 64, 64, 64, 64, 256, 256, 128, 256, 64};
inline constexpr uint32_t kDotOutputs = 8;         // of a block of matvec_dot
inline constexpr uint32_t kMatrixCapability = 80;  // the least that kernels of tensor cores are compiled for
// Where tensor cores multiply F16, added up in F32, at half the rate of bytes; elsewhere it is a quarter.
inline constexpr bool multiplies_halves_fast(uint32_t capability) {
  return capability == 80 || capability == 90 || capability == 100 || capability == 103;
}

// Files of kernels/.
enum class Part : uint32_t {
  kAttention,
  kAttentionMma,
  kCopy,
  kElementwise,
  kItems,
  kMatmul,
  kMatmulDot,
  kMatmulHalf,
  kMatmulUnpacked,
  kMatvec,
  kMatvecDot,
  kQuantise,
  kRows
};
inline constexpr uint32_t kParts = 13;

struct Image {
  Part part;
  uint32_t architecture;  // 75: compute capability 7.5
  bool ptx;
  const char* data;  // PTX ends with a zero
  uint64_t bytes;
};
// All that were embedded.
const Image* images(uint32_t* n);

class Modules {
 public:
  void open(Device* device) { device_ = device; }
  void close() noexcept;  // the device's context is current

  // The kernel of a launch; the context is current.
  CUfunction get(const Launch& launch);
  // The kernel that writes the Run block at the head of every run.
  CUfunction begin_run() { return get(Part::kItems, "begin_run"); }
  // copy_words(from, to, n): addresses, and a number of 4-byte words.
  CUfunction copy_words() { return get(Part::kItems, "copy_words"); }

 private:
  CUfunction get(Part part, const char* name);

  Device* device_ = nullptr;
  std::mutex mutex_;
  CUmodule loaded_[kParts] = {};
};

}  // namespace brim_cuda
