#include "kernels/modules.hpp"

#include <bit>

#include "device/device.hpp"

// The build lists the images in images.inc, one BRIM_IMAGE(part, kind, architecture, file) a line. Their labels are the
// assembler's, which this file alone sees.
#if defined(_WIN32)
#define BRIM_CONSTANTS ".section .rdata,\"dr\"\n"
#define BRIM_CODE_AGAIN ".text\n"
#define BRIM_HIDDEN
#else
#define BRIM_CONSTANTS ".pushsection .rodata\n"
#define BRIM_CODE_AGAIN ".popsection\n"
#define BRIM_HIDDEN __attribute__((visibility("hidden")))
#endif
#define BRIM_IMAGE(part, kind, architecture, file)                                                       \
  asm(BRIM_CONSTANTS ".balign 16\nbrim_cuda_" #part "_" #kind #architecture ":\n.incbin \"" file         \
                     "\"\nbrim_cuda_" #part "_" #kind #architecture "_end:\n.byte 0\n" BRIM_CODE_AGAIN); \
  extern "C" BRIM_HIDDEN const char brim_cuda_##part##_##kind##architecture[];                           \
  extern "C" BRIM_HIDDEN const char brim_cuda_##part##_##kind##architecture##_end[];
#include <images.inc>
#undef BRIM_IMAGE

namespace brim_cuda {
namespace {

constexpr Part attention = Part::kAttention, attention_mma = Part::kAttentionMma, copy = Part::kCopy,
               elementwise = Part::kElementwise, items = Part::kItems, matmul = Part::kMatmul,
               matmul_dot = Part::kMatmulDot, matmul_half = Part::kMatmulHalf, matmul_unpacked = Part::kMatmulUnpacked,
               matvec = Part::kMatvec, matvec_dot = Part::kMatvecDot, quantise = Part::kQuantise, rows = Part::kRows;
constexpr bool ptx = true, cubin = false;

const Image* find_image(Part part, bool is_ptx, uint32_t capability) {
  uint32_t n = 0;
  const Image* all = images(&n);
  const Image* best = nullptr;
  for (uint32_t i = 0; i < n; ++i) {
    const Image& image = all[i];
    // Machine code runs on its own major number from its minor one on, PTX on all that came later.
    const bool fits = image.part == part && image.ptx == is_ptx && image.architecture <= capability &&
                      (is_ptx || image.architecture / 10 == capability / 10);
    if (fits && (best == nullptr || image.architecture > best->architecture)) best = &image;
  }
  return best;
}

// In which file the kernel is, and under which name.
Part name_kernel(const Launch& launch, char (&name)[64]) {
  const uint32_t* c = launch.constants;
  const auto format = [&](Part part, const char* text, uint32_t a = 0, uint32_t b = 0, uint32_t d = 0) {
    std::snprintf(name, sizeof name, text, a, b, d);
    return part;
  };
  switch (launch.kernel) {
    case Kernel::kAttention:
      return format(attention, "attention_%u_%u_%u", c[0], c[1], std::bit_ceil(c[3]));
    case Kernel::kAttentionJoin:
      return format(attention, "attention_join");
    case Kernel::kAttentionMma:
      return format(attention_mma, "attention_mma_%u_%u", c[0], c[1]);
    case Kernel::kBatched:
      return format(items, "batched");
    case Kernel::kCombine:
      return format(items, "combine");
    case Kernel::kConv:
      return format(items, "conv");
    case Kernel::kCopy:
      return format(copy, "copy_%u_%u", c[0], c[1]);
    case Kernel::kElementwise:
      return format(elementwise, "elementwise_%u_%u", c[0], c[1]);
    case Kernel::kGather:
      return format(copy, "gather_%u", c[0]);
    case Kernel::kHalve:
      return format(matmul_unpacked, "halve");
    case Kernel::kKvWrite:
      return format(attention, "kv_write_%u", c[0]);
    case Kernel::kLinearAttention:
      return format(items, "linear_attention");
    case Kernel::kMatmul:
      return format(matmul, "matmul_%u_%u", c[0], c[1]);
    case Kernel::kMatmulDot:
      return format(matmul_dot, "matmul_dot_%u_%u", c[0], c[1]);
    case Kernel::kMatmulHalf:
      return format(matmul_half, "matmul_half_%u_%u", c[0], c[1]);
    case Kernel::kMatmulUnpacked:
      return format(matmul_unpacked, "matmul_unpacked_%u_%u", c[0], c[1]);
    case Kernel::kMatvec:
      return format(matvec, "matvec_%u_%u", c[0], c[2]);
    case Kernel::kMatvecDot:
      return format(matvec_dot, "matvec_dot_%u_%u", c[0], c[2]);
    case Kernel::kNorm:
      return format(rows, "norm_%u", c[0]);
    case Kernel::kQuantise:
      return format(quantise, "quantise");
    case Kernel::kRope:
      return format(items, "rope");
    case Kernel::kRopeAngles:
      return format(items, "rope_angles");
    case Kernel::kRoute:
      return format(rows, "route");
    case Kernel::kScatter:
      return format(items, "scatter");
    default:
      return format(rows, "select_best");
  }
}

}  // namespace

const Image* images(uint32_t* n) {
#define BRIM_IMAGE(part, kind, architecture, file)                    \
  {part, architecture, kind, brim_cuda_##part##_##kind##architecture, \
   static_cast<uint64_t>(brim_cuda_##part##_##kind##architecture##_end - brim_cuda_##part##_##kind##architecture)},
  static const Image all[] = {
#include <images.inc>
  };
#undef BRIM_IMAGE
  *n = sizeof all / sizeof all[0];
  return all;
}

void Modules::close() noexcept {
  for (CUmodule& module : loaded_) {
    if (module != nullptr) device_->cu().ModuleUnload(module);
    module = nullptr;
  }
}

CUfunction Modules::get(const Launch& launch) {
  char name[64];
  const Part part = name_kernel(launch, name);
  return get(part, name);
}

CUfunction Modules::get(Part part, const char* name) {
  const std::lock_guard lock(mutex_);
  CUmodule& module = loaded_[static_cast<uint32_t>(part)];
  if (module == nullptr) {
    const Image *code = find_image(part, false, device_->capability),
                *text = find_image(part, true, device_->capability);
    CUresult result = CUDA_ERROR_NO_BINARY_FOR_GPU;
    if (code != nullptr) result = device_->cu().ModuleLoadData(&module, code->data);
    if ((result == CUDA_ERROR_NO_BINARY_FOR_GPU || result == CUDA_ERROR_INVALID_IMAGE) && text != nullptr) {
      result = device_->cu().ModuleLoadData(&module, text->data);
    }
    if (result != CUDA_SUCCESS) module = nullptr;
    check_on(device_, result, "loading kernels");
  }
  CUfunction function = nullptr;
  check_on(device_, device_->cu().ModuleGetFunction(&function, module, name), name);
  return function;
}

}  // namespace brim_cuda
