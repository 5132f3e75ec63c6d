// The table of options: every key that brim.toml may hold, what its value may be, its default and what it is for.
// describe(), the error messages and sdk/docs/configuration.md all come from here or are checked against it. The tables
// [backend.ID] and [architecture.ID] are not in it: their keys belong to the plugins, which check them themselves.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace brim::config {

enum class Type { kInteger, kNumber, kBoolean, kText, kFolders };

// "integer", "number", "boolean", "text", "list of folders".
std::string_view type_name(Type type);

// Integer, number, boolean, text, list.
using Value = std::variant<uint64_t, double, bool, std::string, std::vector<std::string>>;

struct Option {
  std::string_view key;  // "plan.context": table, dot, name
  Type type;
  Value standard;                         // the default
  double low = 0, high = 0;               // of numbers
  uint64_t most = 0;                      // of integers; the least is 0
  std::vector<std::string_view> choices;  // of texts; none: any text
  std::string_view help;
};

// In the order of the documentation.
std::span<const Option> schema();
// nullptr if there is none.
const Option* find_option(std::string_view key);
// The known key that somebody who wrote `key` most likely meant: the one with the same name in another table, else the
// one with the least edit distance.
std::string_view nearest_option(std::string_view key);

}  // namespace brim::config
