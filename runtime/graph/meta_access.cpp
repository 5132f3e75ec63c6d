#include <algorithm>
#include <base/error.hpp>
#include <graph/meta_access.hpp>
#include <string_view>
#include <type_traits>

namespace brim::graph {
namespace {

const model::ModelFile& file_of(const brim_meta* meta) { return *reinterpret_cast<const model::ModelFile*>(meta); }

// Every look-up ends here: absent is NOT_FOUND, a wrong type is what Metadata throws.
template <class Look>
brim_status look_up(const Look& look) noexcept {
  try {
    return look() ? BRIM_OK : BRIM_NOT_FOUND;
  } catch (...) {
    return report_current_exception(nullptr);
  }
}

template <class T, class U>
bool give(const std::optional<T>& value, U* out) {
  if (value) *out = static_cast<U>(*value);
  return value.has_value();
}

// Element i of an array; a scalar counts as an array of one. `array` gives the length or nothing, `element` one
// element.
template <class T>
bool give_at(const T& values, uint64_t i, auto* out, uint64_t* n) {
  if (n) *n = values.size();
  if (i >= values.size()) return false;
  *out = values[i];
  return true;
}

brim_status get_u64(const brim_meta* meta, brim_str key, uint64_t* out) {
  return look_up([&] { return give(file_of(meta).metadata().u64(view(key)), out); });
}

brim_status get_f64(const brim_meta* meta, brim_str key, double* out) {
  return look_up([&] { return give(file_of(meta).metadata().f64(view(key)), out); });
}

brim_status get_bool(const brim_meta* meta, brim_str key, uint32_t* out) {
  return look_up([&] { return give(file_of(meta).metadata().boolean(view(key)), out); });
}

brim_status get_str(const brim_meta* meta, brim_str key, brim_str* out) {
  return look_up([&] {
    const auto text = file_of(meta).metadata().string(view(key));
    if (text) *out = str(*text);
    return text.has_value();
  });
}

bool is_array(const model::Value& value) {
  return std::visit(
      [](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        return !std::is_arithmetic_v<T> && !std::is_same_v<T, std::string_view>;
      },
      value);
}

brim_status get_u64_at(const brim_meta* meta, brim_str key, uint64_t i, uint64_t* out, uint64_t* n) {
  return look_up([&] {
    const auto& metadata = file_of(meta).metadata();
    const model::Value* value = metadata.find(view(key));
    if (!value) return false;
    if (!is_array(*value)) return give_at(std::array{*metadata.u64(view(key))}, i, out, n);
    return give_at(*metadata.u64s(view(key)), i, out, n);
  });
}

brim_status get_f64_at(const brim_meta* meta, brim_str key, uint64_t i, double* out, uint64_t* n) {
  return look_up([&] {
    const auto& metadata = file_of(meta).metadata();
    const model::Value* value = metadata.find(view(key));
    if (!value) return false;
    if (!is_array(*value)) return give_at(std::array{*metadata.f64(view(key))}, i, out, n);
    return give_at(*metadata.f32s(view(key)), i, out, n);
  });
}

brim_status get_str_at(const brim_meta* meta, brim_str key, uint64_t i, brim_str* out, uint64_t* n) {
  return look_up([&] {
    const auto& metadata = file_of(meta).metadata();
    const model::Value* value = metadata.find(view(key));
    if (!value) return false;
    if (!is_array(*value)) return give_at(std::array{str(*metadata.string(view(key)))}, i, out, n);
    const auto& texts = *metadata.strings(view(key));
    if (n) *n = texts.size();
    if (i >= texts.size()) return false;
    *out = str(texts[i]);
    return true;
  });
}

brim_status get_tensor(const brim_meta* meta, brim_str name, uint32_t* rank, uint64_t dim[BRIM_MAX_RANK],
                       uint32_t* dtype) {
  return look_up([&] {
    *rank = 0;
    const model::Tensor* tensor = file_of(meta).find(view(name));
    if (!tensor) return false;
    *rank = tensor->shape.rank;
    std::fill_n(dim, BRIM_MAX_RANK, 0);
    std::copy(tensor->shape.dims().begin(), tensor->shape.dims().end(), dim);
    if (dtype) *dtype = tensor->dtype;
    return true;
  });
}

}  // namespace

const brim_meta_api& meta_api() {
  static const brim_meta_api api = {
      sizeof(brim_meta_api), 0, get_u64, get_f64, get_bool, get_str, get_u64_at, get_f64_at, get_str_at, get_tensor};
  return api;
}

}  // namespace brim::graph
