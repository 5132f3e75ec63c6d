// base/library_path.hpp by the dynamic linker. It may know the library by a path relative to a working directory that
// has changed since; then /proc tells what is mapped.
#include <dlfcn.h>

#include <base/error.hpp>
#include <base/library_path.hpp>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <system_error>

namespace brim {
namespace {

// The path in the line of /proc/self/maps whose range holds the address: "from-to perms offset device inode   /path".
std::string mapped_at(uintptr_t address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    char* end = nullptr;
    const uintptr_t from = std::strtoull(line.c_str(), &end, 16);
    if (*end != '-') continue;
    const uintptr_t to = std::strtoull(end + 1, &end, 16);
    const size_t path = line.find('/');
    if (address >= from && address < to && path != line.npos) return line.substr(path);
  }
  if (maps.bad()) throw std::bad_alloc();  // a stream keeps to itself why it ended

  return {};
}

}  // namespace

std::string own_library_path() {
  const auto address = reinterpret_cast<void*>(&own_library_path);
  std::string path;
  if (Dl_info info{}; dladdr(address, &info) != 0 && info.dli_fname) path = info.dli_fname;
  if (!path.starts_with('/')) path = mapped_at(reinterpret_cast<uintptr_t>(address));
  std::error_code failed;
  const std::filesystem::path real = std::filesystem::canonical(path, failed);
  if (failed == std::errc::not_enough_memory) throw std::bad_alloc();
  if (path.empty() || failed) {
    fail(BRIM_NOT_FOUND,
         "the system does not say where the library lies (it says '{}'); name the plugin folders by "
         "brim_runtime_config.plugin_dirs",
         path);
  }
  return real.string();
}

}  // namespace brim
