#include <algorithm>
#include <base/error.hpp>
#include <base/json.hpp>
#include <base/mapping.hpp>
#include <base/nearest.hpp>
#include <base/toml.hpp>
#include <base/utf8.hpp>
#include <charconv>
#include <cmath>
#include <config/options.hpp>
#include <filesystem>

namespace brim::config {
namespace {

constexpr uint64_t kMostBytes = 1 << 20;  // of a file
// The parser and its tables recurse once per part of a dotted key, and nothing but the number of dots bounds that.
constexpr int64_t kMostDots = 2000;

constexpr std::string_view kPluginKinds[] = {"backend", "architecture"};

// Where a value stands, as the front of a message: "brim.toml:3: ", or nothing.
using Place = std::string;

size_t index_of(const Option& option) { return static_cast<size_t>(&option - schema().data()); }

[[noreturn]] void unknown_key(const Place& place, std::string_view key) {
  fail(BRIM_INVALID_ARGUMENT, "{}unknown key '{}'; the nearest known one is '{}'", place, printable(key),
       nearest_option(key));
}

std::string wanted(const Option& option) {
  switch (option.type) {
    case Type::kInteger:
      return fmt::format("an integer from 0 to {}", option.most);
    case Type::kNumber:
      return fmt::format("a number from {} to {}", option.low, option.high);
    case Type::kBoolean:
      return "true or false";
    case Type::kText:
      return option.choices.empty() ? "a text" : fmt::format("one of {}", fmt::join(option.choices, ", "));
    case Type::kFolders:
      return "a list of absolute folders";
  }
  return {};
}

[[noreturn]] void bad_value(const Place& place, const Option& option, std::string_view found) {
  fail(BRIM_INVALID_ARGUMENT, "{}{} is {}; expected {}", place, option.key, printable(found), wanted(option));
}

// A value of the right C++ type, against the option's range. `found` is how a message shows it.
Value checked(const Place& place, const Option& option, Value value, std::string_view found) {
  bool good = false;
  switch (option.type) {
    case Type::kInteger:
      good = std::get<uint64_t>(value) <= option.most;
      break;
    case Type::kNumber: {
      const double number = std::get<double>(value);
      good = number >= option.low && number <= option.high;  // false for NaN
      break;
    }
    case Type::kBoolean:
      good = true;
      break;
    case Type::kText: {
      const std::string& text = std::get<std::string>(value);
      good = option.choices.empty() || std::ranges::find(option.choices, text) != option.choices.end();
      break;
    }
    case Type::kFolders:
      good = std::ranges::all_of(std::get<std::vector<std::string>>(value), [](const std::string& folder) {
        return std::filesystem::path(std::u8string(folder.begin(), folder.end())).is_absolute();
      });
      break;
  }
  if (!good) bad_value(place, option, found);
  return value;
}

std::string show(const toml::node& node) {
  if (node.is_table()) return "a table";
  std::ostringstream out;
  node.visit([&](const auto& n) {
    if constexpr (toml::is_value<decltype(n)>) {
      if constexpr (toml::is_string<decltype(n)>) {
        out << '\'' << n.get() << '\'';
      } else {
        out << n.get();
      }
    } else {
      out << "an array";
    }
  });
  return out.str();
}

Value from_toml(const Place& place, const Option& option, const toml::node& node) {
  const std::string found = show(node);
  const auto bad = [&] { bad_value(place, option, found); };
  Value value;
  switch (option.type) {
    case Type::kInteger: {
      const auto* integer = node.as_integer();
      if (!integer || integer->get() < 0) bad();
      value = static_cast<uint64_t>(integer->get());
      break;
    }
    case Type::kNumber:
      if (const auto* number = node.as_floating_point()) {
        value = number->get();
      } else if (const auto* integer = node.as_integer()) {
        value = static_cast<double>(integer->get());
      } else {
        bad();
      }
      break;
    case Type::kBoolean:
      if (!node.is_boolean()) bad();
      value = node.as_boolean()->get();
      break;
    case Type::kText:
      if (!node.is_string()) bad();
      value = node.as_string()->get();
      break;
    case Type::kFolders: {
      std::vector<std::string> folders;
      const auto* array = node.as_array();
      if (!array) bad();
      for (const toml::node& element : *array) {
        if (!element.is_string()) bad();
        folders.push_back(element.as_string()->get());
      }
      value = std::move(folders);
      break;
    }
  }
  return checked(place, option, std::move(value), found);
}

Value from_text(const Option& option, std::string_view text) {
  const char* const end = text.data() + text.size();
  const auto bad = [&] { bad_value({}, option, fmt::format("'{}'", text)); };
  Value value;
  switch (option.type) {
    case Type::kInteger: {
      uint64_t integer = 0;
      const auto [stop, error] = std::from_chars(text.data(), end, integer);
      if (text.empty() || stop != end || error != std::errc()) bad();
      value = integer;
      break;
    }
    case Type::kNumber: {
      double number = 0;
      const auto [stop, error] = std::from_chars(text.data(), end, number);
      if (text.empty() || stop != end || error != std::errc()) bad();
      value = number;
      break;
    }
    case Type::kBoolean:
      if (text != "true" && text != "false") bad();
      value = text == "true";
      break;
    case Type::kText:
      value = std::string(text);
      break;
    case Type::kFolders:
      if (text.starts_with('[')) {
        if (std::ranges::count(text, '.') > kMostDots) bad();
        try {
          const toml::table one = toml::parse(fmt::format("folders = {}\n", text));
          if (one.size() != 1) bad();
          return from_toml({}, option, *one.get("folders"));
        } catch (const toml::parse_error&) {
          bad();
        }
      }
      value = std::vector<std::string>{std::string(text)};
      break;
  }
  return checked({}, option, std::move(value), fmt::format("'{}'", text));
}

void write(Json& json, const Value& value) {
  std::visit(
      [&](const auto& v) {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::vector<std::string>>) {
          json.array([&] {
            for (const std::string& one : v) json.value(one);
          });
        } else {
          json.value(v);
        }
      },
      value);
}

std::string to_text(const Value& value) {
  if (const auto* folders = std::get_if<std::vector<std::string>>(&value)) {
    toml::array array;
    for (const std::string& folder : *folders) array.push_back(folder);
    std::ostringstream out;
    out << toml::toml_formatter(array, toml::format_flags::none);
    return out.str();
  }
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* integer = std::get_if<uint64_t>(&value)) return std::to_string(*integer);
  return fmt::format("{}", std::get<double>(value));
}

// A plugin's setting, "backend.cpu.variant" or "backend.brim.cpu.variant".
struct Setting {
  std::pair<std::string, std::string> plugin;  // kind, id
  std::string key;
};

std::string full_id(std::string_view id) {
  return id.find('.') == id.npos ? fmt::format("brim.{}", id) : std::string(id);
}

bool is_plugin_kind(std::string_view word) { return std::ranges::find(kPluginKinds, word) != std::end(kPluginKinds); }

void check_setting(const Place& place, std::string_view kind, std::string_view id, std::string_view key) {
  if (!id.empty() && !id.starts_with('.') && !id.ends_with('.') && !key.empty() && key.find('.') == key.npos) return;
  fail(BRIM_INVALID_ARGUMENT,
       "{}'{}' is no setting of a plugin; expected {}.ID.KEY, for instance {}.cpu.KEY, with a KEY without dots", place,
       printable(fmt::format("{}.{}.{}", kind, id, key)), kind, kind);
}

// Whether the key names a plugin's setting; throws where it begins like one and is none.
bool split_setting(std::string_view key, Setting& out) {
  const size_t first = key.find('.'), last = key.rfind('.');
  const std::string_view kind = key.substr(0, first);
  if (!is_plugin_kind(kind)) return false;
  const bool whole = first != key.npos && last > first;
  const std::string_view id = whole ? key.substr(first + 1, last - first - 1) : std::string_view();
  const std::string_view name = first == key.npos ? std::string_view() : key.substr(last + 1);
  check_setting({}, kind, id, name);
  out = {{std::string(kind), full_id(id)}, std::string(name)};
  return true;
}

// A file on its way into options: collects everything before anything is changed.
class Reader {
 public:
  explicit Reader(const std::string& source) : source_(printable(source, 200)) {}

  std::map<size_t, Value> values;
  std::vector<std::pair<Setting, std::string>> settings;

  void read(std::string_view toml) {
    if (const auto dots = std::ranges::count(toml, '.'); dots > kMostDots) {
      fail(BRIM_INVALID_ARGUMENT, "{}:1: the file holds {} dots; at most {} are read, as keys nest with each", source_,
           dots, kMostDots);
    }
    toml::table root;
    try {
      root = toml::parse(toml);
    } catch (const toml::parse_error& error) {
      fail(BRIM_INVALID_ARGUMENT, "{}{}; expected TOML", at(error.source()), error.description());
    }
    for (const auto& [key, node] : root) {
      const toml::table* table = node.as_table();
      if (is_plugin_kind(key.str())) {
        if (!table) fail(BRIM_INVALID_ARGUMENT, "{}{} is no table; expected [{}.ID]", at(key), key.str(), key.str());
        plugins(key.str(), {}, *table, key);
      } else if (!table) {
        unknown_key(at(key), key.str());
      } else {
        options(key, *table);
      }
    }
  }

 private:
  Place at(const toml::source_region& region) const { return fmt::format("{}:{}: ", source_, region.begin.line); }
  Place at(const toml::key& key) const { return at(key.source()); }

  void options(const toml::key& name, const toml::table& table) {
    const bool known = std::ranges::any_of(schema(), [&](const Option& option) {
      return option.key.starts_with(name.str()) && option.key.substr(name.length()).starts_with('.');
    });
    if (!known) {
      constexpr std::string_view tables[] = {"runtime", "plan", "load", "sampling", "backend", "architecture"};
      const auto near = std::ranges::min_element(tables, {}, [&](std::string_view known_table) {
        return edit_distance(name.str().substr(0, 256), known_table);
      });
      fail(BRIM_INVALID_ARGUMENT, "{}unknown table [{}]; the nearest known one is [{}]", at(name),
           printable(name.str()), *near);
    }
    for (const auto& [key, node] : table) {
      const std::string full = fmt::format("{}.{}", name.str(), key.str());
      const Option* option = find_option(full);
      if (!option) unknown_key(at(key), full);
      values[index_of(*option)] = from_toml(at(key), *option, node);
    }
  }

  // Tables below [backend] are parts of an id, whatever they are split into; other nodes are settings.
  void plugins(std::string_view kind, const std::string& id, const toml::table& table, const toml::key& place) {
    for (const auto& [key, node] : table) {
      if (const toml::table* inner = node.as_table()) {
        const std::string longer = id.empty() ? std::string(key.str()) : fmt::format("{}.{}", id, key.str());
        plugins(kind, longer, *inner, key);
        continue;
      }
      check_setting(at(key), kind, id, key.str());
      std::string text;
      if (const auto* string = node.as_string()) {
        text = string->get();
      } else if (const auto* integer = node.as_integer()) {
        text = std::to_string(integer->get());
      } else if (const auto* number = node.as_floating_point()) {
        text = fmt::format("{}", number->get());
      } else if (const auto* flag = node.as_boolean()) {
        text = flag->get() ? "true" : "false";
      } else {
        fail(BRIM_INVALID_ARGUMENT, "{}{}.{}.{} is {}; a plugin's setting is a text, a number, true or false", at(key),
             kind, id, key.str(), show(node));
      }
      Setting setting{{std::string(kind), full_id(id)}, std::string(key.str())};
      for (const auto& [other, value] : settings) {
        if (other.plugin == setting.plugin && other.key == setting.key) {
          fail(BRIM_INVALID_ARGUMENT, "{}{} of {} stands in the file twice, by the plugin's short and by its full name",
               at(key), key.str(), setting.plugin.second);
        }
      }
      settings.emplace_back(std::move(setting), std::move(text));
    }
    if (table.empty() && id.empty()) {
      fail(BRIM_INVALID_ARGUMENT, "{}[{}] needs the name of a plugin: [{}.ID]", at(place), kind, kind);
    }
  }

  std::string source_;
};

}  // namespace

Options::Options() {
  for (const Option& option : schema()) values_.push_back(option.standard);
}

void Options::load(const std::string& path) {
  const File file(path);
  if (file.size() > kMostBytes) {
    fail(BRIM_INVALID_ARGUMENT, "{} has {} bytes; a configuration file has at most {}", printable(path, 200),
         file.size(), kMostBytes);
  }
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  parse(text, path);
}

void Options::parse(std::string_view toml, const std::string& source) {
  Reader reader(source);
  reader.read(toml);
  Options next = *this;
  for (auto& [index, value] : reader.values) next.values_[index] = std::move(value);
  for (auto& [setting, text] : reader.settings) next.settings_[setting.plugin][setting.key] = std::move(text);
  *this = std::move(next);
}

void Options::set(std::string_view key, std::string_view text) {
  if (!is_utf8(key) || !is_utf8(text)) {
    fail(BRIM_INVALID_ARGUMENT, "'{}' = '{}' is not UTF-8", printable(key), printable(text));
  }
  if (Setting setting; split_setting(key, setting)) {
    auto next = settings_;  // so that a lack of memory changes nothing
    next[setting.plugin][setting.key] = std::string(text);
    settings_ = std::move(next);
    return;
  }
  const Option* option = find_option(key);
  if (!option) unknown_key({}, key);
  values_[index_of(*option)] = from_text(*option, text);
}

std::string Options::get(std::string_view key) const {
  if (Setting setting; split_setting(key, setting)) {
    const auto plugin = settings_.find(setting.plugin);
    if (plugin != settings_.end()) {
      if (const auto found = plugin->second.find(setting.key); found != plugin->second.end()) return found->second;
    }
    fail(BRIM_NOT_FOUND, "{} is not set; {} then uses its own default", printable(key), setting.plugin.second);
  }
  const Option* option = find_option(key);
  if (!option) unknown_key({}, key);
  return to_text(values_[index_of(*option)]);
}

std::string Options::describe() const {
  Json json;
  json.array([&] {
    for (const Option& option : schema()) {
      json.object([&] {
        json.member("key", option.key).member("type", type_name(option.type));
        write(json.key("default"), option.standard);
        write(json.key("value"), values_[index_of(option)]);
        if (!option.choices.empty()) {
          json.key("choices").array([&] {
            for (const auto& choice : option.choices) json.value(choice);
          });
        }
        if (option.type == Type::kNumber) json.member("min", option.low).member("max", option.high);
        if (option.type == Type::kInteger) json.member("min", 0).member("max", option.most);
        json.member("help", option.help);
      });
    }
    for (const auto& [plugin, settings] : settings_) {
      for (const auto& [key, text] : settings) {
        json.object([&] {
          json.member("key", fmt::format("{}.{}.{}", plugin.first, plugin.second, key)).member("type", "setting");
          json.member("default", nullptr).member("value", text);
          json.member("help", fmt::format("Handed to {}", plugin.second));
        });
      }
    }
  });
  return json.text();
}

std::vector<std::pair<std::string, std::string>> Options::settings(std::string_view kind, std::string_view id) const {
  const auto found = settings_.find({std::string(kind), std::string(id)});
  if (found == settings_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

std::vector<std::string> Options::plugins_with_settings(std::string_view kind) const {
  std::vector<std::string> ids;
  for (const auto& [plugin, settings] : settings_) {
    if (plugin.first == kind) ids.push_back(plugin.second);
  }
  return ids;
}

const Value& Options::value(std::string_view key, Type type) const {
  const Option* option = find_option(key);
  if (!option || option->type != type) fail(BRIM_INTERNAL, "option {} is asked for as {}", key, type_name(type));
  return values_[index_of(*option)];
}

}  // namespace brim::config
