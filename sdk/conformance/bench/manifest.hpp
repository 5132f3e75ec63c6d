// The sidecar manifest of a plugin's library, read as a host reads it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace check {

struct Manifest {
  std::string id, kind, library, version, license, os, arch;
  int64_t major = -1, minor = -1, min_minor = -1;  // -1: not given
  std::vector<std::string> cpu_features;
};
// Throws BadInput for a file that cannot be read or is no TOML.
Manifest read_manifest(const std::string& path);
// The instruction sets of the manifest that this processor lacks; nothing where it cannot be told.
std::vector<std::string> missing_features(const Manifest& manifest);
// The manifest beside a library that names it; empty where there is none.
std::string find_manifest(const std::string& library);

}  // namespace check
