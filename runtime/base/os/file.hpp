// Every call of the operating system that files need, behind one set of functions; os/linux/ and os/windows/ implement
// it. Handles are raw here: File, FileMapping and AtomicFile own them. Paths are UTF-8. Failures throw Error with the
// path, the system's words and a remedy; native_code is errno or GetLastError().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace brim::os {

using Handle = intptr_t;  // file descriptor or HANDLE
inline constexpr Handle kNoHandle = -1;

// What is compared to see that a file is still the one that was opened.
struct FileState {
  uint64_t bytes = 0;
  uint64_t modified = 0;  // nanoseconds on Linux, 100 ns ticks on Windows; only ever compared
  uint64_t device = 0;
  uint64_t node = 0;
  bool operator==(const FileState&) const = default;
};

// Opens a regular file for reading. A directory, a pipe or a device is refused.
Handle open_for_reading(const std::string& path);
// Creates a file that must not exist; kNoHandle if it does.
Handle create_new(const std::string& path);
void close_handle(Handle file) noexcept;

FileState state_of(Handle file, const std::string& path);
// Reads exactly `bytes` bytes at `offset`; fewer in the file is DATA_CORRUPT. [any thread]
void read_at(Handle file, uint64_t offset, void* to, size_t bytes, const std::string& path);
// Reads past the system's file cache want offset, length and memory on this border.
inline constexpr size_t kDirectBorder = 4096;
// A handle for such reads; kNoHandle where the file system has none.
Handle open_past_cache(const std::string& path) noexcept;
// Reads `bytes` bytes, of which the file has at least `least`. False where the system cannot read past its cache into
// that memory: the handle is of no use then. [any thread]
bool read_past_cache(Handle file, uint64_t offset, void* to, size_t bytes, size_t least) noexcept;
// The cache need not keep these bytes.
void forget(Handle file, uint64_t offset, uint64_t bytes) noexcept;
void write_all(Handle file, const void* from, size_t bytes, const std::string& path);
// Makes what was written survive a loss of power.
void flush(Handle file, const std::string& path);
// Puts `from` in the place of `to`, which may exist, in one step.
void rename_over(const std::string& from, const std::string& to);
void remove_quietly(const std::string& path) noexcept;

// What lies in a folder, in no order. (libstdc++'s directory_iterator ends the process where memory ends.)
std::vector<std::string> names_in(const std::string& folder);

// Maps the whole file read-only and shared; `bytes` is its size and not 0.
const std::byte* map(Handle file, size_t bytes, const std::string& path);
void unmap(const std::byte* address, size_t bytes) noexcept;

enum class Access { kNormal, kSequential, kRandom, kWillNeed };
// Hints about whole pages: the system may ignore them, so there is nothing to report.
void advise(const std::byte* address, size_t bytes, Access access) noexcept;
void release(const std::byte* address, size_t bytes) noexcept;

size_t page_size() noexcept;

}  // namespace brim::os
