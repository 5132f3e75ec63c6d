// A file that appears under its name complete or not at all: it is written beside its place under a temporary name,
// flushed, and renamed in one step. Destroyed without commit(), it removes what it wrote.
#pragma once

#include <base/os/file.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace brim {

class AtomicFile {
 public:
  // Creates the temporary file in the folder of `path`. Throws NOT_FOUND (no such folder), PERMISSION_DENIED or IO.
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends.
  void write(std::span<const std::byte> bytes);
  uint64_t written() const { return written_; }
  // Puts the file in its place, over an older one. Nothing can be written afterwards.
  void commit();

 private:
  std::string path_;
  std::string temporary_;
  os::Handle handle_ = os::kNoHandle;
  uint64_t written_ = 0;
};

}  // namespace brim
