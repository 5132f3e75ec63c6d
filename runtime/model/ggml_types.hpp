// The numbers that GGUF files give to data types and to whole-file mixes, and what Brim calls them.
#pragma once

#include <brim/types.h>

#include <cstdint>
#include <string_view>

namespace brim::model {

struct GgmlType {
  uint32_t id;
  std::string_view name;
  uint32_t block_elements;
  uint32_t block_bytes;
  uint32_t dtype;  // BRIM_DTYPE_NONE where Brim has none
};

// nullptr for a number that no public version of the format assigns.
const GgmlType* ggml_type(uint32_t id);
// By Tensor::type_name; nullptr for "ggml type N".
const GgmlType* ggml_type(std::string_view name);

// What general.file_type means: 15 is "Q4_K_M". Empty for an unknown number.
std::string_view file_type_name(uint64_t file_type);

}  // namespace brim::model
