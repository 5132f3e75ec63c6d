// A file read past the system's cache, for what is read once and kept elsewhere: where a device computes from the
// system's memory, the cache would hold a model's weights a second time beside the device's copy. Where the file system
// or the memory that is read into cannot do that, reads go through the cache, which is told to forget them.
#pragma once

#include <base/mapping.hpp>
#include <span>

namespace brim {

class DirectFile {
 public:
  // `file` outlives this. Throws FAILED_PRECONDITION where it changed.
  explicit DirectFile(const File& file);
  ~DirectFile();
  DirectFile(DirectFile&& other) noexcept;
  DirectFile& operator=(DirectFile&&) = delete;

  // Room that `window` needs to read so many bytes, wherever they and it begin.
  static constexpr size_t window_bytes(size_t bytes) { return bytes + 3 * os::kDirectBorder; }
  // Reads [offset, offset + bytes) somewhere into `window` and says where. Throws what File::read throws. [one thread]
  std::span<std::byte> read(uint64_t offset, size_t bytes, std::span<std::byte> window);

  // So far all was read past the cache.
  bool direct() const { return handle_ != os::kNoHandle; }

 private:
  void close() noexcept;

  const File* file_;
  os::Handle handle_ = os::kNoHandle;
};

}  // namespace brim
