#include "model_data.hpp"

#include <brim/brim.hpp>
#include <cmath>

namespace check {
namespace {

using Json = nlohmann::ordered_json;

std::string text(brim_str s) { return s.len == 0 ? std::string() : std::string(s.ptr, static_cast<size_t>(s.len)); }

// The host's rules (architecture.h): integers of either sign where the number fits, integers where a fraction is asked.
brim_status as_u64(const Json& value, uint64_t* out) {
  if (!value.is_number_integer() || (!value.is_number_unsigned() && value.get<int64_t>() < 0)) return BRIM_DATA_CORRUPT;
  *out = value.get<uint64_t>();
  return BRIM_OK;
}
brim_status as_f64(const Json& value, double* out) {
  if (!value.is_number()) return BRIM_DATA_CORRUPT;
  *out = value.get<double>();
  return BRIM_OK;
}
brim_status as_text(const Json& value, brim_str* out) {
  if (!value.is_string()) return BRIM_DATA_CORRUPT;
  const auto& words = value.get_ref<const std::string&>();
  *out = {words.data(), words.size()};
  return BRIM_OK;
}

template <class T>
brim_status element(const Json* value, uint64_t i, T* out, uint64_t* n, brim_status (*as)(const Json&, T*)) {
  if (value == nullptr) return BRIM_NOT_FOUND;
  if (!value->is_array()) {
    if (n != nullptr) *n = 1;
    return i == 0 ? as(*value, out) : BRIM_NOT_FOUND;
  }
  if (n != nullptr) *n = value->size();
  for (const Json& one : *value) {  // an array has one type of element
    T ignored{};
    if (as(one, &ignored) != BRIM_OK) return BRIM_DATA_CORRUPT;
  }
  return i < value->size() ? as((*value)[i], out) : BRIM_NOT_FOUND;
}

}  // namespace

ModelData read_model_data(const std::string& path) {
  const brim::Runtime runtime;
  const brim::Model model(runtime, path);
  Json all = Json::parse(model.describe());
  ModelData out;
  out.keys = std::move(all.at("metadata"));
  for (const Json& tensor : all.at("tensors")) {
    ModelData::Tensor& t = out.tensors[tensor.at("name").get<std::string>()];
    t.dims = tensor.at("shape").get<std::vector<uint64_t>>();
    const auto dtype = tensor.at("dtype").get<std::string>();
#define BRIM_X(name, number, spelling, elements, bytes) \
  if (dtype == spelling) t.dtype = number;
    BRIM_DTYPE_TABLE(BRIM_X)
#undef BRIM_X
  }
  return out;
}

MetaView::MetaView(const ModelData& data)
    : data_(data), table_(fenced_struct(functions(), sizeof(brim_meta_api) + 32)) {
  table_.seal();
}

std::map<std::string, Asked> MetaView::keys() const {
  const std::lock_guard lock(mutex_);
  return keys_;
}
std::vector<std::string> MetaView::tensors() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [name, asked] : tensors_) out.push_back(name);
  return out;
}

const Json* MetaView::find(brim_str key, Asked as) const {
  const std::string name = text(key);
  {
    const std::lock_guard lock(mutex_);
    keys_.emplace(name, as);
  }
  const auto found = data_.keys.find(name);
  return found == data_.keys.end() ? nullptr : &*found;
}

brim_meta_api MetaView::functions() {
  brim_meta_api api{};
  api.get_u64 = [](const brim_meta* meta, brim_str key, uint64_t* out) -> brim_status {
    const Json* value = of(meta).find(key, Asked::kU64);
    return value ? as_u64(*value, out) : BRIM_NOT_FOUND;
  };
  api.get_f64 = [](const brim_meta* meta, brim_str key, double* out) -> brim_status {
    const Json* value = of(meta).find(key, Asked::kF64);
    return value ? as_f64(*value, out) : BRIM_NOT_FOUND;
  };
  api.get_bool = [](const brim_meta* meta, brim_str key, uint32_t* out) -> brim_status {
    const Json* value = of(meta).find(key, Asked::kBool);
    if (value == nullptr) return BRIM_NOT_FOUND;
    if (!value->is_boolean()) return BRIM_DATA_CORRUPT;
    *out = value->get<bool>() ? 1 : 0;
    return BRIM_OK;
  };
  api.get_str = [](const brim_meta* meta, brim_str key, brim_str* out) -> brim_status {
    const Json* value = of(meta).find(key, Asked::kText);
    return value ? as_text(*value, out) : BRIM_NOT_FOUND;
  };
  api.get_u64_at = [](const brim_meta* meta, brim_str key, uint64_t i, uint64_t* out, uint64_t* n) -> brim_status {
    return element<uint64_t>(of(meta).find(key, Asked::kU64s), i, out, n, as_u64);
  };
  api.get_f64_at = [](const brim_meta* meta, brim_str key, uint64_t i, double* out, uint64_t* n) -> brim_status {
    return element<double>(of(meta).find(key, Asked::kF64s), i, out, n, as_f64);
  };
  api.get_str_at = [](const brim_meta* meta, brim_str key, uint64_t i, brim_str* out, uint64_t* n) -> brim_status {
    return element<brim_str>(of(meta).find(key, Asked::kTexts), i, out, n, as_text);
  };
  api.get_tensor = [](const brim_meta* meta, brim_str name, uint32_t* rank, uint64_t dim[BRIM_MAX_RANK],
                      uint32_t* dtype) -> brim_status {
    const MetaView& view = of(meta);
    const std::string wanted = text(name);
    {
      const std::lock_guard lock(view.mutex_);
      view.tensors_.emplace(wanted, true);
    }
    *rank = 0;
    const auto found = view.data_.tensors.find(wanted);
    if (found == view.data_.tensors.end()) return BRIM_NOT_FOUND;
    *rank = static_cast<uint32_t>(found->second.dims.size());
    for (uint32_t i = 0; i < BRIM_MAX_RANK; ++i) dim[i] = i < *rank ? found->second.dims[i] : 0;
    if (dtype != nullptr) *dtype = found->second.dtype;
    return BRIM_OK;
  };
  return api;
}

}  // namespace check
