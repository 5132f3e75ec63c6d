#include <algorithm>
#include <base/direct_file.hpp>
#include <utility>

namespace brim {

DirectFile::DirectFile(const File& file) : file_(&file), handle_(os::open_past_cache(file.path())) {
  if (handle_ == os::kNoHandle) return;
  try {
    if (os::state_of(handle_, file.path()) == file.state()) return;
    close();
    file.check_unchanged();  // or its path leads to another file by now: the open one is read, through the cache
  } catch (...) {
    close();
    throw;
  }
}

DirectFile::~DirectFile() { close(); }

DirectFile::DirectFile(DirectFile&& other) noexcept
    : file_(other.file_), handle_(std::exchange(other.handle_, os::kNoHandle)) {}

void DirectFile::close() noexcept {
  if (handle_ != os::kNoHandle) os::close_handle(handle_);
  handle_ = os::kNoHandle;
}

std::span<std::byte> DirectFile::read(uint64_t offset, size_t bytes, std::span<std::byte> window) {
  constexpr size_t kBorder = os::kDirectBorder;
  const auto up = [](uint64_t at) { return (at + kBorder - 1) / kBorder * kBorder; };
  const uint64_t begin = offset / kBorder * kBorder;
  const auto skew = static_cast<size_t>(offset - begin);
  const auto address = reinterpret_cast<uintptr_t>(window.data());
  std::byte* const to = window.data() + (up(address) - address);
  if (direct() && os::read_past_cache(handle_, begin, to, static_cast<size_t>(up(skew + bytes)), skew + bytes))
    return {to + skew, bytes};
  close();
  const std::span<std::byte> out = window.first(bytes);
  file_->read(offset, out);
  file_->forget(offset, bytes);
  return out;
}

}  // namespace brim
