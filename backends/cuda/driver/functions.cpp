#include "driver/functions.hpp"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace brim_cuda {
namespace {

#if defined(_WIN32)
constexpr const char* kLibrary = "nvcuda.dll";
void* open_library(const char* path) {
  return reinterpret_cast<void*>(
      path[0] == 0
          ? LoadLibraryExA(kLibrary, nullptr, LOAD_LIBRARY_SEARCH_SYSTEM32)
          : LoadLibraryExA(path, nullptr, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS));
}
void* find_symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(reinterpret_cast<HMODULE>(library), name));
}
#else
constexpr const char* kLibrary = "libcuda.so.1";
void* open_library(const char* path) { return dlopen(path[0] == 0 ? kLibrary : path, RTLD_NOW | RTLD_LOCAL); }
void* find_symbol(void* library, const char* name) { return dlsym(library, name); }
#endif

}  // namespace

bool open_driver(const char* path, Driver& driver, char (&why)[256]) {
  void* library = open_library(path);  // stays open: a driver is not made to be unloaded
  if (library == nullptr) {
    std::snprintf(why, sizeof why, "no CUDA driver (%.200s not found)", path[0] == 0 ? kLibrary : path);
    return false;
  }
  const char* missing = nullptr;
#define BRIM_X(name, symbol)                                                            \
  driver.name = reinterpret_cast<decltype(driver.name)>(find_symbol(library, #symbol)); \
  if (driver.name == nullptr && missing == nullptr) missing = #symbol;
  BRIM_CUDA_FUNCTIONS(BRIM_X)
#undef BRIM_X
  if (missing == nullptr) return true;
  std::snprintf(why, sizeof why, "the CUDA driver is too old: it has no %s; one for CUDA 12 or newer has it", missing);
  return false;
}

const char* result_name(CUresult result) {
  switch (result) {
#define BRIM_X(name) \
  case name:         \
    return #name;
    BRIM_X(CUDA_ERROR_INVALID_VALUE)
    BRIM_X(CUDA_ERROR_OUT_OF_MEMORY)
    BRIM_X(CUDA_ERROR_NOT_INITIALIZED)
    BRIM_X(CUDA_ERROR_DEINITIALIZED)
    BRIM_X(CUDA_ERROR_STUB_LIBRARY)
    BRIM_X(CUDA_ERROR_NO_DEVICE)
    BRIM_X(CUDA_ERROR_INVALID_CONTEXT)
    BRIM_X(CUDA_ERROR_NO_BINARY_FOR_GPU)
    BRIM_X(CUDA_ERROR_ECC_UNCORRECTABLE)
    BRIM_X(CUDA_ERROR_INVALID_PTX)
    BRIM_X(CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
    BRIM_X(CUDA_ERROR_NOT_FOUND)
    BRIM_X(CUDA_ERROR_NOT_READY)
    BRIM_X(CUDA_ERROR_ILLEGAL_ADDRESS)
    BRIM_X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)
    BRIM_X(CUDA_ERROR_LAUNCH_TIMEOUT)
    BRIM_X(CUDA_ERROR_HARDWARE_STACK_ERROR)
    BRIM_X(CUDA_ERROR_ILLEGAL_INSTRUCTION)
    BRIM_X(CUDA_ERROR_MISALIGNED_ADDRESS)
    BRIM_X(CUDA_ERROR_INVALID_ADDRESS_SPACE)
    BRIM_X(CUDA_ERROR_INVALID_PC)
    BRIM_X(CUDA_ERROR_LAUNCH_FAILED)
    BRIM_X(CUDA_ERROR_SYSTEM_NOT_READY)
    BRIM_X(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)
    BRIM_X(CUDA_ERROR_UNKNOWN)
#undef BRIM_X
    default:
      return "another CUresult";
  }
}

bool is_loss(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_UNKNOWN:
      return true;
    default:
      return false;
  }
}

void check(CUresult result, const char* doing) {
  if (result == CUDA_SUCCESS) return;
  Failure failure;
  failure.native_code = static_cast<int32_t>(result);
  failure.code = result == CUDA_ERROR_OUT_OF_MEMORY ? BRIM_OUT_OF_MEMORY
                 : is_loss(result)                  ? BRIM_DEVICE_LOST
                                                    : BRIM_INTERNAL;
  std::snprintf(failure.message, sizeof failure.message, "%s: the CUDA driver answered %s (%d)", doing,
                result_name(result), static_cast<int>(result));
  throw failure;
}

}  // namespace brim_cuda
