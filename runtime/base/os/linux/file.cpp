// os/file.hpp over POSIX calls.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/error.hpp>
#include <base/os/file.hpp>
#include <cerrno>
#include <memory>
#include <string_view>
#include <system_error>

namespace brim::os {
namespace {

[[noreturn]] void fail_with(int code, const std::string& doing, const std::string& path) {
  brim_status status = BRIM_IO;
  const char* remedy = "check the disk and the file system";
  switch (code) {
    case ENOENT:
    case ENOTDIR:
      status = BRIM_NOT_FOUND;
      remedy = "check the path; a relative one starts at the working directory";
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      status = BRIM_PERMISSION_DENIED;
      remedy = "check the owner and the permissions of the file and of its folders";
      break;
    case EMFILE:
    case ENFILE:
      remedy = "close other files or raise the limit (ulimit -n)";
      break;
    case ENOMEM:
      status = BRIM_OUT_OF_MEMORY;
      remedy = "raise the limit on address space (ulimit -v) or the number of mappings (vm.max_map_count)";
      break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      remedy = "make room on the disk or choose another one";
      break;
    case EISDIR:
      status = BRIM_INVALID_ARGUMENT;
      remedy = "give the path of a file, not of a folder";
      break;
    case ELOOP:
    case ENAMETOOLONG:
      status = BRIM_INVALID_ARGUMENT;
      remedy = "check the path";
      break;
    default:
      break;
  }
  throw Error(status, fmt::format("cannot {} '{}': {}; {}", doing, path, std::generic_category().message(code), remedy),
              {}, code, BRIM_DOMAIN_OS);
}

void check_path(const std::string& path, const char* doing) {
  if (path.empty()) fail(BRIM_INVALID_ARGUMENT, "cannot {} a file: the path is empty; give the path of a file", doing);
  if (path.find('\0') != std::string::npos) {
    fail(BRIM_INVALID_ARGUMENT, "cannot {} '{}': the path contains a zero byte; give a clean path", doing,
         path.c_str());
  }
}

int fd(Handle file) { return static_cast<int>(file); }

}  // namespace

Handle open_for_reading(const std::string& path) {
  check_path(path, "open");
  // O_NONBLOCK: opening a pipe that nobody writes would wait for ever; regular files do not heed it.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) fail_with(errno, "open", path);
  struct stat info {};
  const int result = ::fstat(file, &info);
  const int code = errno;
  if (result == 0 && S_ISREG(info.st_mode)) return file;
  ::close(file);
  if (result != 0) fail_with(code, "inspect", path);
  if (S_ISDIR(info.st_mode)) fail_with(EISDIR, "open", path);
  fail(BRIM_INVALID_ARGUMENT, "cannot open '{}': it is a pipe, a socket or a device; give the path of a regular file",
       path);
}

Handle create_new(const std::string& path) {
  check_path(path, "create");
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file >= 0) return file;
  if (errno == EEXIST) return kNoHandle;
  fail_with(errno, "create", path);
}

void close_handle(Handle file) noexcept { ::close(fd(file)); }

FileState state_of(Handle file, const std::string& path) {
  struct stat info {};
  if (::fstat(fd(file), &info) != 0) fail_with(errno, "inspect", path);
  return {.bytes = static_cast<uint64_t>(info.st_size),
          .modified =
              static_cast<uint64_t>(info.st_mtim.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(info.st_mtim.tv_nsec),
          .device = static_cast<uint64_t>(info.st_dev),
          .node = static_cast<uint64_t>(info.st_ino)};
}

void read_at(Handle file, uint64_t offset, void* to, size_t bytes, const std::string& path) {
  auto* out = static_cast<std::byte*>(to);
  size_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::pread(fd(file), out + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_with(errno, "read", path);
    if (got == 0) {
      fail(BRIM_DATA_CORRUPT, "'{}' ends at byte {}, expected {} bytes at {}; it was cut short, get it again", path,
           offset + done, bytes, offset);
    }
    done += static_cast<size_t>(got);
  }
}

Handle open_past_cache(const std::string& path) noexcept {
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_DIRECT);
}

bool read_past_cache(Handle file, uint64_t offset, void* to, size_t bytes, size_t least) noexcept {
  size_t done = 0;
  while (done < least) {
    const ssize_t got =
        ::pread(fd(file), static_cast<std::byte*>(to) + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
    if (done < least && done % kDirectBorder != 0) return false;
  }
  return true;
}

void forget(Handle file, uint64_t offset, uint64_t bytes) noexcept {
  ::posix_fadvise(fd(file), static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_DONTNEED);
}

void write_all(Handle file, const void* from, size_t bytes, const std::string& path) {
  const auto* in = static_cast<const std::byte*>(from);
  size_t done = 0;
  while (done < bytes) {
    const ssize_t put = ::write(fd(file), in + done, bytes - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_with(errno, "write", path);
    done += static_cast<size_t>(put);
  }
}

void flush(Handle file, const std::string& path) {
  if (::fsync(fd(file)) != 0) fail_with(errno, "write", path);
}

void rename_over(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_with(errno, "put the finished file in the place of", to);
}

void remove_quietly(const std::string& path) noexcept { ::unlink(path.c_str()); }

std::vector<std::string> names_in(const std::string& folder) {
  check_path(folder, "list");
  struct Close {
    void operator()(DIR* open) const noexcept { ::closedir(open); }
  };
  const std::unique_ptr<DIR, Close> open(::opendir(folder.c_str()));
  if (!open) fail_with(errno, "list the folder", folder);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(open.get());
    if (!entry && errno != 0) fail_with(errno, "list the folder", folder);
    if (!entry) return names;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
}

const std::byte* map(Handle file, size_t bytes, const std::string& path) {
  void* address = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd(file), 0);
  if (address == MAP_FAILED) fail_with(errno, "map", path);
  return static_cast<const std::byte*>(address);
}

void unmap(const std::byte* address, size_t bytes) noexcept { ::munmap(const_cast<std::byte*>(address), bytes); }

void advise(const std::byte* address, size_t bytes, Access access) noexcept {
  int hint = MADV_NORMAL;
  if (access == Access::kSequential) hint = MADV_SEQUENTIAL;
  if (access == Access::kRandom) hint = MADV_RANDOM;
  if (access == Access::kWillNeed) hint = MADV_WILLNEED;
  ::madvise(const_cast<std::byte*>(address), bytes, hint);
}

void release(const std::byte* address, size_t bytes) noexcept {
  // Unmaps the pages from this process; the page cache keeps them as long as nobody needs the memory.
  ::madvise(const_cast<std::byte*>(address), bytes, MADV_DONTNEED);
}

size_t page_size() noexcept { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }

}  // namespace brim::os
