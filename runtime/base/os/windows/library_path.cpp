// base/library_path.hpp by the module that holds this function.
#include <base/error.hpp>
#include <base/library_path.hpp>

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX 1
#include <windows.h>

#include <filesystem>
#include <string>

namespace brim {

std::string own_library_path() {
  constexpr DWORD kMost = 32768;  // longest path that the system has
  HMODULE module = nullptr;
  const DWORD how = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
  std::wstring path(kMost, L'\0');
  DWORD length = 0;
  if (GetModuleHandleExW(how, reinterpret_cast<LPCWSTR>(&own_library_path), &module)) {
    length = GetModuleFileNameW(module, path.data(), kMost);
  }
  if (length == 0 || length >= kMost) {
    throw Error(BRIM_NOT_FOUND,
                "the system does not say where the library lies; name the plugin folders by "
                "brim_runtime_config.plugin_dirs",
                {}, static_cast<int32_t>(GetLastError()), BRIM_DOMAIN_OS);
  }
  path.resize(length);
  const std::u8string text = std::filesystem::path(path).u8string();
  return std::string(text.begin(), text.end());
}

}  // namespace brim
