// System memory on Linux, from /proc/meminfo: MemAvailable is the kernel's own estimate of what can be had.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "device/system.hpp"

namespace brim_cpu {
namespace {

uint64_t field(const char* text, const char* name) {
  const char* at = std::strstr(text, name);
  return at == nullptr ? 0 : std::strtoull(at + std::strlen(name), nullptr, 10) * 1024;
}

}  // namespace

SystemMemory system_memory() noexcept {
  char text[2048];
  const int file = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  const ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0) return {};
  text[got] = 0;
  return {field(text, "MemTotal:"), field(text, "MemAvailable:")};
}

}  // namespace brim_cpu
