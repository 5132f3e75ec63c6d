// System memory on Windows.
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include "device/system.hpp"

namespace brim_cpu {

SystemMemory system_memory() noexcept {
  MEMORYSTATUSEX status = {};
  status.dwLength = sizeof status;
  if (GlobalMemoryStatusEx(&status) == 0) return {};
  return {status.ullTotalPhys, status.ullAvailPhys};
}

}  // namespace brim_cpu
