// The header of a GGUF version 3 file: keys copied from another file or set here, and a table of tensors laid out one
// behind the other. It makes the bytes; whoever streams the tensors' data writes the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <model/tensor.hpp>
#include <span>
#include <string>
#include <string_view>

namespace brim::model {

class GgufWriter {
 public:
  explicit GgufWriter(uint64_t alignment) : alignment_(alignment) {}

  // An entry of Gguf::entries.
  void add_entry(std::span<const std::byte> entry);
  void add_u32(std::string_view key, uint32_t value);
  // Reserves the tensor's place behind the ones before it. `ggml_type` is the file's number of its type.
  void add_tensor(std::string_view name, const Shape& shape, uint32_t ggml_type, uint64_t bytes);

  // With the padding up to the first tensor's data.
  std::string header() const;
  // Zero bytes that follow data of this size.
  uint64_t padding(uint64_t bytes) const { return (alignment_ - bytes % alignment_) % alignment_; }

 private:
  uint64_t alignment_;
  std::string keys_, tensors_;
  uint64_t key_count_ = 0, tensor_count_ = 0, next_offset_ = 0;
};

}  // namespace brim::model
