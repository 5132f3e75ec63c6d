// Paths are UTF-8 strings everywhere in the runtime; std::filesystem would take them for the ANSI code page on Windows.
#pragma once

#include <filesystem>
#include <string>

namespace brim::loader {

inline std::filesystem::path from_utf8(const std::string& path) {
  return std::filesystem::path(std::u8string(path.begin(), path.end()));
}

inline std::string to_utf8(const std::filesystem::path& path) {
  const std::u8string text = path.u8string();
  return std::string(text.begin(), text.end());
}

}  // namespace brim::loader
