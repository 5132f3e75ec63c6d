// The options in force: defaults, overlaid by files (TOML) and by single values given as text. Every value is checked
// against the schema when it comes in, so that a getter cannot fail for a known key. load() and set() change everything
// or nothing.
//
// Names of plugins hold dots. A table [backend."brim.cpu"] is the plugin brim.cpu, and so is the unquoted
// [backend.brim.cpu]; a name without a dot is short for one of Brim's own: [backend.cpu] means brim.cpu too. As a key
// of set() the last part is the setting, what lies between is the plugin: "backend.cpu.variant".
#pragma once

#include <config/schema.hpp>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace brim::config {

class Options {
 public:
  Options();

  // Reads a TOML file over what is set. NOT_FOUND and the like if it cannot be read; INVALID_ARGUMENT names file, line,
  // key and what would be right.
  void load(const std::string& path);
  // The same from memory; `source` is what messages call it.
  void parse(std::string_view toml, const std::string& source);
  // One option from text: "4096", "true", "q8_0"; a list of folders as one folder, or as a TOML array.
  void set(std::string_view key, std::string_view text);

  // The value as text, as set() takes it. INVALID_ARGUMENT for an unknown key, NOT_FOUND for a plugin's setting that is
  // not set.
  std::string get(std::string_view key) const;
  // A JSON array of {"key", "type", "default", "value", "help"} with "choices" or "min" and "max" where they exist.
  std::string describe() const;

  // The key is one of the schema and has this type; else INTERNAL.
  uint64_t integer(std::string_view key) const { return std::get<uint64_t>(value(key, Type::kInteger)); }
  double number(std::string_view key) const { return std::get<double>(value(key, Type::kNumber)); }
  bool boolean(std::string_view key) const { return std::get<bool>(value(key, Type::kBoolean)); }
  const std::string& text(std::string_view key) const { return std::get<std::string>(value(key, Type::kText)); }
  const std::vector<std::string>& folders(std::string_view key) const {
    return std::get<std::vector<std::string>>(value(key, Type::kFolders));
  }

  // What the file says for one plugin: kind "backend" or "architecture", id "brim.cpu".
  std::vector<std::pair<std::string, std::string>> settings(std::string_view kind, std::string_view id) const;
  // The plugins of a kind that have settings, to be told where none of that name exists.
  std::vector<std::string> plugins_with_settings(std::string_view kind) const;

 private:
  const Value& value(std::string_view key, Type type) const;

  std::vector<Value> values_;  // as the schema's entries
  // (kind, id) -> key -> value
  std::map<std::pair<std::string, std::string>, std::map<std::string, std::string>> settings_;
};

}  // namespace brim::config
