#include <base/atomic_file.hpp>
#include <base/error.hpp>
#include <utility>

namespace brim {

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  // Another writer, or one that was killed, may hold a name; there are not a thousand of them.
  for (int i = 0; i < 1000; ++i) {
    temporary_ = fmt::format("{}.part{}", path_, i);
    handle_ = os::create_new(temporary_);
    if (handle_ != os::kNoHandle) return;
  }
  fail(BRIM_ALREADY_EXISTS, "cannot create a temporary file beside '{}': '{}' and all before it exist; remove them",
       path_, temporary_);
}

AtomicFile::~AtomicFile() {
  if (handle_ == os::kNoHandle) return;
  os::close_handle(handle_);
  os::remove_quietly(temporary_);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  os::write_all(handle_, bytes.data(), bytes.size(), temporary_);
  written_ += bytes.size();
}

void AtomicFile::commit() {
  os::flush(handle_, temporary_);
  // Windows renames closed files only.
  os::close_handle(std::exchange(handle_, os::kNoHandle));
  try {
    os::rename_over(temporary_, path_);
  } catch (...) {
    os::remove_quietly(temporary_);
    throw;
  }
}

}  // namespace brim
