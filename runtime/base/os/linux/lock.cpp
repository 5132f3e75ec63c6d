// os/lock.hpp over flock, whose locks belong to the open file and not to the process, so that two handles of one
// process exclude each other as well.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <base/error.hpp>
#include <base/os/lock.hpp>
#include <cerrno>
#include <system_error>

namespace brim::os {
namespace {

[[noreturn]] void fail_with(int code, const char* doing, const std::string& path) {
  const brim_status status = code == ENOENT || code == ENOTDIR                  ? BRIM_NOT_FOUND
                             : code == EACCES || code == EPERM || code == EROFS ? BRIM_PERMISSION_DENIED
                                                                                : BRIM_IO;
  throw Error(status,
              fmt::format("cannot {} '{}': {}; name a folder that exists and that this process may write to", doing,
                          path, std::generic_category().message(code)),
              {}, code, BRIM_DOMAIN_OS);
}

}  // namespace

Handle open_or_create(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) fail_with(errno, "open", path);
  return file;
}

void lock(Handle file, const std::string& path) {
  while (::flock(static_cast<int>(file), LOCK_EX) != 0) {
    if (errno != EINTR) fail_with(errno, "lock", path);
  }
}

bool try_lock(Handle file) noexcept { return ::flock(static_cast<int>(file), LOCK_EX | LOCK_NB) == 0; }

void rewrite(Handle file, const void* from, size_t bytes, const std::string& path) {
  const int fd = static_cast<int>(file);
  if (::ftruncate(fd, 0) != 0 || ::lseek(fd, 0, SEEK_SET) != 0) fail_with(errno, "write", path);
  write_all(file, from, bytes, path);
}

}  // namespace brim::os
