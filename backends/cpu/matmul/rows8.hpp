// The loop over row groups, K and tokens that the integer kernels share.
//
// Eight weight rows form a group, and they lie an eighth of the range apart: as the groups pass, eight streams run
// through the range, each straight on. Memory gives more to several streams than to one, and the processor fetches
// ahead in each of them by itself; eight neighbouring rows are one stream in its eyes (`matmul_bench q4_K` on Zen 3: 20
// GB/s against 8, or 13 with the next group's lines fetched by hand).
//
// For one token, every block is unpacked in registers and multiplied at once: the weights stream through and nothing
// but the activation (a few KiB, in L1) is read twice. For several tokens, a chunk of 256 k of two groups is unpacked
// once into two tiles (under 3 KiB each, in L1) and multiplied with every token of a token block, four at a time: eight
// sums in registers, where six loads (two of codes, four of activations) feed eight multiplications, so that the
// multiplications are what bounds it. The activations of a token block stay in half of a 512 KiB L2 while all row
// groups pass. Both ways add the same exact integer sums to the same F32 accumulators in the same order along K.
//
// A Family provides: kChunkBlocks, kBlockBytes, kBlockElements, Block (one prepared activation block), Tile,
//   accumulate_one(p, rows, a, acc)                     one block, one token
//   fill(p, rows, blocks, tile)                         up to kChunkBlocks blocks into the tile
//   accumulate<G, T>(tiles, blocks, a, stride, acc)     the blocks of G tiles for T tokens; tile g's sum for token t is
//                                                       acc[g * kTokenBlock + t]
#pragma once

#include <algorithm>

#include "matmul/lanes.hpp"

namespace brim_cpu {

inline constexpr int64_t kRowGroup = 8;
inline constexpr int64_t kTokenBlock = 128;
inline constexpr size_t kTokenBlockBytes = 256 * 1024;

// How many rows lie between the eight streams through `rows` rows; the last of them may be shorter. Streams that keep
// the same place in a page would share a few sets of a first cache, so a stride of half pages is made one row longer.
inline int64_t rows_apart(int64_t rows, size_t row_bytes) {
  const int64_t apart = (rows + kRowGroup - 1) / kRowGroup;
  const auto collide = [&](int64_t n) { return static_cast<size_t>(n) * row_bytes % 2048 == 0; };
  return apart >= kRowGroup && collide(apart) && !collide(apart + 1) ? apart + 1 : apart;
}

// The rows of a group: those of [row, end) that lie a multiple of `apart` from `row`, eight at most. Past them the last
// is repeated.
struct RowGroup {
  int64_t apart, live;
  RowOffsets offsets;

  RowGroup(size_t row_bytes, int64_t rows_apart, int64_t row, int64_t end)
      : apart(rows_apart), live(std::min((end - row + apart - 1) / apart, kRowGroup)) {
    for (int64_t i = 0; i < kRowGroup; ++i) {
      offsets.at[i] = static_cast<size_t>(std::min(i, live - 1) * apart) * row_bytes;
    }
  }
  void store(float* out, Floats v) const {
    float all[kRowGroup];
    floats_store(all, v);
    for (int64_t i = 0; i < live; ++i) out[i * apart] = all[i];
  }
};

// One group from `p` on, one token.
template <class Family>
void multiply_one(const uint8_t* p, const RowGroup& group, const uint8_t* activation, float* out, int64_t blocks) {
  const auto* a = reinterpret_cast<const typename Family::Block*>(activation);
  Floats acc = floats_zero();
  for (int64_t b = 0; b < blocks; ++b, p += Family::kBlockBytes, ++a) {
    Family::accumulate_one(p, group.offsets, *a, acc);
  }
  group.store(out, acc);
}

// G groups, the first from `p` on and each one row behind the one before it, for up to kTokenBlock tokens.
template <class Family, int G>
void multiply_groups(const uint8_t* p, size_t row_bytes, const RowGroup& group, const uint8_t* activations,
                     size_t stride, int64_t tokens, float* out, int64_t out_stride, int64_t blocks) {
  constexpr size_t kChunkBytes = static_cast<size_t>(Family::kChunkBlocks) * Family::kBlockBytes;
  Floats acc[G * kTokenBlock];
  for (int g = 0; g < G; ++g) {
    for (int64_t t = 0; t < tokens; ++t) acc[g * kTokenBlock + t] = floats_zero();
  }
  for (int64_t b = 0; b < blocks; b += Family::kChunkBlocks) {
    const int chunk = static_cast<int>(std::min<int64_t>(Family::kChunkBlocks, blocks - b));
    typename Family::Tile tiles[G];
    for (int g = 0; g < G; ++g) {
      const uint8_t* row = p + static_cast<size_t>(g) * row_bytes;
      const uint8_t* at = row + static_cast<size_t>(b) * Family::kBlockBytes;
      Family::fill(at, group.offsets, chunk, tiles[g]);
      // What is filled next, further along these rows or in those behind them, comes from memory while this is
      // multiplied.
      const uint8_t* next = b + chunk < blocks ? at + kChunkBytes : row + G * row_bytes;
      unroll<kRowGroup>([&](auto i) {
        for (size_t line = 0; line < kChunkBytes; line += 64) __builtin_prefetch(next + group.offsets.at[i] + line);
      });
    }
    const uint8_t* a = activations + static_cast<size_t>(b) * sizeof(typename Family::Block);
    int64_t t = 0;
    for (; t + 4 <= tokens; t += 4, a += 4 * stride)
      Family::template accumulate<G, 4>(tiles, chunk, a, stride, acc + t);
    for (; t + 2 <= tokens; t += 2, a += 2 * stride)
      Family::template accumulate<G, 2>(tiles, chunk, a, stride, acc + t);
    if (t < tokens) Family::template accumulate<G, 1>(tiles, chunk, a, stride, acc + t);
  }
  for (int g = 0; g < G; ++g) {
    for (int64_t t = 0; t < tokens; ++t) group.store(out + t * out_stride + g, acc[g * kTokenBlock + t]);
  }
}

template <class Family>
void multiply_rows8(const void* weights, size_t row_bytes, int64_t row_begin, int64_t row_end, const void* prepared,
                    size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride, int64_t k) {
  const int64_t blocks = k / Family::kBlockElements;
  const auto* activations = static_cast<const uint8_t*>(prepared);
  const auto* matrix = static_cast<const uint8_t*>(weights);
  const int64_t apart = rows_apart(row_end - row_begin, row_bytes);
  const int64_t groups_end = std::min(row_begin + apart, row_end);

  if (tokens == 1) {
    for (int64_t row = row_begin; row < groups_end; ++row) {
      const RowGroup group(row_bytes, apart, row, row_end);
      multiply_one<Family>(matrix + static_cast<size_t>(row) * row_bytes, group, activations, out + row, blocks);
    }
    return;
  }

  const int64_t fitting = static_cast<int64_t>(kTokenBlockBytes / std::max<size_t>(prepared_stride, 1)) / 4 * 4;
  const int64_t token_block = std::clamp<int64_t>(fitting, 16, kTokenBlock);
  for (int64_t begin = 0; begin < tokens; begin += token_block) {
    const int64_t count = std::min(token_block, tokens - begin);
    const uint8_t* block = activations + static_cast<size_t>(begin) * prepared_stride;
    for (int64_t row = row_begin; row < groups_end;) {
      const uint8_t* p = matrix + static_cast<size_t>(row) * row_bytes;
      float* to = out + begin * out_stride + row;
      const RowGroup group(row_bytes, apart, row, row_end);
      if (row + 1 < groups_end && RowGroup(row_bytes, apart, row + 1, row_end).live == group.live) {
        multiply_groups<Family, 2>(p, row_bytes, group, block, prepared_stride, count, to, out_stride, blocks);
        row += 2;
      } else {
        multiply_groups<Family, 1>(p, row_bytes, group, block, prepared_stride, count, to, out_stride, blocks);
        row += 1;
      }
    }
  }
}

// sum[g * T + t] += the products of N consecutive code vectors of tile g with 4 * N activations of token t, times
// scale[g] where Scaled.
template <Codes C, int N, int G, int T, bool Scaled>
BRIM_INLINE void add_products(Lanes* sum, const Lanes* const* w, const Lanes* const* scale, const int8_t* q,
                              size_t stride) {
  constexpr int kSteps = std::min(N, kChainSteps<C>);
  unroll<N / kSteps>([&](auto s) BRIM_INLINE_LAMBDA {
    Lanes chain[G * T];
    unroll<kSteps>([&](auto i) BRIM_INLINE_LAMBDA {
      const int j = s * kSteps + i;
      unroll<T>([&](auto t) BRIM_INLINE_LAMBDA {
        const Lanes a = broadcast4(q + static_cast<size_t>(t) * stride + 4 * j);
        unroll<G>([&](auto g) BRIM_INLINE_LAMBDA {
          Lanes& c = chain[g * T + t];
          c = i == 0 ? dot_first<C>(w[g][j], a) : dot_step<C>(c, w[g][j], a);
        });
      });
    });
    unroll<G * T>([&](auto i) BRIM_INLINE_LAMBDA {
      sum[i] = Scaled ? dot_scaled(sum[i], chain[i], *scale[i / T]) : dot_plain(sum[i], chain[i]);
    });
  });
}

}  // namespace brim_cpu
