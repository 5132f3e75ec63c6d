#include <fmt/format.h>

#include <algorithm>
#include <base/error.hpp>
#include <base/mapping.hpp>
#include <base/nearest.hpp>
#include <base/toml.hpp>
#include <filesystem>
#include <initializer_list>
#include <loader/cpu_features.hpp>
#include <loader/manifest.hpp>
#include <loader/paths.hpp>
#include <optional>
#include <span>

namespace brim::loader {
namespace {

// No manifest needs as much; what is larger is some other file.
constexpr uint64_t kMaxBytes = 64 * 1024;
// The parser recurses once per part of a dotted key, and nothing but the number of dots bounds that.
constexpr int64_t kMaxDots = 2000;

// A table of the manifest. Every key that is not asked for by name is an error.
class Table {
 public:
  // `table` may be null: the table is absent and every key in it too.
  Table(const toml::table* table, std::string name, const std::string& path,
        std::initializer_list<std::string_view> known)
      : table_(table), name_(std::move(name)), path_(path) {
    if (!table_) return;
    for (const auto& [key, node] : *table_) {
      if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
      const std::string near = nearest(key.str(), known);
      fail(BRIM_DATA_CORRUPT, "'{}', line {}: unknown key '{}'; {}", path_, node.source().begin.line, full(key.str()),
           near.empty() ? fmt::format("known here: {}", fmt::join(known, ", "))
                        : fmt::format("did you mean '{}'?", full(near)));
    }
  }

  Table table(std::string_view key, std::initializer_list<std::string_view> known) const {
    const toml::node* node = get(key);
    if (node && !node->is_table()) wrong(key, "a table", *node);
    return Table(node ? node->as_table() : nullptr, full(key), path_, known);
  }

  std::string text(std::string_view key) const {
    const std::string value = text_or_empty(key);
    if (value.empty())
      fail(BRIM_DATA_CORRUPT, "'{}': '{}' is missing or empty; write {} = \"...\"", path_, full(key), key);
    return value;
  }

  std::string text_or_empty(std::string_view key) const {
    const toml::node* node = get(key);
    if (!node) return {};
    const auto value = node->value_exact<std::string>();
    if (!value) wrong(key, "a string", *node);
    return *value;
  }

  int64_t integer(std::string_view key, int64_t low, int64_t high, std::optional<int64_t> fallback = {}) const {
    const toml::node* node = get(key);
    if (!node && fallback) return *fallback;
    if (!node) fail(BRIM_DATA_CORRUPT, "'{}': '{}' is missing; write {} = <number>", path_, full(key), key);
    const auto value = node->value_exact<int64_t>();
    if (!value) wrong(key, "an integer", *node);
    if (*value < low || *value > high)
      fail(BRIM_DATA_CORRUPT, "'{}', line {}: '{}' must lie in {} .. {}, found {}", path_, node->source().begin.line,
           full(key), low, high, *value);
    return *value;
  }

  std::vector<std::string> texts(std::string_view key) const {
    std::vector<std::string> out;
    const toml::node* node = get(key);
    if (!node) return out;
    if (!node->is_array()) wrong(key, "an array of strings", *node);
    for (const toml::node& element : *node->as_array()) {
      const auto value = element.value_exact<std::string>();
      if (!value) wrong(key, "an array of strings", element);
      out.push_back(*value);
    }
    return out;
  }

 private:
  const toml::node* get(std::string_view key) const { return table_ ? table_->get(key) : nullptr; }
  std::string full(std::string_view key) const {
    return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
  }
  [[noreturn]] void wrong(std::string_view key, std::string_view expected, const toml::node& found) const {
    std::string kind = "another type";
    switch (found.type()) {
      case toml::node_type::string:
        kind = "a string";
        break;
      case toml::node_type::integer:
        kind = "an integer";
        break;
      case toml::node_type::floating_point:
        kind = "a number with a fraction";
        break;
      case toml::node_type::boolean:
        kind = "true or false";
        break;
      case toml::node_type::array:
        kind = "an array";
        break;
      case toml::node_type::table:
        kind = "a table";
        break;
      default:
        break;
    }
    fail(BRIM_DATA_CORRUPT, "'{}', line {}: '{}' must be {}, found {}", path_, found.source().begin.line, full(key),
         expected, kind);
  }

  const toml::table* table_;
  std::string name_;
  const std::string& path_;
};

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
  if (const auto dots = std::count(text.begin(), text.end(), '.'); dots > kMaxDots)
    fail(BRIM_DATA_CORRUPT,
         "'{}' is no plugin manifest: it holds {} dots, at most {} are read; move it out of the folder", path, dots,
         kMaxDots);
  toml::table root;
  try {
    root = toml::parse(text);
  } catch (const toml::parse_error& e) {
    fail(BRIM_DATA_CORRUPT, "'{}', line {}: not a TOML file: {}", path, e.source().begin.line, e.description());
  }
  const Table file(&root, "", path, {"plugin", "abi", "requires"});
  const Table plugin = file.table("plugin", {"id", "kind", "library", "version", "license"});
  const Table abi = file.table("abi", {"major", "minor", "min_minor"});
  const Table needs = file.table("requires", {"os", "arch", "cpu_features", "rank"});

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
