#include "manifest.hpp"

#include <toml++/toml.h>
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include <filesystem>
#include <utility>

#include "../check.hpp"

namespace check {

Manifest read_manifest(const std::string& path) {
  Manifest out;
  try {
    const toml::table file = toml::parse_file(path);
    const auto text = [&](const char* table, const char* key) { return file[table][key].value_or(std::string()); };
    const auto number = [&](const char* key) { return file["abi"][key].value_or(int64_t{-1}); };
    out.id = text("plugin", "id");
    out.kind = text("plugin", "kind");
    out.library = text("plugin", "library");
    out.version = text("plugin", "version");
    out.license = text("plugin", "license");
    out.os = text("requires", "os");
    out.arch = text("requires", "arch");
    out.major = number("major");
    out.minor = number("minor");
    out.min_minor = number("min_minor");
    if (const toml::array* features = file["requires"]["cpu_features"].as_array()) {
      for (const toml::node& one : *features) out.cpu_features.push_back(one.value_or(std::string()));
    }
  } catch (const toml::parse_error& error) {
    throw BadInput(path + ": not a TOML file: " + std::string(error.description()));
  }
  return out;
}

std::vector<std::string> missing_features(const Manifest& manifest) {
  std::vector<std::string> missing;
#if defined(__x86_64__)
  const std::pair<const char*, bool> known[] = {{"avx2", __builtin_cpu_supports("avx2") != 0},
                                                {"fma", __builtin_cpu_supports("fma") != 0},
                                                {"f16c", __builtin_cpu_supports("f16c") != 0},
                                                {"bmi2", __builtin_cpu_supports("bmi2") != 0},
                                                {"avx512f", __builtin_cpu_supports("avx512f") != 0},
                                                {"avx512bw", __builtin_cpu_supports("avx512bw") != 0},
                                                {"avx512vl", __builtin_cpu_supports("avx512vl") != 0},
                                                {"avx512dq", __builtin_cpu_supports("avx512dq") != 0},
                                                {"avx512_vnni", __builtin_cpu_supports("avx512vnni") != 0},
                                                {"avx512_bf16", __builtin_cpu_supports("avx512bf16") != 0}};
#elif defined(__aarch64__) && defined(__linux__)
  // Linux, Documentation/arch/arm64/elf_hwcaps.rst.
  const unsigned long one = getauxval(AT_HWCAP), two = getauxval(AT_HWCAP2);
  const std::pair<const char*, bool> known[] = {{"dotprod", (one >> 20 & 1) != 0},
                                                {"fp16", (one >> 10 & 1) != 0},
                                                {"i8mm", (two >> 13 & 1) != 0},
                                                {"bf16", (two >> 14 & 1) != 0},
                                                {"sve", (one >> 22 & 1) != 0}};
#else
  const std::pair<const char*, bool> known[] = {{"", true}};
#endif
  for (const std::string& feature : manifest.cpu_features) {
    for (const auto& [name, here] : known) {
      if (feature == name && !here) missing.push_back(feature);
    }
  }
  return missing;
}

std::string find_manifest(const std::string& library) {
  namespace fs = std::filesystem;
  const fs::path path = library;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path.parent_path(), error)) {
    if (entry.path().extension() != ".toml") continue;
    try {
      if (read_manifest(entry.path().string()).library == path.filename().string()) return entry.path().string();
    } catch (const BadInput&) {  // some other file
    }
  }
  return {};
}

}  // namespace check
