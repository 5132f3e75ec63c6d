#include "driver/host_pages.hpp"

#include <algorithm>
#include <cstdio>

namespace test_cuda {
namespace {
constexpr uint64_t kPage = 4096;
}  // namespace

const HostPages::Mapping* HostPages::find(uint64_t address) {
  if (mappings_.empty()) {
    std::FILE* file = std::fopen("/proc/self/maps", "re");
    if (file == nullptr) return nullptr;
    char line[1024];
    while (std::fgets(line, sizeof line, file) != nullptr) {
      unsigned long long begin = 0, end = 0;
      char rights[8] = {};
      if (std::sscanf(line, "%llx-%llx %4s", &begin, &end, rights) != 3 || rights[0] != 'r') continue;
      const bool writable = rights[1] == 'w';
      if (!mappings_.empty() && mappings_.back().end == begin && mappings_.back().writable == writable) {
        mappings_.back().end = end;
      } else {
        mappings_.push_back({begin, end, writable});
      }
    }
    std::fclose(file);
  }
  const auto after = std::ranges::upper_bound(mappings_, address, {}, &Mapping::begin);
  if (after == mappings_.begin() || address >= (after - 1)->end) return nullptr;
  return &*(after - 1);
}

std::byte* HostPages::at(uint64_t address, uint64_t bytes, bool writes) {
  const Mapping* mapping = find(address);
  if (mapping == nullptr || bytes > mapping->end - address || (writes && !mapping->writable)) return nullptr;
  if (!stale_) return reinterpret_cast<std::byte*>(address);
  const uint64_t page = address / kPage, offset = address % kPage;
  std::vector<std::byte>& copy = copies_[page];
  if (copy.empty()) {
    const auto* from = reinterpret_cast<const std::byte*>(page * kPage);
    copy.assign(from, from + kPage);
  }
  return offset + bytes > kPage ? nullptr : copy.data() + offset;
}

}  // namespace test_cuda
