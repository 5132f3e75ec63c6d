#include "device/classes.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

#if defined(_WIN32)
#include <windows.h>
#endif

namespace brim_cuda {

Class classify(const Facts& facts) {
  // A device that calls itself discrete with the machine's whole memory contradicts itself.
  const uint64_t difference = std::max(facts.total, facts.system_total) - std::min(facts.total, facts.system_total);
  if (!facts.integrated && !facts.host_page_tables && facts.system_total != 0 && difference < facts.system_total / 20) {
    return Class::kUnknown;
  }
  if (facts.integrated) return facts.host_page_tables && facts.pageable ? Class::kAtsUnified : Class::kUnified;
  return facts.host_page_tables && facts.pageable ? Class::kAtsDiscrete : Class::kDiscrete;
}

const char* class_name(Class c) {
  switch (c) {
    case Class::kAtsUnified:
      return "unified memory, coherent";
    case Class::kUnified:
      return "unified memory";
    case Class::kAtsDiscrete:
      return "own memory, coherent link";
    case Class::kDiscrete:
      return "own memory";
    default:
      return "memory of contradictory readings";
  }
}

uint64_t available(Class c, uint32_t heap, uint64_t total, uint64_t driver_free, uint64_t system_available) {
  if (heap != 0) return system_available;
  switch (c) {
    case Class::kDiscrete:
    case Class::kAtsDiscrete:
      return std::min(driver_free, total);
#if defined(_WIN32)
    case Class::kUnified:  // the driver promises more than there is
#endif
    case Class::kUnknown:
      return std::min({driver_free, total, system_available == 0 ? driver_free : system_available});
    default:
      return std::min(system_available == 0 ? driver_free : system_available, total);
  }
}

#if defined(_WIN32)
SystemMemory system_memory() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof status;
  if (!GlobalMemoryStatusEx(&status)) return {};
  return {status.ullTotalPhys, status.ullAvailPhys};
}
#else
SystemMemory system_memory() {
  SystemMemory memory{};
  std::FILE* file = std::fopen("/proc/meminfo", "re");
  if (file == nullptr) return memory;
  char line[128];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    unsigned long long kib = 0;
    if (std::sscanf(line, "MemTotal: %llu kB", &kib) == 1) memory.total = kib * 1024;
    if (std::sscanf(line, "MemAvailable: %llu kB", &kib) == 1) memory.available = kib * 1024;
  }
  std::fclose(file);
  return memory;
}
#endif

}  // namespace brim_cuda
