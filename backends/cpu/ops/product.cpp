#include "ops/product.hpp"

#include <algorithm>
#include <cstring>

#include "formats/simd.hpp"

namespace brim_cpu {
namespace {

constexpr uint64_t kRowUnit = 16;                // kernels take sixteen weight rows at a time
constexpr uint64_t kTokenUnit = 4;               // the fewest that kernels are good at
constexpr uint64_t kLeastChunkBytes = 32 << 10;  // of weights: eight streams (rows8.hpp) of a page each

// Rough nanoseconds on one thread: weights are read once, products are made at some 20 per ns.
float cost_of(uint64_t rows, uint64_t row_bytes, uint64_t k, uint64_t tokens) {
  const float read = static_cast<float>(rows * row_bytes) / 8.0f;
  const float multiplied = static_cast<float>(rows * k) * static_cast<float>(tokens) / 20.0f;
  return std::max(read, multiplied);
}

// Tiles of weight rows by tiles of tokens. Tokens are cut evenly, so that the team's lanes (claims.hpp) have as much to
// do as each other.
struct Tiling {
  uint64_t n, tokens;  // of the product
  uint64_t rows;       // of one tile
  uint64_t row_tiles, token_tiles;

  Span rows_of(uint64_t tile) const { return {tile * rows, std::min(n, (tile + 1) * rows)}; }
  Span tokens_of(uint64_t tile) const {
    const uint64_t units = (tokens + kTokenUnit - 1) / kTokenUnit;
    const Span span = cut(units, static_cast<uint32_t>(token_tiles), static_cast<uint32_t>(tile));
    return {span.begin * kTokenUnit, std::min(tokens, span.end * kTokenUnit)};
  }
};

Tiling tile(uint64_t n, uint64_t row_bytes, uint64_t tokens, uint32_t team) {
  Tiling t;
  t.n = n;
  t.tokens = tokens;
  t.token_tiles = (tokens + kTokenBlock - 1) / kTokenBlock;
  const uint64_t wanted = std::max<uint64_t>(1, team * 8ull / std::max<uint64_t>(1, t.token_tiles));
  const uint64_t least = (kLeastChunkBytes + row_bytes - 1) / row_bytes;
  t.rows = std::max((n + wanted - 1) / wanted, tokens > 8 ? kRowUnit : least);
  t.rows = (t.rows + kRowUnit - 1) / kRowUnit * kRowUnit;
  t.row_tiles = (n + t.rows - 1) / t.rows;
  return t;
}

void add_bias(const float* bias, float* out, int64_t n) {
  each_vector(n,
              [&](int64_t i, int64_t m) { store_up_to(out + i, load_up_to(out + i, m) + load_up_to(bias + i, m), m); });
}

}  // namespace

Work PrepareArgs::plan(const Frame& frame) const {
  const uint64_t rows = RowMap(x, frame).rows();
  return share(rows, static_cast<float>(rows * inner_size(x, frame)) * 0.4f, frame);
}

void PrepareArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const RowMap rows(x, frame);
  const auto k = static_cast<int64_t>(inner_size(x, frame));
  const Span span = cut(rows.rows(), chunks, chunk);
  for (uint64_t r = span.begin; r < span.end; ++r) {
    kernel->prepare(x.at<const float>(frame) + rows.offset(r), prepared + r * stride, k);
  }
}

Work MatmulArgs::plan(const Frame& frame) const {
  const uint64_t tokens = RowMap(out, frame).rows();
  if (tokens == 0 || n == 0) return {0, 0};
  const Tiling t = tile(n, row_bytes, tokens, frame.team);
  return {static_cast<uint32_t>(t.row_tiles * t.token_tiles), cost_of(n, row_bytes, k, tokens)};
}

void MatmulArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t) const {
  const uint64_t tokens = RowMap(out, frame).rows();
  const Tiling t = tile(n, row_bytes, tokens, frame.team);
  // Row tiles inside token tiles: neighbours take the same tokens, as in the steps before and after.
  const auto [row_begin, row_end] = t.rows_of(chunk % t.row_tiles);
  const auto [token_begin, token_end] = t.tokens_of(chunk / t.row_tiles);
  float* to = out.at<float>(frame) + token_begin * n;
  for (uint32_t i = 0; i < n_pieces; ++i) {
    const Piece& piece = pieces[i];
    const uint64_t begin = std::max(row_begin, piece.first_row);
    const uint64_t end = std::min(row_end, piece.first_row + piece.n_rows);
    if (begin >= end) continue;
    multiply(piece.data, row_bytes, static_cast<int64_t>(begin - piece.first_row),
             static_cast<int64_t>(end - piece.first_row), prepared + token_begin * stride, stride,
             static_cast<int64_t>(token_end - token_begin), to + piece.first_row, static_cast<int64_t>(n),
             static_cast<int64_t>(k));
  }
  if (bias == nullptr) return;
  for (uint64_t i = 0; i < token_end - token_begin; ++i) {
    add_bias(bias + row_begin, to + i * n + row_begin, static_cast<int64_t>(row_end - row_begin));
  }
}

Work HeadsArgs::plan(const Frame& frame) const {
  const uint64_t tokens = size_in(out.dim[0], frame);
  if (tokens == 0 || n == 0) return {0, 0};
  const Tiling t = tile(n, row_bytes, tokens, frame.team);
  return {static_cast<uint32_t>(t.row_tiles * t.token_tiles * heads), cost_of(n * heads, row_bytes, k, tokens)};
}

void HeadsArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t) const {
  const uint64_t tokens = size_in(out.dim[0], frame);
  const Tiling t = tile(n, row_bytes, tokens, frame.team);
  const uint64_t tiles = t.row_tiles * t.token_tiles, head = chunk / tiles, at = chunk % tiles;
  const auto [row_begin, row_end] = t.rows_of(at / t.token_tiles);
  const auto [token_begin, token_end] = t.tokens_of(at % t.token_tiles);
  const Piece* piece = piece_of(pieces, n_pieces, head);
  if (piece == nullptr) return;
  multiply(piece->data + (head - piece->first_row) * n * row_bytes, row_bytes, static_cast<int64_t>(row_begin),
           static_cast<int64_t>(row_end), prepared + (token_begin * heads + head) * stride, stride * heads,
           static_cast<int64_t>(token_end - token_begin), out.at<float>(frame) + (token_begin * heads + head) * n,
           static_cast<int64_t>(heads * n), static_cast<int64_t>(k));
}

namespace {

uint64_t pairs_in(const Grouping& grouping, const Frame& frame) {
  return size_in(grouping.index.dim[0], frame) * grouping.per_row;
}

int32_t expert_of(const Grouping& grouping, const Frame& frame, uint64_t pair) {
  const auto row = static_cast<int64_t>(pair / grouping.per_row),
             choice = static_cast<int64_t>(pair % grouping.per_row);
  const int32_t e =
      grouping.index.at<const int32_t>(frame)[row * grouping.index.stride[0] + choice * grouping.index.stride[1]];
  return e >= 0 && static_cast<uint32_t>(e) < grouping.experts ? e : -1;
}

}  // namespace

Work GroupArgs::plan(const Frame& frame) const { return {1, static_cast<float>(pairs_in(to, frame) * 4 + to.experts)}; }

void GroupArgs::work(const Frame& frame, const Member&, uint32_t, uint32_t) const {
  // A counting sort: count, sum up, place; placing moves each expert's begin to its end, which is the next one's begin.
  const uint64_t pairs = pairs_in(to, frame);
  std::memset(to.first, 0, (to.experts + 1) * sizeof(int32_t));
  for (uint64_t p = 0; p < pairs; ++p) {
    const int32_t e = expert_of(to, frame, p);
    if (e >= 0 && static_cast<uint32_t>(e) + 2 <= to.experts) ++to.first[e + 2];
  }
  for (uint32_t e = 2; e <= to.experts; ++e) to.first[e] += to.first[e - 1];
  for (uint64_t p = 0; p < pairs; ++p) {
    const int32_t e = expert_of(to, frame, p);
    if (e >= 0) to.order[to.first[e + 1]++] = static_cast<int32_t>(p);
  }
}

Work SpreadArgs::plan(const Frame& frame) const {
  const uint64_t pairs = pairs_in(to, frame);
  return share(pairs, static_cast<float>(pairs * to.stride) * 0.1f, frame);
}

void SpreadArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const Span span = cut(pairs_in(to, frame), chunks, chunk);
  const auto placed = static_cast<uint64_t>(to.first[to.experts]);
  for (uint64_t p = span.begin; p < span.end; ++p) {
    if (p < placed) {
      const auto pair = static_cast<uint64_t>(to.order[p]);
      std::memcpy(to.activation + p * to.stride, prepared + (row_per_pair ? pair : pair / to.per_row) * to.stride,
                  to.stride);
    }
    if (expert_of(to, frame, p) < 0) std::memset(out + p * n, 0, n * sizeof(float));
  }
}

namespace {

constexpr uint64_t kGroupedRows = 64, kGroupedTokens = 16;  // a tile of results on the stack: 4 KiB

}  // namespace

Work GroupedArgs::plan(const Frame& frame) const {
  const uint64_t pairs = pairs_in(from, frame);
  if (pairs == 0 || n == 0) return {0, 0};
  const uint64_t tiles = (n + kGroupedRows - 1) / kGroupedRows;
  const uint64_t busy = std::min<uint64_t>(pairs, from.experts);
  return {static_cast<uint32_t>(from.experts * tiles), cost_of(n * busy, row_bytes, k, pairs / busy)};
}

void GroupedArgs::work(const Frame&, const Member&, uint32_t chunk, uint32_t) const {
  const uint64_t tiles = (n + kGroupedRows - 1) / kGroupedRows;
  const uint64_t expert = chunk / tiles;
  const auto first = static_cast<uint64_t>(from.first[expert]), last = static_cast<uint64_t>(from.first[expert + 1]);
  const Piece* piece = piece_of(pieces, n_pieces, expert);
  if (first == last || piece == nullptr) return;
  const uint64_t begin = chunk % tiles * kGroupedRows, rows = std::min(kGroupedRows, n - begin);
  const std::byte* weights = piece->data + ((expert - piece->first_row) * n + begin) * row_bytes;
  for (uint64_t p = first; p < last; p += kGroupedTokens) {
    float result[kGroupedTokens * kGroupedRows];
    const uint64_t tokens = std::min(kGroupedTokens, last - p);
    multiply(weights, row_bytes, 0, static_cast<int64_t>(rows), from.activation + p * from.stride, from.stride,
             static_cast<int64_t>(tokens), result, kGroupedRows, static_cast<int64_t>(k));
    for (uint64_t i = 0; i < tokens; ++i) {
      float* to = out + static_cast<uint64_t>(from.order[p + i]) * n + begin;
      std::memcpy(to, result + i * kGroupedRows, rows * sizeof(float));
      if (bias != nullptr) add_bias(bias + expert * n + begin, to, static_cast<int64_t>(rows));
    }
  }
}

namespace {

float dot(const float* a, const float* b, int64_t k) {
  Vec total[2] = {};
  int64_t i = 0;
  for (; i + 2 * kWidth <= k; i += 2 * kWidth) {
    total[0] = fma(load(a + i), load(b + i), total[0]);
    total[1] = fma(load(a + i + kWidth), load(b + i + kWidth), total[1]);
  }
  each_vector(k - i, [&](int64_t at, int64_t m) {
    total[0] = fma(load_up_to(a + i + at, m), load_up_to(b + i + at, m), total[0]);
  });
  return sum(total[0] + total[1]);
}

}  // namespace

Work BatchedArgs::plan(const Frame& frame) const {
  const uint64_t rows = RowMap(out, frame).rows();
  return share(rows, static_cast<float>(rows * inner_size(out, frame) * inner_size(x, frame)) * 0.2f, frame);
}

void BatchedArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const RowMap x_rows(x, frame), out_rows(out, frame), w_batches(w, frame, 2);
  const uint64_t m = size_in(x.dim[x.rank - 2], frame), n = inner_size(out, frame);
  const auto k = static_cast<int64_t>(inner_size(x, frame));
  const Span span = cut(out_rows.rows(), chunks, chunk);
  for (uint64_t r = span.begin; r < span.end; ++r) {
    const float* row = x.at<const float>(frame) + x_rows.offset(r);
    const float* matrix = w.at<const float>(frame) + w_batches.offset(r / m);
    float* to = out.at<float>(frame) + out_rows.offset(r);
    for (uint64_t j = 0; j < n; ++j) to[j] = dot(matrix + static_cast<int64_t>(j) * w.stride[w.rank - 2], row, k);
  }
}

}  // namespace brim_cpu
