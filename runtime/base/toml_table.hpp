// A TOML file read table by table: every key is asked for by name and type, and a key that nobody asks for is an error.
// Messages name file, line, key, what was expected, what was found, and for an unknown key the nearest known one.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <base/error.hpp>
#include <base/nearest.hpp>
#include <base/toml.hpp>
#include <base/utf8.hpp>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace brim {

// Throws DATA_CORRUPT. `what`: "plugin manifest".
inline toml::table parse_toml(std::string_view text, const std::string& path, std::string_view what) {
  // The parser recurses once per part of a dotted key, and nothing but the number of dots bounds that.
  constexpr int64_t kMostDots = 2000;
  if (const auto dots = std::count(text.begin(), text.end(), '.'); dots > kMostDots)
    fail(BRIM_DATA_CORRUPT, "'{}' is no {}: it holds {} dots, at most {} are read; move it out of the folder", path,
         what, dots, kMostDots);
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& e) {
    fail(BRIM_DATA_CORRUPT, "'{}', line {}: not a TOML file: {}", path, e.source().begin.line, e.description());
  }
}

class TomlTable {
 public:
  // `table` may be null: the table is absent and every key in it too. It and `path` live on.
  TomlTable(const toml::table* table, std::string name, const std::string& path,
            std::initializer_list<std::string_view> known)
      : table_(table), name_(std::move(name)), path_(path) {
    if (!table_) return;
    for (const auto& [key, node] : *table_) {
      if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
      const std::string near = nearest(key.str().substr(0, 256), known);
      fail(BRIM_DATA_CORRUPT, "'{}', line {}: unknown key '{}'; {}", path_, key.source().begin.line,
           printable(full(key.str()), 200),
           near.empty() ? fmt::format("known here: {}", fmt::join(known, ", "))
                        : fmt::format("did you mean '{}'?", full(near)));
    }
  }

  explicit operator bool() const { return table_ != nullptr; }
  int line() const { return table_ ? static_cast<int>(table_->source().begin.line) : 0; }

  TomlTable table(std::string_view key, std::initializer_list<std::string_view> known) const {
    const toml::node* node = get(key);
    if (node && !node->is_table()) wrong(key, "a table", *node);
    return TomlTable(node ? node->as_table() : nullptr, full(key), path_, known);
  }

  // The tables of [[key]].
  std::vector<TomlTable> tables(std::string_view key, std::initializer_list<std::string_view> known) const {
    std::vector<TomlTable> out;
    const toml::node* node = get(key);
    if (!node) return out;
    if (!node->is_array()) wrong(key, "a list of tables", *node);
    for (const toml::node& element : *node->as_array()) {
      if (!element.is_table()) wrong(key, "a list of tables", element);
      out.emplace_back(element.as_table(), fmt::format("{}[{}]", full(key), out.size()), path_, known);
    }
    return out;
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

  std::optional<bool> boolean(std::string_view key) const {
    const toml::node* node = get(key);
    if (!node) return {};
    const auto value = node->value_exact<bool>();
    if (!value) wrong(key, "true or false", *node);
    return value;
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

  // For readers of further types.
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

 private:
  const toml::table* table_;
  std::string name_;
  const std::string& path_;
};

}  // namespace brim
