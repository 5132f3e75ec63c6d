// One block of eight weight rows, where it lies in the file's form or packed.
//
// The file has a row's blocks one behind the other, so that eight rows' dwords must be transposed into lanes
// (lanes.hpp) each time they are read. Packed, they lie transposed: a group of eight rows is one stretch of memory,
// block by block; of each block, dword 0 of the eight rows, dword 1, and so on, then what a block has besides whole
// dwords (a scale of two bytes, or one). No byte is added, and every dword is one load.
//
// Offsets below are those of the file's block, and multiples of four once the odd bytes before them are left out. Flat
// layouts begin with their odd bytes, super layouts end with them.
#pragma once

#include <array>
#include <type_traits>

#include "formats/blocks.hpp"
#include "matmul/lanes.hpp"

namespace brim_cpu {

// Where a dword of the file's block stands among those of the packed one: in the order in which kernels read them. A
// processor fetches ahead in a stream that runs forward, and a step back in each block ends that: with the file's order
// one thread on Zen 3 got 5 GB/s of packed Q6_K and 7 of Q2_K, in this one 22 and 18 (`matmul_bench`).
template <class Layout>
constexpr size_t read_order(size_t at) {
  if constexpr (std::is_base_of_v<Q6KLayout, Layout>) {  // scales, then high, low, low of each 16 columns
    if (at >= 192) return at - 192;
    const size_t column = at >= 128 ? (at - 128) / 16 : at / 64 * 2 + at % 32 / 16;
    return 16 + 48 * column + (at >= 128 ? 0 : 16 + at % 64 / 32 * 16) + at % 16;
  } else if constexpr (std::is_base_of_v<Q5KLayout, Layout>) {  // header, then high and four low of each 16 columns
    if (at < 16) return at;
    const size_t column = (at - 16) / 16 % 2;
    return 16 + 80 * column + (at < 48 ? 0 : 16 + (at - 48) / 32 * 16) + at % 16;
  } else if constexpr (std::is_base_of_v<Q3KLayout, Layout>) {  // scales, then high, low, low of each 16 columns
    if (at >= 96) return at - 96;
    return 12 + 48 * (at % 32 / 16) + at / 32 * 16 + at % 16;
  } else {
    return at;
  }
}

template <class Layout>
struct BlockShape {
  static constexpr size_t kOdd = Layout::kBytes % 4;
  static constexpr size_t kOddAt = Layout::kElements == 32 ? 0 : Layout::kBytes - kOdd;
  static constexpr size_t packed_at(size_t at) { return 8 * read_order<Layout>(at > kOddAt ? at - kOdd : at); }
};

// Each lane is a row; a block of the rows is at p + rows.at[..].
template <class Layout>
struct FileBlocks {
  using Kind = Single;
  static constexpr bool kPacked = false;
  const uint8_t* p;
  const RowOffsets& rows;

  // 16 bytes of each row: four dwords.
  BRIM_INLINE void quad(size_t at, Lanes* out) const { transpose16(p + at, rows, out); }
  BRIM_INLINE Lanes dword(size_t at) const { return gather4(p + at, rows); }
  // The odd bytes in the low bits.
  BRIM_INLINE Lanes odd() const {
    using Shape = BlockShape<Layout>;
    if constexpr (Shape::kOddAt == 0) {
      return lanes_and(gather4(p, rows), splat32((1u << (8 * Shape::kOdd)) - 1));
    } else {
      return lanes_shift<8 * static_cast<int>(Shape::kOdd) - 32>(gather4(p + Layout::kBytes - 4, rows));
    }
  }
};

// A block of as many groups as K holds side by side.
template <class Layout, class K>
struct PackedBlocks {
  using Kind = K;
  using Ints = typename K::Ints;
  static constexpr bool kPacked = true;
  std::array<const uint8_t*, K::kGroups> p;

  BRIM_INLINE void quad(size_t at, Ints* out) const {
    unroll<4>([&](auto i) BRIM_INLINE_LAMBDA { out[i] = dword(at + 4 * i); });
  }
  BRIM_INLINE Ints dword(size_t at) const {
    return K::each([&](size_t g) BRIM_INLINE_LAMBDA { return lanes_load(p[g] + BlockShape<Layout>::packed_at(at)); });
  }
  BRIM_INLINE Ints odd() const {
    using Shape = BlockShape<Layout>;
    static_assert(Shape::kOdd == 1 || Shape::kOdd == 2);
    return K::each([&](size_t g) BRIM_INLINE_LAMBDA {
      const uint8_t* at = p[g] + 8 * (Layout::kBytes - Shape::kOdd);
      return Shape::kOdd == 2 ? lanes_widen16(at) : lanes_widen8(at);
    });
  }
};

}  // namespace brim_cpu
