// The loop over row groups, K and tokens that the integer kernels share.
//
// Eight weight rows form a group. For one token, every block is unpacked in registers and multiplied at once: the
// weights stream through and nothing but the activation (a few KiB, in L1) is read twice. For several tokens, a chunk
// of 256 k of the eight rows is unpacked once into a tile (under 3 KiB, in L1) and multiplied with every token of a
// token block, four at a time; the activations of a token block stay in half of a 512 KiB L2 while all row groups pass.
// Both ways add the same exact integer sums to the same F32 accumulators in the same order along K.
//
// A Family provides: kChunkBlocks, kBlockBytes, kBlockElements, Block (one prepared activation block), Tile,
//   accumulate_one(p, rows, a, acc)                     one block, one token
//   fill(p, rows, blocks, tile)                         up to kChunkBlocks blocks into the tile
//   accumulate<T>(tile, blocks, a, stride, acc)         the tile's blocks for T tokens
#pragma once

#include <algorithm>
#include <cstring>

#include "matmul/lanes.hpp"

namespace brim_cpu {

inline constexpr int64_t kRowGroup = 8;
inline constexpr int64_t kTokenBlock = 128;
inline constexpr size_t kTokenBlockBytes = 256 * 1024;

inline RowOffsets row_offsets(size_t row_bytes, int64_t rows) {
  RowOffsets offsets;
  for (int64_t i = 0; i < kRowGroup; ++i) offsets.at[i] = static_cast<size_t>(std::min(i, rows - 1)) * row_bytes;
  return offsets;
}

inline void store_rows(float* out, Floats v, int64_t rows) {
  if (rows >= kRowGroup) {
    floats_store(out, v);
  } else {
    float all[kRowGroup];
    floats_store(all, v);
    for (int64_t r = 0; r < rows; ++r) out[r] = all[r];
  }
}

template <class Family>
void multiply_rows8(const void* weights, size_t row_bytes, int64_t row_begin, int64_t row_end, const void* prepared,
                    size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride, int64_t k) {
  using Block = typename Family::Block;
  const int64_t blocks = k / Family::kBlockElements;
  const auto* matrix = static_cast<const uint8_t*>(weights);
  const auto* activations = static_cast<const uint8_t*>(prepared);

  if (tokens == 1) {
    for (int64_t row = row_begin; row < row_end; row += kRowGroup) {
      const RowOffsets rows = row_offsets(row_bytes, row_end - row);
      const uint8_t* p = matrix + static_cast<size_t>(row) * row_bytes;
      const Block* a = reinterpret_cast<const Block*>(activations);
      // The next group lies behind this one; it is fetched in one straight stream while this one's eight are used.
      const bool more = row + kRowGroup < row_end;
      const uint8_t* next = p + (more ? kRowGroup * row_bytes : 0);
      Floats acc = floats_zero();
      for (int64_t b = 0; b < blocks; ++b, p += Family::kBlockBytes, ++a) {
        prefetch<kRowGroup * Family::kBlockBytes>(next);
        next += more ? kRowGroup * Family::kBlockBytes : 0;
        Family::accumulate_one(p, rows, *a, acc);
      }
      store_rows(out + row, acc, row_end - row);
    }
    return;
  }

  const int64_t fitting = static_cast<int64_t>(kTokenBlockBytes / std::max<size_t>(prepared_stride, 1)) / 4 * 4;
  const int64_t token_block = std::clamp<int64_t>(fitting, 16, kTokenBlock);
  for (int64_t begin = 0; begin < tokens; begin += token_block) {
    const int64_t count = std::min(token_block, tokens - begin);
    for (int64_t row = row_begin; row < row_end; row += kRowGroup) {
      const RowOffsets rows = row_offsets(row_bytes, row_end - row);
      Floats acc[kTokenBlock];
      for (int64_t t = 0; t < count; ++t) acc[t] = floats_zero();
      for (int64_t b = 0; b < blocks; b += Family::kChunkBlocks) {
        const int chunk = static_cast<int>(std::min<int64_t>(Family::kChunkBlocks, blocks - b));
        typename Family::Tile tile;
        Family::fill(matrix + static_cast<size_t>(row) * row_bytes + static_cast<size_t>(b) * Family::kBlockBytes, rows,
                     chunk, tile);
        const uint8_t* a =
            activations + static_cast<size_t>(begin) * prepared_stride + static_cast<size_t>(b) * sizeof(Block);
        int64_t t = 0;
        for (; t + 4 <= count; t += 4, a += 4 * prepared_stride) {
          Family::template accumulate<4>(tile, chunk, a, prepared_stride, acc + t);
        }
        for (; t + 2 <= count; t += 2, a += 2 * prepared_stride) {
          Family::template accumulate<2>(tile, chunk, a, prepared_stride, acc + t);
        }
        if (t < count) Family::template accumulate<1>(tile, chunk, a, prepared_stride, acc + t);
      }
      for (int64_t t = 0; t < count; ++t) store_rows(out + (begin + t) * out_stride + row, acc[t], row_end - row);
    }
  }
}

// sum[t] += the products of N consecutive code vectors with 4 * N activations of T tokens, times `scale` where Scaled.
template <Codes C, int N, int T, bool Scaled>
BRIM_INLINE void add_products(Lanes* sum, const Lanes* w, Lanes scale, const int8_t* q, size_t stride) {
  constexpr int kSteps = std::min(N, kChainSteps<C>);
  unroll<N / kSteps>([&](auto s) BRIM_INLINE_LAMBDA {
    Lanes chain[T];
    unroll<kSteps>([&](auto i) BRIM_INLINE_LAMBDA {
      const int j = s * kSteps + i;
      unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
        const Lanes a = broadcast4(q + static_cast<size_t>(t) * stride + 4 * j);
        chain[t] = i == 0 ? dot_first<C>(w[j], a) : dot_step<C>(chain[t], w[j], a);
      });
    });
    unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
      sum[t] = Scaled ? dot_scaled(sum[t], chain[t], scale) : dot_plain(sum[t], chain[t]);
    });
  });
}

}  // namespace brim_cpu
