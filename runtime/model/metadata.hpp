// The key/value part of a model file, whatever the file's format: typed look-ups with errors that name the key.
// Strings and arrays are views into the model's mapped header or into memory the Metadata owns; they live as long as
// it.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

namespace brim::model {

// Integers are widened to 64 bit, floats to double; arrays keep one element kind.
using Value = std::variant<bool, uint64_t, int64_t, double, std::string_view, std::vector<bool>, std::vector<uint64_t>,
                           std::vector<int64_t>, std::vector<float>, std::vector<std::string_view>>;

// Move-only: a copy's views would point into the original.
class Metadata {
 public:
  Metadata() = default;
  Metadata(Metadata&&) = default;
  Metadata& operator=(Metadata&&) = default;

  // The key's text must live as long as the Metadata (see intern). Throws DATA_CORRUPT when the key exists already.
  void set(std::string_view key, Value value);
  // Keeps a copy of text for as long as the Metadata lives; for keys and strings that no mapping holds.
  std::string_view intern(std::string text);

  const Value* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  // In file order.
  const std::vector<std::string_view>& keys() const { return order_; }

  // The value if the key is there and fits the type asked for; nullopt if the key is absent.
  // A value of another type is DATA_CORRUPT, naming the key, the type found and the type expected.
  // Numbers convert between integer kinds when the value fits, and from integer to double.
  std::optional<uint64_t> u64(std::string_view key) const;
  std::optional<double> f64(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string_view> string(std::string_view key) const;
  // Arrays: nullptr if absent. A scalar is no array. An empty array is empty whatever its element type.
  const std::vector<std::string_view>* strings(std::string_view key) const;
  const std::vector<float>* f32s(std::string_view key) const;
  std::optional<std::vector<uint64_t>> u64s(std::string_view key) const;

  // The same, but an absent key is NOT_FOUND with the key's name and the file's.
  uint64_t require_u64(std::string_view key) const;
  std::string_view require_string(std::string_view key) const;
  const std::vector<std::string_view>& require_strings(std::string_view key) const;

  // What error messages call the file.
  std::string source;

 private:
  std::vector<std::string_view> order_;
  std::unordered_map<std::string_view, Value> values_;
  std::deque<std::string> owned_;
};

}  // namespace brim::model
