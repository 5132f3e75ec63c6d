#include <algorithm>
#include <base/error.hpp>
#include <base/mapping.hpp>
#include <limits>
#include <utility>

namespace brim {

File::File(std::string path) : path_(std::move(path)), handle_(os::open_for_reading(path_)) {
  try {
    state_ = os::state_of(handle_, path_);
  } catch (...) {
    os::close_handle(handle_);
    throw;
  }
}

File::~File() {
  if (handle_ != os::kNoHandle) os::close_handle(handle_);
}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)), handle_(std::exchange(other.handle_, os::kNoHandle)), state_(other.state_) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(handle_, other.handle_);
  std::swap(state_, other.state_);
  return *this;
}

void File::read(uint64_t offset, std::span<std::byte> to) const {
  if (offset > size() || to.size() > size() - offset) {
    fail(BRIM_INVALID_ARGUMENT, "cannot read {} bytes at {} of '{}': it has {} bytes", to.size(), offset, path_,
         size());
  }
  os::read_at(handle_, offset, to.data(), to.size(), path_);
}

void File::check_unchanged() const {
  const os::FileState now = os::state_of(handle_, path_);
  if (now.bytes != state_.bytes) {
    fail(BRIM_FAILED_PRECONDITION,
         "'{}' changed while it was in use: it had {} bytes when it was opened, now it has {}; open it again, and "
         "replace model files by renaming, never in place",
         path_, state_.bytes, now.bytes);
  }
  if (now != state_) {
    fail(BRIM_FAILED_PRECONDITION,
         "'{}' changed while it was in use: it was written to since it was opened; open it again, and replace model "
         "files by renaming, never in place",
         path_);
  }
}

FileMapping::FileMapping(std::string path) : file_(std::move(path)) {
  if (size() == 0) fail(BRIM_DATA_CORRUPT, "'{}' is empty (0 bytes); get the file again", this->path());
  if (size() > std::numeric_limits<size_t>::max()) {
    fail(BRIM_UNSUPPORTED, "'{}' has {} bytes, more than this process can address; use a 64-bit build", this->path(),
         size());
  }
  data_ = os::map(file_.handle_, static_cast<size_t>(size()), this->path());
}

FileMapping::~FileMapping() {
  if (data_) os::unmap(data_, static_cast<size_t>(size()));
}

FileMapping::FileMapping(FileMapping&& other) noexcept
    : file_(std::move(other.file_)), data_(std::exchange(other.data_, nullptr)) {}

FileMapping& FileMapping::operator=(FileMapping&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(data_, other.data_);
  return *this;
}

void FileMapping::advise(os::Access access, uint64_t offset, uint64_t bytes) const noexcept {
  if (!data_ || offset >= size()) return;
  const uint64_t page = page_size();
  const uint64_t end = offset + std::min(bytes, size() - offset);
  const uint64_t begin = offset / page * page;
  if (begin < end) os::advise(data_ + begin, static_cast<size_t>(end - begin), access);
}

void FileMapping::release(uint64_t offset, uint64_t bytes) const noexcept {
  if (!data_ || offset >= size()) return;
  const uint64_t page = page_size();
  uint64_t end = offset + std::min(bytes, size() - offset);
  // The last page of the file counts as whole: nothing else lies in it.
  if (end != size()) end = end / page * page;
  const uint64_t begin = (offset + page - 1) / page * page;
  if (begin < end) os::release(data_ + begin, static_cast<size_t>(end - begin));
}

}  // namespace brim
