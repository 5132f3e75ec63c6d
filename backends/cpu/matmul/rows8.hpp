// The loop over row groups, K and tokens that the integer kernels share.
//
// Eight weight rows form a group, and they lie an eighth of the range apart: as the groups pass, eight streams run
// through the range, each straight on. Memory gives more to several streams than to one, and the processor fetches
// ahead in each of them by itself; eight neighbouring rows are one stream in its eyes (`matmul_bench q4_K` on Zen 3: 20
// GB/s against 8, or 13 with the next group's lines fetched by hand).
//
// For one token, every block is unpacked in registers and multiplied at once: the weights stream through and nothing
// but the activation (a few KiB, in L1) is read twice. For several tokens, a chunk of 256 k of some groups is unpacked
// once into a tile, the groups' vectors of a code side by side (at most 16 KiB, in L1), and multiplied with every token
// of a token block, two vectors by four or more tokens at a time: their sums stay in registers (sums.hpp), where six
// loads (two of codes, four of activations) feed eight multiplications, so that the multiplications are what bounds it.
// The activations of a token block stay in a second cache, half of 512 KiB or most of the MiB and more that processors
// with AVX-512 have, while all row groups pass: where rows are longer than that, a range of K at a time, the sums going
// on from the results so far. All ways add the same exact integer sums to the same F32 accumulators in the same order
// along K.
//
// Packed weights (blocks8.hpp) go the same ways, a group being one stretch of memory: one token takes kStreams groups,
// that part of the range apart, block by block in turns, or two side by side where vectors hold sixteen rows, and asks
// for 4 KiB of them in all before they are read: with 100 ns to memory, 64 lines on their way are 40 GB/s.
//
// A Family provides: Layout, kStreams, kChunkBlocks, kPassTokens, Block (one prepared activation block), Tile<G>,
//   accumulate_one(block, a, acc)                       one block, of eight rows or of two groups' (Wide), one token
//   fill<G>(group, first, blocks, tile, g)              up to kChunkBlocks blocks into the tile, as its groups from g
//   accumulate<G, T>(tile, blocks, a, stride, acc)      the blocks of G groups for T tokens; the sum of group g
//                                                       for token t is acc[t * G + g]
//   InPlace<G>                                          if codes can be multiplied as they are packed: a tile that only
//                                                       points at them, for few tokens; for many, a copy that stays in
//                                                       L1 is a little faster
#pragma once

#include <algorithm>
#include <array>

#include "matmul/blocks8.hpp"
#include "matmul/matmul.hpp"
#include "matmul/sums.hpp"

namespace brim_cpu {

inline constexpr int64_t kRowGroup = 8;
// A pass over a tile takes so many groups and tokens: two vectors of codes by the tokens whose sums the registers hold.
inline constexpr int kTileGroups = 2 * kWideGroups;
inline constexpr int kIntegerTokens = kWideGroups == 1 ? 4 : 6;
inline constexpr int64_t kFewTokens = 64;  // at the most, that packed codes are multiplied in place for
inline constexpr int64_t kTokenBlockBytes = (kWideGroups == 1 ? 256 : 600) * 1024;

// The block that `activations` leads to, of the token t rows further.
template <class Block>
BRIM_INLINE const Block& block_of(const uint8_t* activations, size_t stride, int t) {
  return *reinterpret_cast<const Block*>(activations + static_cast<size_t>(t) * stride);
}

// How many rows lie between the eight streams through `rows` rows; the last of them may be shorter. Streams that keep
// the same place in a page would share a few sets of a first cache, so a stride of half pages is made one row longer.
inline int64_t rows_apart(int64_t rows, size_t row_bytes) {
  const int64_t apart = (rows + kRowGroup - 1) / kRowGroup;
  const auto collide = [&](int64_t n) { return static_cast<size_t>(n) * row_bytes % 2048 == 0; };
  return apart >= kRowGroup && collide(apart) && !collide(apart + 1) ? apart + 1 : apart;
}

// The rows of a group: those of [row, end) that lie a multiple of `apart` from `row`, eight at most. Past them the last
// is repeated.
template <class Layout>
struct FileGroup {
  using Kind = Single;
  static constexpr int64_t kNext = 1;  // rows to the next group
  template <int kStreams>
  static constexpr int64_t kAhead = 0;  // blocks that one token fetches ahead: none, accumulate_one does what helps
  const uint8_t* p;
  int64_t apart, live;
  RowOffsets offsets;

  FileGroup(const uint8_t* matrix, size_t row_bytes, int64_t rows_apart, int64_t row, int64_t end)
      : p(matrix + static_cast<size_t>(row) * row_bytes),
        apart(rows_apart),
        live(std::min((end - row + apart - 1) / apart, kRowGroup)) {
    for (int64_t i = 0; i < kRowGroup; ++i) {
      offsets.at[i] = static_cast<size_t>(std::min(i, live - 1) * apart) * row_bytes;
    }
  }
  BRIM_INLINE FileBlocks<Layout> block(int64_t b) const { return {p + b * int64_t{Layout::kBytes}, offsets}; }
  // The lines of n blocks, in each stretch of memory.
  static constexpr int64_t lines(int64_t n) { return (n * int64_t{Layout::kBytes} + 63) / 64; }
  // Lines [begin, end) from block b on.
  BRIM_INLINE void fetch(int64_t b, int64_t begin, int64_t end) const {
    const uint8_t* from = p + b * int64_t{Layout::kBytes};
    unroll<kRowGroup>([&](auto i) BRIM_INLINE_LAMBDA {
      for (int64_t line = begin; line < end; ++line) __builtin_prefetch(from + offsets.at[i] + 64 * line);
    });
  }
  void store(float* out, int64_t, Floats v) const {
    float all[kRowGroup];
    floats_store(all, v);
    for (int64_t i = 0; i < live; ++i) out[i * apart] = all[i];
  }
  Floats load(const float* out) const {
    float all[kRowGroup] = {};
    for (int64_t i = 0; i < live; ++i) all[i] = out[i * apart];
    return floats_load(all);
  }
};

// As many groups as K holds side by side.
template <class Layout, class K>
struct PackedGroup {
  using Kind = K;
  static constexpr int64_t kNext = kRowGroup;
  static constexpr int64_t live = kRowGroup;
  static constexpr int64_t kBytes = kRowGroup * int64_t{Layout::kBytes};  // of a group's block
  template <int kStreams>
  static constexpr int64_t kAhead = (4096 / kStreams + kBytes / 2) / kBytes;
  std::array<const uint8_t*, K::kGroups> p;

  BRIM_INLINE PackedBlocks<Layout, K> block(int64_t b) const {
    PackedBlocks<Layout, K> at{p};
    for (const uint8_t*& group : at.p) group += b * kBytes;
    return at;
  }
  static constexpr int64_t lines(int64_t n) { return (n * kBytes + 63) / 64; }
  BRIM_INLINE void fetch(int64_t b, int64_t begin, int64_t end) const {
    for (const uint8_t* group : p) {
      for (int64_t line = begin; line < end; ++line) __builtin_prefetch(group + b * kBytes + 64 * line);
    }
  }
  void store(float* out, int64_t apart, typename K::Reals v) const { K::store(out, apart, v); }
  Floats load(const float* out) const { return floats_load(out); }
};

// One token and S times the groups that a Group holds, whose rows are `apart` from each other.
template <class Family, int S, class Group>
void multiply_one(const Group* groups, const uint8_t* activation, float* out, int64_t apart, int64_t blocks) {
  using Kind = typename Group::Kind;
  constexpr int64_t kAhead = Group::template kAhead<Family::kStreams>;
  const auto* a = reinterpret_cast<const typename Family::Block*>(activation);
  typename Kind::Reals acc[S];
  for (int s = 0; s < S; ++s) acc[s] = Kind::real(0);
  for (int64_t b = 0; b < blocks; ++b, ++a) {
#pragma GCC unroll 1
    for (int s = 0; s < S; ++s) {
      if constexpr (kAhead > 0) groups[s].fetch(b + kAhead, 0, Group::lines(1));
      Family::accumulate_one(groups[s].block(b), *a, acc[s]);
    }
  }
  for (int s = 0; s < S; ++s) groups[s].store(out + s * Kind::kGroups * apart, apart, acc[s]);
}

template <class Family, int G, class Tile, class Layout>
void fill_tile(const FileGroup<Layout>* groups, int64_t b, int chunk, Tile& tile) {
  for (int g = 0; g < G; ++g) Family::template fill<G>(groups[g], b, chunk, tile, g);
}
template <class Family, int G, class Tile, class Layout>
void fill_tile(const PackedGroup<Layout, Single>* groups, int64_t b, int chunk, Tile& tile) {
  using Kind = KindOf<G>;
  for (int g = 0; g < G; g += Kind::kGroups) {
    PackedGroup<Layout, Kind> side;
    for (int i = 0; i < Kind::kGroups; ++i) side.p[i] = groups[g + i].p[0];
    Family::template fill<G>(side, b, chunk, tile, g);
  }
}

// Blocks [begin, end) of rows of `all`.
struct BlockRange {
  int64_t begin, end, all;
};

// A range of blocks of G groups, each kNext rows behind the one before it, for up to kTokenBlock tokens.
template <class Family, int G, class Tile, class Group>
void multiply_groups(const Group* groups, const uint8_t* activations, size_t stride, int64_t tokens, float* out,
                     int64_t out_stride, BlockRange blocks) {
  alignas(64) Floats acc[kTokenBlock * G];
  const auto result = [&](int64_t t, int g) { return out + t * out_stride + g * Group::kNext; };
  if (blocks.begin == 0) {
    std::fill_n(acc, tokens * G, floats_zero());
  } else {
    for (int64_t t = 0; t < tokens; ++t) {
      for (int g = 0; g < G; ++g) acc[t * G + g] = groups[g].load(result(t, g));
    }
  }
  const auto leave = [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int g = 0; g < G; ++g) groups[g].store(result(t, g), 0, acc[t * G + g]);
    }
  };
  if (blocks.all == 0) leave(0, tokens);
  for (int64_t b = blocks.begin; b < blocks.end; b += Family::kChunkBlocks) {
    const int chunk = static_cast<int>(std::min<int64_t>(Family::kChunkBlocks, blocks.end - b));
    Tile tile;
    fill_tile<Family, G>(groups, b, chunk, tile);
    // What is filled next, further along these rows or in those behind them, comes from memory while this is
    // multiplied, some lines in every pass: memory takes no more than some tens at a time.
    const bool last = b + chunk == blocks.end;
    const int64_t next = last ? blocks.begin + G * blocks.all : b + chunk;
    constexpr int64_t kLines = Group::lines(Family::kChunkBlocks);
    const int64_t lines = (kLines * Family::kPassTokens + tokens - 1) / tokens;  // a pass
    int64_t line = 0;
    // A pass's results leave with its last chunk: one by one their lines come while the next pass is multiplied.
    const uint8_t* a = activations + static_cast<size_t>(b) * sizeof(typename Family::Block);
    int64_t t = 0;
    const auto pass = [&]<int T>(std::integral_constant<int, T>) {
      const int64_t lines_end = std::min(line + lines, kLines);
      for (int g = 0; g < G; ++g) groups[g].fetch(next, line, lines_end);
      line = lines_end;
      Family::template accumulate<G, T>(tile, chunk, a, stride, acc + t * G);
      if (last) leave(t, t + T);
      t += T;
      a += T * stride;
    };
    constexpr int kPass = Family::kPassTokens;
    // The last eight go four and four: two tokens' sums are too few to hide the time that a multiplication takes.
    const int64_t left = kPass == 6 && tokens % kPass == 2 ? 8 : 0;
    while (t + kPass <= tokens - left) pass(std::integral_constant<int, kPass>{});
    if constexpr (kPass > 4) {
      while (t + 4 <= tokens) pass(std::integral_constant<int, 4>{});
    }
    if (t + 2 <= tokens) pass(std::integral_constant<int, 2>{});
    if (t < tokens) pass(std::integral_constant<int, 1>{});
  }
}

// Several tokens: the groups that begin with rows row_begin, kNext further, and so on up to row_end, kTileGroups at a
// time where they have equally many rows.
template <class Family, class GroupAt>
void multiply_tokens(const GroupAt& group, int64_t row_begin, int64_t row_end, const uint8_t* activations,
                     size_t stride, int64_t tokens, float* out, int64_t out_stride, int64_t blocks) {
  using Group = decltype(group(row_begin));
  constexpr int64_t kNext = Group::kNext;
  const auto multiply = [&]<int G>(std::integral_constant<int, G>, const Group* groups, int64_t count, float* to,
                                   BlockRange range) {
    if constexpr (kNext > 1 && requires { typename Family::template InPlace<G>; }) {
      if (count <= kFewTokens) {
        multiply_groups<Family, G, typename Family::template InPlace<G>>(groups, activations, stride, count, to,
                                                                         out_stride, range);
        return;
      }
    }
    multiply_groups<Family, G, typename Family::template Tile<G>>(groups, activations, stride, count, to, out_stride,
                                                                  range);
  };
  const auto rows = [&](int64_t count, BlockRange range) {
    for (int64_t row = row_begin; row < row_end;) {
      float* to = out + row;
      const auto all = [&]<size_t... I>(std::index_sequence<I...>) {
        return std::array<Group, kTileGroups>{
            group(std::min(row + static_cast<int64_t>(I) * kNext, row_end - kNext))...};
      }
      (std::make_index_sequence<kTileGroups>{});
      if (row + (kTileGroups - 1) * kNext < row_end && all.front().live == all.back().live) {
        multiply(std::integral_constant<int, kTileGroups>{}, all.data(), count, to, range);
        row += kTileGroups * kNext;
      } else {
        multiply(std::integral_constant<int, 1>{}, all.data(), count, to, range);
        row += kNext;
      }
    }
  };
  // Ranges of equal length, in whole chunks, whose activations stay in the second cache.
  const int64_t chunks = (blocks + Family::kChunkBlocks - 1) / Family::kChunkBlocks;
  constexpr auto kChunkBytes = static_cast<int64_t>(Family::kChunkBlocks * sizeof(typename Family::Block));
  for (int64_t begin = 0; begin < tokens; begin += kTokenBlock) {
    const int64_t count = std::min(kTokenBlock, tokens - begin);
    const int64_t fitting = std::max<int64_t>(1, kTokenBlockBytes / (count * kChunkBytes));
    const int64_t ranges = std::max<int64_t>(1, (chunks + fitting - 1) / fitting);
    const int64_t length = (chunks + ranges - 1) / ranges * Family::kChunkBlocks;
    for (int64_t b = 0; b == 0 || b < blocks; b += length) rows(count, {b, std::min(b + length, blocks), blocks});
    activations += static_cast<size_t>(count) * stride;
    out += count * out_stride;
  }
}

template <class Family>
void multiply_rows8(const void* weights, size_t row_bytes, int64_t row_begin, int64_t row_end, const void* prepared,
                    size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride, int64_t k) {
  using Group = FileGroup<typename Family::Layout>;
  const int64_t blocks = k / Family::Layout::kElements;
  const auto* activations = static_cast<const uint8_t*>(prepared);
  const auto* matrix = static_cast<const uint8_t*>(weights);
  const int64_t apart = rows_apart(row_end - row_begin, row_bytes);
  const int64_t groups_end = std::min(row_begin + apart, row_end);
  const auto group = [&](int64_t row) { return Group(matrix, row_bytes, apart, row, row_end); };

  if (tokens == 1) {
    for (int64_t row = row_begin; row < groups_end; ++row) {
      const Group one = group(row);
      multiply_one<Family, 1>(&one, activations, out + row, 0, blocks);
    }
    return;
  }
  multiply_tokens<Family>(group, row_begin, groups_end, activations, prepared_stride, tokens, out, out_stride, blocks);
}

// The same of packed rows; the range begins and ends with a group.
template <class Family>
void multiply_packed(const void* weights, size_t row_bytes, int64_t row_begin, int64_t row_end, const void* prepared,
                     size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride, int64_t k) {
  using Group = PackedGroup<typename Family::Layout, Single>;
  using Side = PackedGroup<typename Family::Layout, Wide>;
  constexpr int kStreams = Family::kStreams, kSides = kStreams / kWideGroups;
  const int64_t blocks = k / Family::Layout::kElements;
  const auto* activations = static_cast<const uint8_t*>(prepared);
  const auto* matrix = static_cast<const uint8_t*>(weights);
  const auto group = [&](int64_t row) { return Group{{matrix + static_cast<size_t>(row) * row_bytes}}; };

  if (tokens == 1) {
    const int64_t apart = (row_end - row_begin) / kRowGroup / kStreams * kRowGroup;
    for (int64_t row = row_begin; row < row_begin + apart; row += kRowGroup) {
      Side sides[kSides];
      for (int i = 0; i < kStreams; ++i) sides[i / kWideGroups].p[i % kWideGroups] = group(row + i * apart).p[0];
      multiply_one<Family, kSides>(sides, activations, out + row, apart, blocks);
    }
    for (int64_t row = row_begin + kStreams * apart; row < row_end; row += kRowGroup) {
      const Group one = group(row);
      multiply_one<Family, 1>(&one, activations, out + row, 0, blocks);
    }
    return;
  }
  multiply_tokens<Family>(group, row_begin, row_end, activations, prepared_stride, tokens, out, out_stride, blocks);
}

}  // namespace brim_cpu
