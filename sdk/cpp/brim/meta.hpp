// Typed look-ups in a model file's metadata for architecture authors. Every error names the key, what was expected and
// what was found; a look-up with a fallback forgives an absent key only, never one of a wrong type or range.
#pragma once

#include <brim/architecture.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "failure.hpp"

namespace brim::arch {

class Meta {
 public:
  Meta(const brim_meta_api& api, const brim_meta* meta) : api_(&api), meta_(meta) {}

  // An unsigned integer in [low, high].
  uint32_t u32(const std::string& key, uint32_t low = 0, uint32_t high = UINT32_MAX) const {
    return in_range(key, found(key, "an unsigned integer", look_u64(key)), low, high);
  }
  uint32_t u32_or(const std::string& key, uint32_t fallback, uint32_t low = 0, uint32_t high = UINT32_MAX) const {
    const std::optional<uint64_t> value = look_u64(key);
    return value ? in_range(key, *value, low, high) : fallback;
  }

  // A value for one layer of n_layers: element `layer` of an array, or a scalar that counts for all layers.
  uint32_t u32_of_layer(const std::string& key, uint32_t layer, uint32_t n_layers, uint32_t low = 0,
                        uint32_t high = UINT32_MAX) const {
    return in_range(key, found(key, "an unsigned integer, or one per layer", look_layer(key, layer, n_layers)), low,
                    high);
  }
  uint32_t u32_of_layer_or(const std::string& key, uint32_t layer, uint32_t n_layers, uint32_t fallback,
                           uint32_t low = 0, uint32_t high = UINT32_MAX) const {
    const std::optional<uint64_t> value = look_layer(key, layer, n_layers);
    return value ? in_range(key, *value, low, high) : fallback;
  }

  // A finite number, `low` or above.
  float f32(const std::string& key, float low = std::numeric_limits<float>::lowest()) const {
    return finite(key, found(key, "a number", look_f64(key)), low);
  }
  float f32_or(const std::string& key, float fallback, float low = std::numeric_limits<float>::lowest()) const {
    const std::optional<double> value = look_f64(key);
    return value ? finite(key, *value, low) : fallback;
  }

  bool boolean_or(const std::string& key, bool fallback) const {
    uint32_t value = 0;
    return present(key, "true or false", api_->get_bool(meta_, str(key), &value)) ? value != 0 : fallback;
  }

  // "general.architecture" as the file has it, empty where it has none; asks for no memory, so that match() answers
  // truly where there is none.
  std::string_view architecture() const {
    constexpr std::string_view kKey = "general.architecture";
    brim_str value{};
    if (api_->get_str(meta_, {kKey.data(), kKey.size()}, &value) != BRIM_OK) return {};
    return {value.ptr, static_cast<size_t>(value.len)};
  }
  std::string string(const std::string& key) const { return found(key, "a text", look_str(key)); }
  std::string string_or(const std::string& key, std::string fallback) const {
    return look_str(key).value_or(std::move(fallback));
  }

  struct Tensor {
    uint32_t rank = 0;
    std::array<uint64_t, BRIM_MAX_RANK> dim{};  // outermost first
    uint32_t dtype = BRIM_DTYPE_NONE;
  };
  std::optional<Tensor> tensor(const std::string& name) const {
    Tensor t;
    const brim_status status = api_->get_tensor(meta_, str(name), &t.rank, t.dim.data(), &t.dtype);
    if (status == BRIM_NOT_FOUND) return std::nullopt;
    if (status != BRIM_OK) throw Failure(status, "tensor " + name + ": " + brim_status_name(status));
    return t;
  }

 private:
  // False for an absent key; throws for one of another type.
  static bool present(const std::string& key, const char* expected, brim_status status) {
    if (status == BRIM_OK) return true;
    if (status == BRIM_NOT_FOUND) return false;
    throw Failure(status, "metadata key " + key + " should be " + expected + ", but the file holds something else (" +
                              brim_status_name(status) + "); convert the model again");
  }

  template <class T>
  static T found(const std::string& key, const char* expected, const std::optional<T>& value) {
    if (value) return *value;
    throw Failure(BRIM_NOT_FOUND, "metadata key " + key + " (" + expected +
                                      ") is missing from the file; convert the model again with a current converter");
  }

  static uint32_t in_range(const std::string& key, uint64_t value, uint32_t low, uint32_t high) {
    if (value >= low && value <= high) return static_cast<uint32_t>(value);
    throw Failure(BRIM_DATA_CORRUPT, "metadata key " + key + " is " + std::to_string(value) +
                                         ", expected a value from " + std::to_string(low) + " to " +
                                         std::to_string(high) + "; the file is damaged or needs a newer plugin");
  }

  static float finite(const std::string& key, double value, float low) {
    const float narrow = static_cast<float>(value);
    if (!std::isfinite(narrow)) {
      throw Failure(BRIM_DATA_CORRUPT, "metadata key " + key + " is no finite 32-bit number; the file is damaged");
    }
    if (narrow >= low) return narrow;
    throw Failure(BRIM_DATA_CORRUPT, "metadata key " + key + " is " + std::to_string(narrow) + ", expected " +
                                         std::to_string(low) +
                                         " or above; the file is damaged or needs a newer plugin");
  }

  std::optional<uint64_t> look_u64(const std::string& key) const {
    uint64_t value = 0;
    if (!present(key, "an unsigned integer", api_->get_u64(meta_, str(key), &value))) return std::nullopt;
    return value;
  }
  std::optional<double> look_f64(const std::string& key) const {
    double value = 0;
    if (!present(key, "a number", api_->get_f64(meta_, str(key), &value))) return std::nullopt;
    return value;
  }
  std::optional<std::string> look_str(const std::string& key) const {
    brim_str value = {nullptr, 0};
    if (!present(key, "a text", api_->get_str(meta_, str(key), &value))) return std::nullopt;
    return std::string(value.ptr, static_cast<size_t>(value.len));
  }
  std::optional<uint64_t> look_layer(const std::string& key, uint32_t layer, uint32_t n_layers) const {
    const char* const expected = "an unsigned integer, or one per layer";
    uint64_t value = 0, n = 1;
    // An empty array has no element 0 either, but is there.
    if (!present(key, expected, api_->get_u64_at(meta_, str(key), 0, &value, &n)) && n != 0) return std::nullopt;
    if (n == 1) return value;
    if (n != n_layers) {
      throw Failure(BRIM_DATA_CORRUPT, "metadata key " + key + " has " + std::to_string(n) +
                                           " elements, expected one, " + "or one for each of " +
                                           std::to_string(n_layers) + " layers");
    }
    if (!present(key, expected, api_->get_u64_at(meta_, str(key), layer, &value, &n))) return std::nullopt;
    return value;
  }

  const brim_meta_api* api_;
  const brim_meta* meta_;
};

}  // namespace brim::arch
