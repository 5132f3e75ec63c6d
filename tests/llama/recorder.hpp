// The host's side of an architecture plugin, small enough to read: a metadata table and a builder that writes down what
// it is told. It infers no shapes; weights that the file lacks are absent, everything else succeeds.
#pragma once

#include <brim/architecture.h>

#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace brim::test {

inline std::string text(brim_str s) { return std::string(s.ptr, s.len); }

struct File {
  using Value = std::variant<uint64_t, double, bool, std::string, std::vector<uint64_t>>;
  std::map<std::string, Value> keys;
  std::map<std::string, std::vector<uint64_t>> tensors;

  static const File& of(const brim_meta* meta) { return *reinterpret_cast<const File*>(meta); }
  const brim_meta* meta() const { return reinterpret_cast<const brim_meta*>(this); }

  template <class T>
  static brim_status get(const brim_meta* meta, brim_str key, T* out) {
    const auto found = of(meta).keys.find(text(key));
    if (found == of(meta).keys.end()) return BRIM_NOT_FOUND;
    const T* value = std::get_if<T>(&found->second);
    if (!value) return BRIM_DATA_CORRUPT;
    *out = *value;
    return BRIM_OK;
  }
  static brim_status BRIM_CALL get_u64(const brim_meta* meta, brim_str key, uint64_t* out) {
    return get(meta, key, out);
  }
  static brim_status BRIM_CALL get_f64(const brim_meta* meta, brim_str key, double* out) {
    uint64_t integer = 0;
    if (get(meta, key, &integer) == BRIM_OK) {
      *out = static_cast<double>(integer);
      return BRIM_OK;
    }
    return get(meta, key, out);
  }
  static brim_status BRIM_CALL get_bool(const brim_meta* meta, brim_str key, uint32_t* out) {
    bool value = false;
    const brim_status status = get(meta, key, &value);
    *out = value;
    return status;
  }
  static brim_status BRIM_CALL get_str(const brim_meta* meta, brim_str key, brim_str* out) {
    const auto found = of(meta).keys.find(text(key));
    if (found == of(meta).keys.end()) return BRIM_NOT_FOUND;
    const auto* value = std::get_if<std::string>(&found->second);
    if (!value) return BRIM_DATA_CORRUPT;
    *out = {value->data(), value->size()};
    return BRIM_OK;
  }
  static brim_status BRIM_CALL get_u64_at(const brim_meta* meta, brim_str key, uint64_t i, uint64_t* out, uint64_t* n) {
    std::vector<uint64_t> all(1);
    const brim_status scalar = get(meta, key, &all[0]);
    if (scalar == BRIM_NOT_FOUND) return scalar;
    if (scalar != BRIM_OK) {
      const brim_status array = get(meta, key, &all);
      if (array != BRIM_OK) return array;
    }
    if (n) *n = all.size();
    if (i >= all.size()) return BRIM_NOT_FOUND;
    *out = all[i];
    return BRIM_OK;
  }
  static brim_status BRIM_CALL get_tensor(const brim_meta* meta, brim_str name, uint32_t* rank,
                                          uint64_t dim[BRIM_MAX_RANK], uint32_t* dtype) {
    *rank = 0;
    const auto found = of(meta).tensors.find(text(name));
    if (found == of(meta).tensors.end()) return BRIM_NOT_FOUND;
    *rank = static_cast<uint32_t>(found->second.size());
    for (size_t i = 0; i < found->second.size(); ++i) dim[i] = found->second[i];
    *dtype = BRIM_DTYPE_F32;
    return BRIM_OK;
  }
  static const brim_meta_api& api() {
    static const brim_meta_api table = {
        sizeof(brim_meta_api), 0, get_u64, get_f64, get_bool, get_str, get_u64_at, nullptr, nullptr, get_tensor};
    return table;
  }
};

struct Recorder {
  struct Tensor {
    std::vector<uint64_t> shape;
    std::vector<std::pair<uint32_t, std::string>> sources;  // family of files, name
    std::vector<uint32_t> transforms;
    uint32_t flags, layer;
    bool present = false;
  };
  struct Node {
    uint32_t op, layer;
    uint64_t must;
    std::vector<brim_value> in, out;
    std::string attr;  // its bytes
    bool operator==(const Node&) const = default;
    template <class T>
    T attribute() const {
      T value{};
      std::memcpy(&value, attr.data(), std::min(attr.size(), sizeof(T)));
      return value;
    }
  };

  explicit Recorder(const File& file) : file(file) {}

  const File& file;
  brim_model_desc model{};
  std::vector<Tensor> tensors;
  std::vector<brim_state_desc> states;
  std::vector<Node> nodes;
  std::map<uint32_t, brim_value> inputs, weights, state_values, outputs;
  brim_status status = BRIM_OK;
  std::string error;

  // Nodes of one op.
  std::vector<Node> of(uint32_t op) const {
    std::vector<Node> found;
    for (const Node& node : nodes) {
      if (node.op == op) found.push_back(node);
    }
    return found;
  }
  const Node* producer(brim_value value) const {
    for (const Node& node : nodes) {
      for (const brim_value out : node.out) {
        if (out == value) return &node;
      }
    }
    return nullptr;
  }
  const Tensor* tensor(const std::string& gguf) const {
    for (const Tensor& t : tensors) {
      if (t.sources.front().second == gguf) return &t;
    }
    return nullptr;
  }
  // The value that stands for a tensor in the graph; 0 if it was not asked for.
  brim_value weight_of(const std::string& gguf) const {
    for (const auto& [id, value] : weights) {
      if (tensors[id].sources.front().second == gguf) return value;
    }
    return 0;
  }

  static Recorder& of(brim_builder* builder) { return *reinterpret_cast<Recorder*>(builder); }
  brim_builder* builder() { return reinterpret_cast<brim_builder*>(this); }

  static const brim_builder_api& api() {
    static const brim_builder_api table = {sizeof(brim_builder_api),
                                           0,
                                           set_model,
                                           add_tensor,
                                           add_state,
                                           get_input,
                                           get_weight,
                                           get_state,
                                           set_scope,
                                           emit,
                                           set_output,
                                           set_error};
    return table;
  }

 private:
  brim_value next_ = 1;
  uint32_t layer_ = BRIM_NO_LAYER;

  brim_value value(std::map<uint32_t, brim_value>& known, uint32_t key) {
    const auto [place, fresh] = known.try_emplace(key, next_);
    if (fresh) ++next_;
    return place->second;
  }
  static void BRIM_CALL set_model(brim_builder* b, const brim_model_desc* desc) { of(b).model = *desc; }
  static brim_status BRIM_CALL add_tensor(brim_builder* b, const brim_tensor_desc* desc, uint32_t* id) {
    Tensor t{{desc->dim, desc->dim + desc->rank}, {}, {}, desc->flags, desc->layer};
    for (uint32_t i = 0; i < desc->n_sources; ++i) {
      const auto* source = BRIM_ELEM(brim_tensor_source, desc->sources, desc->source_stride, i);
      t.sources.emplace_back(source->files, text(source->name));
      t.transforms.push_back(source->transform);
    }
    t.present = of(b).file.tensors.contains(t.sources.front().second);
    if (!t.present && !(t.flags & BRIM_TENSOR_OPTIONAL)) {
      of(b).error = "missing " + t.sources.front().second;
      return of(b).status = BRIM_NOT_FOUND;
    }
    *id = static_cast<uint32_t>(of(b).tensors.size());
    of(b).tensors.push_back(std::move(t));
    return BRIM_OK;
  }
  static brim_status BRIM_CALL add_state(brim_builder* b, const brim_state_desc* desc, uint32_t* id) {
    *id = static_cast<uint32_t>(of(b).states.size());
    of(b).states.push_back(*desc);
    return BRIM_OK;
  }
  static brim_value BRIM_CALL get_input(brim_builder* b, uint32_t role) { return of(b).value(of(b).inputs, role); }
  static brim_value BRIM_CALL get_weight(brim_builder* b, uint32_t id) {
    return of(b).tensors.at(id).present ? of(b).value(of(b).weights, id) : 0;
  }
  static brim_value BRIM_CALL get_state(brim_builder* b, uint32_t id) { return of(b).value(of(b).state_values, id); }
  static void BRIM_CALL set_scope(brim_builder* b, uint32_t layer) { of(b).layer_ = layer; }
  static brim_status BRIM_CALL emit(brim_builder* b, uint32_t op, uint32_t, uint64_t must, uint64_t, const void* attr,
                                    const brim_value* in, uint32_t n_in, brim_value* out, uint32_t n_out) {
    Recorder& r = of(b);
    Node node{op, r.layer_, must, {in, in + n_in}, {}, {}};
    if (attr) {
      uint32_t size = 0;
      std::memcpy(&size, attr, sizeof(size));
      node.attr.assign(static_cast<const char*>(attr), size);
    }
    for (uint32_t i = 0; i < n_out; ++i) node.out.push_back(out[i] = r.next_++);
    r.nodes.push_back(std::move(node));
    return BRIM_OK;
  }
  static void BRIM_CALL set_output(brim_builder* b, uint32_t role, brim_value value) { of(b).outputs[role] = value; }
  static void BRIM_CALL set_error(brim_builder* b, brim_status code, brim_str message) {
    of(b).status = code;
    of(b).error = text(message);
  }
};

}  // namespace brim::test
