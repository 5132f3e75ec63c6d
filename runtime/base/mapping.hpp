// Files for reading: File (positioned reads) and FileMapping (the whole file as memory). Both remember size, time of
// change and identity from when they were opened. A mapped file that is cut short kills the process with SIGBUS at the
// next touch, so check_unchanged() is to be called before each stage that walks through the mapping; between check and
// touch the danger remains, and File with read() is the way that has none. Neither writes; AtomicFile does.
#pragma once

#include <base/os/file.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace brim {

// An open file. Move-only. read() may be called from any thread at once.
class File {
 public:
  // Throws NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT (a directory, a pipe) or IO.
  explicit File(std::string path);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  const std::string& path() const { return path_; }
  // As of the time of opening.
  uint64_t size() const { return state_.bytes; }
  const os::FileState& state() const { return state_; }

  // Fills `to` from `offset` on. A range past size() is INVALID_ARGUMENT; a file that became shorter is DATA_CORRUPT.
  void read(uint64_t offset, std::span<std::byte> to) const;
  // The system's cache need not keep these bytes.
  void forget(uint64_t offset, uint64_t bytes) const noexcept { os::forget(handle_, offset, bytes); }
  // Throws FAILED_PRECONDITION when size or time of change differ from those at opening.
  void check_unchanged() const;

 private:
  friend class FileMapping;
  std::string path_;
  os::Handle handle_ = os::kNoHandle;
  os::FileState state_;
};

// A file mapped read-only as a whole. Move-only; moving keeps addresses.
class FileMapping {
 public:
  // Throws what File throws, and DATA_CORRUPT for an empty file, which cannot be mapped.
  explicit FileMapping(std::string path);
  ~FileMapping();
  FileMapping(FileMapping&& other) noexcept;
  FileMapping& operator=(FileMapping&& other) noexcept;

  const std::string& path() const { return file_.path(); }
  uint64_t size() const { return file_.size(); }
  const std::byte* data() const { return data_; }
  std::span<const std::byte> bytes() const { return {data_, static_cast<size_t>(size())}; }
  // The same file for positioned reads.
  const File& file() const { return file_; }
  void check_unchanged() const { file_.check_unchanged(); }

  // Hints about [offset, offset + bytes), clipped to the file. advise() covers every page the range touches; release()
  // drops only the pages that lie in it wholly (their next use reads the file again). Neither fails.
  void advise(os::Access access, uint64_t offset, uint64_t bytes) const noexcept;
  void release(uint64_t offset, uint64_t bytes) const noexcept;

  static size_t page_size() noexcept { return os::page_size(); }

 private:
  File file_;
  const std::byte* data_ = nullptr;
};

}  // namespace brim
