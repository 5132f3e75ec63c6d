// What of this process is resident, as the kernel counts it.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

namespace brim::test {

// Bytes of no file ("RssAnon"), or of mapped files ("RssFile"). 0 where the system does not say.
inline uint64_t resident(const std::string& kind = "RssAnon") {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(kind + ":")) return std::stoull(line.substr(kind.size() + 1)) * 1024;
  }
  return 0;
}

}  // namespace brim::test
