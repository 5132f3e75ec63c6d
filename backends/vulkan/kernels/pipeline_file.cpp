#include "kernels/pipeline_file.hpp"

#include <cerrno>

namespace brim_vulkan {
namespace {

struct Header {
  char magic[8];
  uint8_t mark[VK_UUID_SIZE];
  uint64_t bytes, checksum;  // of what follows
};
constexpr char kMagic[8] = {'b', 'r', 'i', 'm', 'p', 'i', 'p', '1'};
constexpr uint64_t kMostBytes = 256ull << 20;

struct Close {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using File = std::unique_ptr<std::FILE, Close>;

// FNV-1a.
uint64_t checksum(const Array<std::byte>& data) {
  uint64_t hash = 14695981039346656037ull;
  for (const std::byte b : data) hash = (hash ^ static_cast<uint64_t>(b)) * 1099511628211ull;
  return hash;
}

}  // namespace

PipelineFile pipeline_file(const char* folder, const VkPhysicalDeviceProperties& device) {
  PipelineFile file;
  if (folder[0] == 0) return file;
  std::memcpy(file.mark, device.pipelineCacheUUID, sizeof file.mark);
  const int n = std::snprintf(file.path, sizeof file.path, "%s/vulkan-%08x-%08x-%08x.pipelines", folder,
                              device.vendorID, device.deviceID, device.driverVersion);
  if (n < 0 || static_cast<size_t>(n) >= sizeof file.path) file.path[0] = 0;
  return file;
}

Array<std::byte> read_pipelines(Memory memory, const PipelineFile& file) {
  Array<std::byte> data(memory);
  if (file.path[0] == 0) return data;
  const File opened(std::fopen(file.path, "rb"));
  Header header{};
  if (opened == nullptr || std::fread(&header, sizeof header, 1, opened.get()) != 1) return data;
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 ||
      std::memcmp(header.mark, file.mark, sizeof header.mark) != 0 || header.bytes > kMostBytes) {
    return data;
  }
  data.resize(header.bytes);
  if (std::fread(data.data(), 1, header.bytes, opened.get()) != header.bytes || checksum(data) != header.checksum) {
    data.clear();
  }
  return data;
}

void write_pipelines(Memory memory, const PipelineFile& file, const Array<std::byte>& data) noexcept {
  if (file.path[0] == 0 || data.empty() || data.size() > kMostBytes) return;
  char fresh[sizeof file.path + 8], text[sizeof fresh + 128];
  std::snprintf(fresh, sizeof fresh, "%s.new", file.path);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  std::memcpy(header.mark, file.mark, sizeof header.mark);
  header.bytes = data.size();
  header.checksum = checksum(data);
  File opened(std::fopen(fresh, "wb"));
  bool written = opened != nullptr && std::fwrite(&header, sizeof header, 1, opened.get()) == 1 &&
                 std::fwrite(data.data(), 1, data.size(), opened.get()) == data.size();
  if (opened != nullptr) written = std::fclose(opened.release()) == 0 && written;
  if (written) {
    std::remove(file.path);  // where renaming does not replace
    written = std::rename(fresh, file.path) == 0;
  }
  if (written) return;
  const int n =
      std::snprintf(text, sizeof text, "compiled pipelines were not kept: %s: %s", fresh, std::strerror(errno));
  std::remove(fresh);
  memory.api->log(memory.host, BRIM_LOG_WARNING, {text, static_cast<uint64_t>(n)});
}

}  // namespace brim_vulkan
