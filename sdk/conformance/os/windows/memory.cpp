// Libraries and pages. What the process holds and calls is not looked at here: checks that need it say so.
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <filesystem>

#include "../os.hpp"

namespace check::os {

void* open_library(const std::string& path, std::string* error) {
  const HMODULE library =
      LoadLibraryExW(std::filesystem::u8path(path).wstring().c_str(), nullptr, LOAD_WITH_ALTERED_SEARCH_PATH);
  if (library == nullptr) *error = "LoadLibrary: error " + std::to_string(GetLastError());
  return reinterpret_cast<void*>(library);
}

void* find_symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}

uint64_t page_size() {
  SYSTEM_INFO info{};
  GetSystemInfo(&info);
  return info.dwPageSize;
}

void* map_pages(uint64_t bytes) { return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE); }

void protect_pages(void* at, uint64_t bytes, Access access) {
  DWORD old = 0;
  VirtualProtect(at, bytes,
                 access == Access::kNone   ? PAGE_NOACCESS
                 : access == Access::kRead ? PAGE_READONLY
                                           : PAGE_READWRITE,
                 &old);
}

void unmap_pages(void* at, uint64_t) { VirtualFree(at, 0, MEM_RELEASE); }

void soil_allocations(int) {}

Holdings holdings() { return {}; }

void start_counting(const void*) {}
Counted stop_counting() { return {}; }
void resume_counting() {}
Uncounted::Uncounted() = default;
Uncounted::~Uncounted() = default;
bool fail_allocation(int64_t) { return false; }

}  // namespace check::os
