// The sidecar of a plugin: a TOML file beside its library, read before any of the library's code runs.
//
//   [plugin]
//   id = "brim.cpu"            # equal to the plugin's own
//   kind = "backend"           # or "architecture"
//   library = "libbrim-cpu-avx2.so"   # relative to this file, never above it
//   version = "0.1.0"
//   license = "Apache-2.0"
//   [abi]
//   major = 0                  # must equal the host's
//   minor = 1                  # built against
//   min_minor = 0              # the oldest host minor that it runs on
//   [requires]                 # optional, as is each key in it
//   os = "linux"               # absent: any
//   arch = "x86_64"            # absent: any
//   cpu_features = ["avx2", "fma"]
//   rank = 20                  # among fitting variants of one id the highest is taken; 0
//
// A key that is not named here is an error: it may well be a requirement that was misspelt.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace brim::loader {

struct Manifest {
  std::string path;
  std::string id, kind, version, license;
  std::string library;  // absolute
  uint32_t major = 0, minor = 0, min_minor = 0;
  std::string os, arch;
  std::vector<std::string> cpu_features;
  int32_t rank = 0;
};

// `path` is absolute. Throws IO or DATA_CORRUPT naming file, key, expected and found.
Manifest read_manifest(const std::string& path);
// The same from text; `path` says where it would lie.
Manifest parse_manifest(std::string_view text, const std::string& path);

// Why this host cannot use it, as a sentence; empty: it can.
std::string unmet_requirement(const Manifest& manifest, const std::vector<std::string>& cpu_features);

}  // namespace brim::loader
