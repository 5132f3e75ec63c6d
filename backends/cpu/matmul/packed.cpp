#include "matmul/packed.hpp"

#include <algorithm>

#include "formats/rows.hpp"
#include "matmul/bfloat.hpp"
#include "matmul/blocks8.hpp"

namespace brim_cpu {
namespace {

// The whole dwords of a block are bytes [kFirst, kLast) of it.
template <class Layout>
struct Dwords : BlockShape<Layout> {
  using Shape = BlockShape<Layout>;
  static constexpr size_t kFirst = Shape::kOddAt == 0 ? Shape::kOdd : 0, kLast = kFirst + Layout::kBytes - Shape::kOdd;
  static constexpr size_t kGroupBytes = 8 * Layout::kBytes;  // of a packed block
  static constexpr size_t kPackedOdd = kGroupBytes - 8 * Shape::kOdd;
};

// Eight rows.
template <class Layout>
void pack_group(const uint8_t* src, size_t row_bytes, uint8_t* dst) {
  using D = Dwords<Layout>;
  RowOffsets offsets;
  for (size_t i = 0; i < 8; ++i) offsets.at[i] = i * row_bytes;
  for (size_t at = 0; at < row_bytes; at += Layout::kBytes, dst += D::kGroupBytes) {
    const FileBlocks<Layout> block{src + at, offsets};
    size_t i = D::kFirst;
    for (; i + 16 <= D::kLast; i += 16) {
      Lanes four[4];
      block.quad(i, four);
      for (size_t j = 0; j < 4; ++j) lanes_store(dst + D::packed_at(i + 4 * j), four[j]);
    }
    for (; i < D::kLast; i += 4) lanes_store(dst + D::packed_at(i), block.dword(i));
    for (size_t r = 0; r < 8; ++r) {
      std::memcpy(dst + D::kPackedOdd + r * D::kOdd, block.p + offsets.at[r] + D::kOddAt, D::kOdd);
    }
  }
}

// Calls move(byte of the elements in the file's form, byte of the packed matrix, how many) for all that belongs to
// elements [first, first + n) of row r.
template <class Layout, class Move>
void each_block(size_t row_bytes, int64_t r, int64_t first, int64_t n, Move&& move) {
  using D = Dwords<Layout>;
  const auto lane = static_cast<size_t>(r % kPackedRows);
  size_t group =
      (static_cast<size_t>(r) - lane) * row_bytes + static_cast<size_t>(first / Layout::kElements) * D::kGroupBytes;
  for (size_t at = 0; n > 0; n -= Layout::kElements, group += D::kGroupBytes, at += Layout::kBytes) {
    for (size_t i = D::kFirst; i < D::kLast; i += 4) move(at + i, group + D::packed_at(i) + 4 * lane, 4);
    move(at + D::kOddAt, group + D::kPackedOdd + lane * D::kOdd, D::kOdd);
  }
}

template <class Layout>
void pack(const uint8_t* src, size_t row_bytes, int64_t first, int64_t n, uint8_t* dst) {
  const auto k = static_cast<int64_t>(row_bytes / Layout::kBytes * Layout::kElements);
  for (int64_t r = first; r < first + n;) {
    const uint8_t* from = src + static_cast<size_t>(r - first) * row_bytes;
    if (r % kPackedRows == 0 && r + kPackedRows <= first + n) {
      pack_group<Layout>(from, row_bytes, dst + static_cast<size_t>(r) * row_bytes);
      r += kPackedRows;
    } else {
      each_block<Layout>(row_bytes, r++, 0, k, [&](size_t file, size_t packed, size_t bytes) {
        std::memcpy(dst + packed, from + file, bytes);
      });
    }
  }
}

template <class Layout>
void unpack(const uint8_t* packed, size_t row_bytes, int64_t r, int64_t first, int64_t n, uint8_t* dst) {
  each_block<Layout>(row_bytes, r, first, n,
                     [&](size_t file, size_t at, size_t bytes) { std::memcpy(dst + file, packed + at, bytes); });
}

struct Packing {
  uint32_t dtype;
  int64_t block;
  decltype(&brim_cpu::pack<Q4_0Layout>) pack;
  decltype(&brim_cpu::unpack<Q4_0Layout>) unpack;
};

template <class Layout>
constexpr Packing entry() {
  return {Layout::kDtype, Layout::kElements, pack<Layout>, unpack<Layout>};
}

constexpr Packing kPackings[] = {
    entry<Q4_0Layout>(),  entry<Q4_1Layout>(),  entry<Q5_0Layout>(),  entry<Q5_1Layout>(),   entry<Q8_0Layout>(),
    entry<Iq4NlLayout>(), entry<Mxfp4Layout>(), entry<Q2KLayout>(),   entry<Q3KLayout>(),    entry<Q4KLayout>(),
    entry<Q5KLayout>(),   entry<Q6KLayout>(),   entry<Iq4XsLayout>(), entry<BfloatLayout>(),
};

const Packing* find(uint32_t dtype) {
  for (const Packing& packing : kPackings) {
    if (packing.dtype == dtype) return &packing;
  }
  return nullptr;
}

}  // namespace

int64_t packed_block(uint32_t dtype) {
  const Packing* packing = find(dtype);
  return packing == nullptr ? 0 : packing->block;
}

void pack_rows(uint32_t dtype, const uint8_t* src, size_t row_bytes, int64_t first, int64_t n, uint8_t* dst) {
  find(dtype)->pack(src, row_bytes, first, n, dst);
}

void unpack_row(uint32_t dtype, const uint8_t* packed, size_t row_bytes, int64_t r, int64_t first, int64_t n,
                uint8_t* dst) {
  find(dtype)->unpack(packed, row_bytes, r, first, n, dst);
}

void decode_packed_row(uint32_t dtype, const uint8_t* packed, size_t row_bytes, int64_t r, int64_t first, int64_t n,
                       float* dst) {
  constexpr int64_t kPart = 256;  // elements: whole blocks of every dtype
  uint8_t part[kPart * 2];        // no packed dtype takes more than two bytes an element
  for (int64_t i = 0; i < n; i += kPart) {
    const int64_t count = std::min(kPart, n - i);
    unpack_row(dtype, packed, row_bytes, r, first + i, count, part);
    decode_row(dtype, part, dst + i, count);
  }
}

}  // namespace brim_cpu
