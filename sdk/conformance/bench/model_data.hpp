// A model file's metadata and tensor shapes as an architecture sees them, kept as data that a test can change: read
// once through brim.h, then answered from here.
#pragma once

#include <brim/architecture.h>

#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fenced.hpp"

namespace check {

struct ModelData {
  struct Tensor {
    std::vector<uint64_t> dims;  // outermost first
    uint32_t dtype = BRIM_DTYPE_F32;
  };
  nlohmann::ordered_json keys;  // numbers, booleans, texts, and arrays of them
  std::map<std::string, Tensor> tensors;
};
// Throws brim::Failure for a file that cannot be read.
ModelData read_model_data(const std::string& path);

// How a key was asked for.
enum class Asked : uint8_t { kU64, kF64, kBool, kText, kU64s, kF64s, kTexts };

// One model file in the plugin's hands. It writes down what is asked for. [any]
class MetaView {
 public:
  explicit MetaView(const ModelData& data);
  MetaView(const MetaView&) = delete;

  const brim_meta_api* api() const { return table_.as<brim_meta_api>(); }
  const brim_meta* meta() const { return reinterpret_cast<const brim_meta*>(this); }
  const ModelData& data() const { return data_; }
  std::map<std::string, Asked> keys() const;
  std::vector<std::string> tensors() const;

 private:
  static const MetaView& of(const brim_meta* meta) { return *reinterpret_cast<const MetaView*>(meta); }
  const nlohmann::ordered_json* find(brim_str key, Asked as) const;
  static brim_meta_api functions();

  const ModelData& data_;
  Fenced table_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Asked> keys_;
  mutable std::map<std::string, bool> tensors_;
};

}  // namespace check
