#include <fmt/format.h>

#include <algorithm>
#include <base/error.hpp>
#include <base/mapping.hpp>
#include <base/toml_table.hpp>
#include <filesystem>
#include <loader/cpu_features.hpp>
#include <loader/manifest.hpp>
#include <loader/paths.hpp>
#include <span>

namespace brim::loader {
namespace {

// No manifest needs as much; what is larger is some other file.
constexpr uint64_t kMaxBytes = 64 * 1024;

// The library's path, which must lie below the manifest's folder whatever system wrote it.
std::string resolve_library(const std::string& library, const std::string& path) {
  const std::filesystem::path relative = from_utf8(library);
  bool inside = !relative.is_absolute() && !relative.has_root_path() && library.find('\\') == std::string::npos &&
                library.find(':') == std::string::npos && library.find('\0') == std::string::npos;
  for (const std::filesystem::path& part : relative) inside = inside && part != "..";
  if (!inside)
    fail(BRIM_DATA_CORRUPT,
         "'{}': 'plugin.library' must be a relative path with '/' that stays in the manifest's folder, found '{}'; put "
         "the library beside the manifest",
         path, library);
  return to_utf8((from_utf8(path).parent_path() / relative).lexically_normal());
}

}  // namespace

Manifest parse_manifest(std::string_view text, const std::string& path) {
  const toml::table root = parse_toml(text, path, "plugin manifest");
  const TomlTable file(&root, "", path, {"plugin", "abi", "requires"});
  const TomlTable plugin = file.table("plugin", {"id", "kind", "library", "version", "license"});
  const TomlTable abi = file.table("abi", {"major", "minor", "min_minor"});
  const TomlTable needs = file.table("requires", {"os", "arch", "cpu_features", "rank"});

  Manifest m;
  m.path = path;
  m.id = plugin.text("id");
  m.kind = plugin.text("kind");
  if (m.kind != "backend" && m.kind != "architecture")
    fail(BRIM_DATA_CORRUPT, "'{}': 'plugin.kind' must be \"backend\" or \"architecture\", found \"{}\"", path, m.kind);
  m.version = plugin.text("version");
  m.license = plugin.text("license");
  m.library = resolve_library(plugin.text("library"), path);
  m.major = static_cast<uint32_t>(abi.integer("major", 0, UINT32_MAX));
  m.minor = static_cast<uint32_t>(abi.integer("minor", 0, UINT32_MAX));
  m.min_minor = static_cast<uint32_t>(abi.integer("min_minor", 0, UINT32_MAX));
  m.os = needs.text_or_empty("os");
  m.arch = needs.text_or_empty("arch");
  m.cpu_features = needs.texts("cpu_features");
  m.rank = static_cast<int32_t>(needs.integer("rank", INT32_MIN, INT32_MAX, 0));
  return m;
}

Manifest read_manifest(const std::string& path) {
  const File file(path);
  if (file.size() > kMaxBytes)
    fail(BRIM_DATA_CORRUPT, "'{}' is no plugin manifest: {} bytes, at most {} are read; move it out of the folder",
         path, file.size(), kMaxBytes);
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return parse_manifest(text, path);
}

std::string unmet_requirement(const Manifest& m, const std::vector<std::string>& cpu_features) {
  if (m.major != BRIM_ABI_MAJOR)
    return fmt::format("needs ABI major {}, this host has {}; install a build of the plugin for this version of Brim",
                       m.major, BRIM_ABI_MAJOR);
  if (m.min_minor > BRIM_ABI_MINOR)
    return fmt::format("needs ABI minor {} or newer, this host has {}; update Brim or install an older plugin",
                       m.min_minor, BRIM_ABI_MINOR);
  if (!m.os.empty() && m.os != host_os())
    return fmt::format("is for the operating system \"{}\", this host is \"{}\"", m.os, host_os());
  if (!m.arch.empty() && m.arch != host_arch())
    return fmt::format("is for the processor \"{}\", this host is \"{}\"", m.arch, host_arch());
  std::vector<std::string> lacking;
  for (const std::string& feature : m.cpu_features)
    if (std::find(cpu_features.begin(), cpu_features.end(), feature) == cpu_features.end()) lacking.push_back(feature);
  if (!lacking.empty()) return fmt::format("needs {}, which this CPU lacks", fmt::join(lacking, ", "));
  return {};
}

}  // namespace brim::loader
