// Libraries, pages, and what /proc tells of this process.
#include <dirent.h>
#include <dlfcn.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>

#include "../os.hpp"

namespace check::os {

void* open_library(const std::string& path, std::string* error) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) *error = dlerror();
  return library;
}

void* find_symbol(void* library, const char* name) { return dlsym(library, name); }

uint64_t page_size() { return static_cast<uint64_t>(sysconf(_SC_PAGESIZE)); }

void* map_pages(uint64_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : at;
}

void protect_pages(void* at, uint64_t bytes, Access access) {
  mprotect(at, bytes,
           access == Access::kNone   ? PROT_NONE
           : access == Access::kRead ? PROT_READ
                                     : PROT_READ | PROT_WRITE);
}

void unmap_pages(void* at, uint64_t bytes) { munmap(at, bytes); }

void soil_allocations(int with) {
#if defined(M_PERTURB)
  mallopt(M_PERTURB, with);
#else
  (void)with;
#endif
}

Holdings holdings() {
  Holdings held;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    (void)task;
    ++held.threads;
  }
  held.known = !error;
  // The list is read through a descriptor of its own, which is no finding.
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) {
    held.known = false;
    return held;
  }
  const std::string own = std::to_string(dirfd(folder));
  for (const dirent* entry = readdir(folder); entry != nullptr; entry = readdir(folder)) {
    const std::string number = entry->d_name;
    if (number == "." || number == ".." || number == own) continue;
    const auto target = std::filesystem::read_symlink("/proc/self/fd/" + number, error);
    held.files.push_back(number + " -> " + target.string());
  }
  closedir(folder);
  return held;
}

}  // namespace check::os
