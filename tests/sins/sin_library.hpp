// A sinner: a copy of the saint's library in which the name of its sin is written, with its manifest, in a folder of
// its own.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "sins.hpp"

struct SinManifest {
  std::string id = "test.saint", kind = "backend", minor = "1", cpu_features;
};

// Copies `library` to `folder`/`stem`.so, where it commits `sin`. The copy's path.
inline std::string make_sinner(const std::string& library, const std::filesystem::path& folder, const std::string& sin,
                               const SinManifest& manifest = {}, const std::string& stem = "sinner") {
  std::ifstream in(library, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::string marker = BRIM_SIN_MARKER;
  const size_t at = bytes.find(marker + "none");
  if (at == std::string::npos || sin.size() >= kSinRoom) return {};
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at + marker.size()), kSinRoom, '\0');
  bytes.replace(at + marker.size(), sin.size(), sin);
  std::filesystem::create_directories(folder);
  const std::filesystem::path path = folder / (stem + ".so");
  std::ofstream(path, std::ios::binary) << bytes;
  std::ofstream(folder / (stem + ".toml"))
      << "[plugin]\nid = \"" << manifest.id << "\"\nkind = \"" << manifest.kind << "\"\nlibrary = \"" << stem
      << ".so\"\nversion = \"1.2.3\"\nlicense = \"Apache-2.0\"\n"
      << "[abi]\nmajor = 0\nminor = " << manifest.minor << "\nmin_minor = 1\n[requires]\n"
      << "cpu_features = [" << manifest.cpu_features << "]\n";
  return path.string();
}
