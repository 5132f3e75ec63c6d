#include <array>
#include <base/error.hpp>
#include <model/metadata.hpp>
#include <utility>

namespace brim::model {
namespace {

const char* kind_of(const Value& value) {
  static constexpr std::array<const char*, std::variant_size_v<Value>> kNames = {"a truth value",
                                                                                 "an unsigned integer",
                                                                                 "a signed integer",
                                                                                 "a floating-point number",
                                                                                 "a string",
                                                                                 "an array of truth values",
                                                                                 "an array of unsigned integers",
                                                                                 "an array of signed integers",
                                                                                 "an array of floating-point numbers",
                                                                                 "an array of strings"};
  return kNames[value.index()];
}

[[noreturn]] void wrong_type(const std::string& source, std::string_view key, const char* expected,
                             const Value& found) {
  fail(BRIM_DATA_CORRUPT, "{}: key '{}' is {}, expected {}; the file is damaged or was converted by an odd tool",
       source, key, kind_of(found), expected);
}

[[noreturn]] void missing(const std::string& source, std::string_view key) {
  fail(BRIM_NOT_FOUND, "{}: key '{}' is missing; convert the model again with a current tool", source, key);
}

bool is_empty_array(const Value& value) {
  return std::visit(
      [](const auto& v) {
        if constexpr (requires { v.empty(); } && !std::is_same_v<std::decay_t<decltype(v)>, std::string_view>) {
          return v.empty();
        } else {
          return false;
        }
      },
      value);
}

// The array if it has this element type, a shared empty one if it has no elements, else nullptr.
template <class T>
const std::vector<T>* array_of(const Value& value) {
  static const std::vector<T> kEmpty;
  if (const auto* array = std::get_if<std::vector<T>>(&value)) return array;
  return is_empty_array(value) ? &kEmpty : nullptr;
}

}  // namespace

void Metadata::set(std::string_view key, Value value) {
  if (!values_.try_emplace(key, std::move(value)).second) {
    fail(BRIM_DATA_CORRUPT, "{}: key '{}' appears twice; the file is damaged, get it again", source, key);
  }
  order_.push_back(key);
}

std::string_view Metadata::intern(std::string text) { return owned_.emplace_back(std::move(text)); }

const Value* Metadata::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

std::optional<uint64_t> Metadata::u64(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* number = std::get_if<uint64_t>(value)) return *number;
  if (const auto* number = std::get_if<int64_t>(value)) {
    if (*number >= 0) return static_cast<uint64_t>(*number);
    fail(BRIM_DATA_CORRUPT, "{}: key '{}' is {}, expected a number that is not negative", source, key, *number);
  }
  wrong_type(source, key, "an integer", *value);
}

std::optional<double> Metadata::f64(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* number = std::get_if<double>(value)) return *number;
  if (const auto* number = std::get_if<uint64_t>(value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<int64_t>(value)) return static_cast<double>(*number);
  wrong_type(source, key, "a number", *value);
}

std::optional<bool> Metadata::boolean(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* truth = std::get_if<bool>(value)) return *truth;
  wrong_type(source, key, "a truth value", *value);
}

std::optional<std::string_view> Metadata::string(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* text = std::get_if<std::string_view>(value)) return *text;
  wrong_type(source, key, "a string", *value);
}

const std::vector<std::string_view>* Metadata::strings(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return nullptr;
  if (const auto* array = array_of<std::string_view>(*value)) return array;
  wrong_type(source, key, "an array of strings", *value);
}

const std::vector<float>* Metadata::f32s(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return nullptr;
  if (const auto* array = array_of<float>(*value)) return array;
  wrong_type(source, key, "an array of floating-point numbers", *value);
}

std::optional<std::vector<uint64_t>> Metadata::u64s(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* array = array_of<uint64_t>(*value)) return *array;
  const auto* array = std::get_if<std::vector<int64_t>>(value);
  if (!array) wrong_type(source, key, "an array of integers", *value);
  std::vector<uint64_t> out;
  out.reserve(array->size());
  for (const int64_t number : *array) {
    if (number < 0) {
      fail(BRIM_DATA_CORRUPT, "{}: key '{}' has {} at index {}, expected numbers that are not negative", source, key,
           number, out.size());
    }
    out.push_back(static_cast<uint64_t>(number));
  }
  return out;
}

uint64_t Metadata::require_u64(std::string_view key) const {
  if (const auto value = u64(key)) return *value;
  missing(source, key);
}

std::string_view Metadata::require_string(std::string_view key) const {
  if (const auto value = string(key)) return *value;
  missing(source, key);
}

const std::vector<std::string_view>& Metadata::require_strings(std::string_view key) const {
  if (const auto* value = strings(key)) return *value;
  missing(source, key);
}

}  // namespace brim::model
