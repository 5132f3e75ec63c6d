// os/lock.hpp over LockFileEx. Its locks keep others from reading what they cover, so they cover one byte far behind
// the file's end.
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include <base/error.hpp>
#include <base/os/lock.hpp>
#include <system_error>

namespace brim::os {
namespace {

[[noreturn]] void fail_with(DWORD code, const char* doing, const std::string& path) {
  const brim_status status = code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND ? BRIM_NOT_FOUND
                             : code == ERROR_ACCESS_DENIED                                ? BRIM_PERMISSION_DENIED
                                                                                          : BRIM_IO;
  throw Error(status,
              fmt::format("cannot {} '{}': {}; name a folder that exists and that this process may write to", doing,
                          path, std::system_category().message(static_cast<int>(code))),
              {}, static_cast<int32_t>(code), BRIM_DOMAIN_OS);
}

HANDLE native(Handle file) { return reinterpret_cast<HANDLE>(file); }

OVERLAPPED behind_the_end() {
  OVERLAPPED where{};
  where.OffsetHigh = 1u << 30;
  return where;
}

}  // namespace

Handle open_or_create(const std::string& path) {
  std::wstring name(path.size(), L'\0');
  const int units = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.data(), static_cast<int>(path.size()),
                                        name.data(), static_cast<int>(name.size()));
  name.resize(static_cast<size_t>(units > 0 ? units : 0));
  const HANDLE file =
      CreateFileW(name.c_str(), GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                  nullptr, OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE) fail_with(GetLastError(), "open", path);
  return reinterpret_cast<Handle>(file);
}

void lock(Handle file, const std::string& path) {
  OVERLAPPED where = behind_the_end();
  if (!LockFileEx(native(file), LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, &where)) fail_with(GetLastError(), "lock", path);
}

bool try_lock(Handle file) noexcept {
  OVERLAPPED where = behind_the_end();
  return LockFileEx(native(file), LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &where) != 0;
}

void rewrite(Handle file, const void* from, size_t bytes, const std::string& path) {
  if (SetFilePointer(native(file), 0, nullptr, FILE_BEGIN) == INVALID_SET_FILE_POINTER || !SetEndOfFile(native(file))) {
    fail_with(GetLastError(), "write", path);
  }
  write_all(file, from, bytes, path);
}

}  // namespace brim::os
