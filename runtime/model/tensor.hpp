// One entry of a model's tensor table: what it is called, what it holds and where its bytes lie. A table entry only;
// ModelFile hands out the bytes.
#pragma once

#include <brim/types.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace brim::model {

// Outermost first, row-major: a matrix of 100 rows of 64 elements is {100, 64}. The product fits 63 bits.
struct Shape {
  static constexpr uint32_t kMaxRank = 6;
  std::array<uint64_t, kMaxRank> extents{};
  uint32_t rank = 0;

  std::span<const uint64_t> dims() const { return {extents.data(), rank}; }
  // Elements of a row: the innermost extent.
  uint64_t row() const { return rank ? extents[rank - 1] : 1; }
  uint64_t elements() const {
    uint64_t product = 1;
    for (const uint64_t extent : dims()) product *= extent;
    return product;
  }
  uint64_t rows() const { return elements() / row(); }
  bool operator==(const Shape&) const = default;
};

struct Tensor {
  std::string_view name;
  // BRIM_DTYPE_*; BRIM_DTYPE_NONE for a type of the file that Brim cannot use. Such a tensor stays in the table, so
  // that a file can be shown; ModelFile::require refuses it by type_name.
  uint32_t dtype = BRIM_DTYPE_NONE;
  // As the file calls it: "q4_K", "iq2_xxs", "ggml type 77".
  std::string type_name;
  Shape shape;
  uint32_t file = 0;    // index among the shards
  uint64_t offset = 0;  // from the begin of that file
  uint64_t bytes = 0;   // 0 for a type whose block size is unknown
};

// "[32000, 4096]"
std::string to_string(const Shape& shape);

}  // namespace brim::model
