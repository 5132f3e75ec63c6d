// os/file.hpp over Win32 calls.
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0602  // PrefetchVirtualMemory
#endif
#include <windows.h>

#include <algorithm>
#include <base/error.hpp>
#include <base/os/file.hpp>
#include <memory>
#include <string_view>
#include <system_error>

namespace brim::os {
namespace {

constexpr DWORD kDirectoryNotSupported = 336;  // ERROR_DIRECTORY_NOT_SUPPORTED, which mingw-w64's headers lack

[[noreturn]] void fail_with(DWORD code, const std::string& doing, const std::string& path) {
  brim_status status = BRIM_IO;
  const char* remedy = "check the disk and the file system";
  switch (code) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_DRIVE:
    case ERROR_BAD_NETPATH:
      status = BRIM_NOT_FOUND;
      remedy = "check the path; a relative one starts at the working directory";
      break;
    case ERROR_ACCESS_DENIED:
    case ERROR_WRITE_PROTECT:
      status = BRIM_PERMISSION_DENIED;
      remedy = "check the owner and the permissions of the file and of its folders";
      break;
    case ERROR_SHARING_VIOLATION:
    case ERROR_LOCK_VIOLATION:
      status = BRIM_BUSY;
      remedy = "close the program that writes to it";
      break;
    case ERROR_TOO_MANY_OPEN_FILES:
      remedy = "close other files";
      break;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_COMMITMENT_LIMIT:
      status = BRIM_OUT_OF_MEMORY;
      remedy = "close other programs";
      break;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
      remedy = "make room on the disk or choose another one";
      break;
    case kDirectoryNotSupported:
      status = BRIM_INVALID_ARGUMENT;
      remedy = "give the path of a file, not of a folder";
      break;
    case ERROR_INVALID_NAME:
    case ERROR_FILENAME_EXCED_RANGE:
      status = BRIM_INVALID_ARGUMENT;
      remedy = "check the path";
      break;
    default:
      break;
  }
  throw Error(status,
              fmt::format("cannot {} '{}': {}; {}", doing, path, std::system_category().message(static_cast<int>(code)),
                          remedy),
              {}, static_cast<int32_t>(code), BRIM_DOMAIN_OS);
}

// UTF-8 to UTF-16.
std::wstring wide(const std::string& path, const char* doing) {
  if (path.empty()) fail(BRIM_INVALID_ARGUMENT, "cannot {} a file: the path is empty; give the path of a file", doing);
  if (path.find('\0') != std::string::npos || path.size() > 32767) {
    fail(BRIM_INVALID_ARGUMENT, "cannot {} '{}': the path is too long or contains a zero byte; give a clean path",
         doing, path.substr(0, 200).c_str());
  }
  const int bytes = static_cast<int>(path.size());
  const int units = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.data(), bytes, nullptr, 0);
  if (units <= 0) {
    fail(BRIM_INVALID_ARGUMENT, "cannot {} '{}': the path is no valid UTF-8; give it in UTF-8", doing, path);
  }
  std::wstring out(static_cast<size_t>(units), L'\0');
  MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.data(), bytes, out.data(), units);
  return out;
}

HANDLE native(Handle file) { return reinterpret_cast<HANDLE>(file); }

uint64_t join(DWORD high, DWORD low) { return (uint64_t{high} << 32) | low; }

// Some of the bytes at `at`: 0 at the end of the file. False where the system refuses.
bool read_some(Handle file, uint64_t at, std::byte* to, size_t bytes, DWORD& got) noexcept {
  OVERLAPPED where{};
  where.Offset = static_cast<DWORD>(at);
  where.OffsetHigh = static_cast<DWORD>(at >> 32);
  got = 0;
  return ReadFile(native(file), to, static_cast<DWORD>(std::min<size_t>(bytes, 1u << 30)), &got, &where) ||
         GetLastError() == ERROR_HANDLE_EOF;
}

}  // namespace

Handle open_for_reading(const std::string& path) {
  const std::wstring name = wide(path, "open");
  const DWORD attributes = GetFileAttributesW(name.c_str());
  if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
    fail_with(kDirectoryNotSupported, "open", path);
  }
  const HANDLE file = CreateFileW(name.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                                  OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE) fail_with(GetLastError(), "open", path);
  if (GetFileType(file) != FILE_TYPE_DISK) {
    CloseHandle(file);
    fail(BRIM_INVALID_ARGUMENT, "cannot open '{}': it is a pipe or a device; give the path of a regular file", path);
  }
  return reinterpret_cast<Handle>(file);
}

Handle create_new(const std::string& path) {
  const std::wstring name = wide(path, "create");
  const HANDLE file = CreateFileW(name.c_str(), GENERIC_WRITE, 0, nullptr, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file != INVALID_HANDLE_VALUE) return reinterpret_cast<Handle>(file);
  const DWORD code = GetLastError();
  if (code == ERROR_FILE_EXISTS || code == ERROR_ALREADY_EXISTS) return kNoHandle;
  fail_with(code, "create", path);
}

void close_handle(Handle file) noexcept { CloseHandle(native(file)); }

FileState state_of(Handle file, const std::string& path) {
  BY_HANDLE_FILE_INFORMATION info{};
  if (!GetFileInformationByHandle(native(file), &info)) fail_with(GetLastError(), "inspect", path);
  return {.bytes = join(info.nFileSizeHigh, info.nFileSizeLow),
          .modified = join(info.ftLastWriteTime.dwHighDateTime, info.ftLastWriteTime.dwLowDateTime),
          .device = info.dwVolumeSerialNumber,
          .node = join(info.nFileIndexHigh, info.nFileIndexLow)};
}

void read_at(Handle file, uint64_t offset, void* to, size_t bytes, const std::string& path) {
  auto* out = static_cast<std::byte*>(to);
  size_t done = 0;
  while (done < bytes) {
    const uint64_t at = offset + done;
    DWORD got = 0;
    if (!read_some(file, at, out + done, bytes - done, got)) fail_with(GetLastError(), "read", path);
    if (got == 0) {
      fail(BRIM_DATA_CORRUPT, "'{}' ends at byte {}, expected {} bytes at {}; it was cut short, get it again", path, at,
           bytes, offset);
    }
    done += got;
  }
}

Handle open_past_cache(const std::string& path) noexcept {
  try {
    const HANDLE file = CreateFileW(wide(path, "open").c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE,
                                    nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL | FILE_FLAG_NO_BUFFERING, nullptr);
    return file == INVALID_HANDLE_VALUE ? kNoHandle : reinterpret_cast<Handle>(file);
  } catch (...) {
    return kNoHandle;
  }
}

bool read_past_cache(Handle file, uint64_t offset, void* to, size_t bytes, size_t least) noexcept {
  size_t done = 0;
  while (done < least) {
    DWORD got = 0;
    if (!read_some(file, offset + done, static_cast<std::byte*>(to) + done, bytes - done, got) || got == 0)
      return false;
    done += got;
    if (done < least && done % kDirectBorder != 0) return false;
  }
  return true;
}

// Windows has no such call; its cache gives way by itself.
void forget(Handle, uint64_t, uint64_t) noexcept {}

void write_all(Handle file, const void* from, size_t bytes, const std::string& path) {
  const auto* in = static_cast<const std::byte*>(from);
  size_t done = 0;
  while (done < bytes) {
    DWORD put = 0;
    const auto want = static_cast<DWORD>(std::min<size_t>(bytes - done, 1u << 30));
    if (!WriteFile(native(file), in + done, want, &put, nullptr)) fail_with(GetLastError(), "write", path);
    done += put;
  }
}

void flush(Handle file, const std::string& path) {
  if (!FlushFileBuffers(native(file))) fail_with(GetLastError(), "write", path);
}

void rename_over(const std::string& from, const std::string& to) {
  const std::string doing = "put the finished file in the place of";
  if (!MoveFileExW(wide(from, doing.c_str()).c_str(), wide(to, doing.c_str()).c_str(), MOVEFILE_REPLACE_EXISTING)) {
    fail_with(GetLastError(), doing, to);
  }
}

void remove_quietly(const std::string& path) noexcept {
  try {
    DeleteFileW(wide(path, "remove").c_str());
  } catch (...) {  // no memory for the name: the file stays
  }
}

std::vector<std::string> names_in(const std::string& folder) {
  WIN32_FIND_DATAW found{};
  struct Close {
    using pointer = HANDLE;
    void operator()(HANDLE search) const noexcept { FindClose(search); }
  };
  const HANDLE first = FindFirstFileW(wide(folder + "\\*", "list").c_str(), &found);
  if (first == INVALID_HANDLE_VALUE) fail_with(GetLastError(), "list the folder", folder);
  const std::unique_ptr<HANDLE, Close> search(first);
  std::vector<std::string> names;
  for (;;) {
    const std::wstring_view name = found.cFileName;
    if (name != L"." && name != L"..") {
      const int units = static_cast<int>(name.size());
      const int bytes = WideCharToMultiByte(CP_UTF8, 0, name.data(), units, nullptr, 0, nullptr, nullptr);
      std::string& out = names.emplace_back(static_cast<size_t>(std::max(bytes, 0)), '\0');
      WideCharToMultiByte(CP_UTF8, 0, name.data(), units, out.data(), bytes, nullptr, nullptr);
    }
    if (FindNextFileW(search.get(), &found)) continue;
    if (const DWORD code = GetLastError(); code != ERROR_NO_MORE_FILES) fail_with(code, "list the folder", folder);
    return names;
  }
}

const std::byte* map(Handle file, size_t, const std::string& path) {
  const HANDLE section = CreateFileMappingW(native(file), nullptr, PAGE_READONLY, 0, 0, nullptr);
  if (!section) fail_with(GetLastError(), "map", path);
  void* address = MapViewOfFile(section, FILE_MAP_READ, 0, 0, 0);
  const DWORD code = GetLastError();
  CloseHandle(section);  // the view keeps it alive
  if (!address) fail_with(code, "map", path);
  return static_cast<const std::byte*>(address);
}

void unmap(const std::byte* address, size_t) noexcept { UnmapViewOfFile(address); }

void advise(const std::byte* address, size_t bytes, Access access) noexcept {
  // Windows knows the order of reading only at open, so only the wish to have the pages soon can be passed on.
  if (access != Access::kWillNeed) return;
  WIN32_MEMORY_RANGE_ENTRY range{const_cast<std::byte*>(address), bytes};
  PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0);
}

void release(const std::byte* address, size_t bytes) noexcept {
  // Unlocking pages that are not locked fails, and takes them out of the working set: the documented way.
  VirtualUnlock(const_cast<std::byte*>(address), bytes);
}

size_t page_size() noexcept {
  SYSTEM_INFO info{};
  GetSystemInfo(&info);
  return info.dwPageSize;
}

}  // namespace brim::os
