// GGUF versions 2 and 3, little-endian: the header of one file becomes a Metadata and a table of tensors. Strings are
// views into the given bytes, which must outlive the result. Every count, length, offset and product is checked against
// the file before it is used, so any bytes whatever give a header or an Error. Dimensions are reversed here, once: the
// file writes the innermost first, everything in Brim is outermost first. Tensor data is located, not read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <model/metadata.hpp>
#include <model/tensor.hpp>
#include <span>
#include <string>
#include <vector>

namespace brim::model {

struct Gguf {
  uint32_t version = 0;
  uint64_t alignment = 0;
  uint64_t header_bytes = 0;  // metadata and tensor table, without the padding behind them
  uint64_t data_begin = 0;
  Metadata metadata;
  // Each key's whole entry (name, type, value) as it stands in the file, in the order of metadata.keys(): for writers,
  // because Metadata widens numbers and forgets their types.
  std::vector<std::span<const std::byte>> entries;
  std::vector<Tensor> tensors;  // in file order; Tensor::file is 0
};

// What the bytes have to hold: all tensors, or the header and any part of what follows it.
enum class Extent { kWhole, kHeader };

// `bytes` is the file, `source` what messages call it. Throws DATA_CORRUPT or UNSUPPORTED.
Gguf parse_gguf(std::span<const std::byte> bytes, std::string source, Extent extent = Extent::kWhole);

}  // namespace brim::model
