// The inner loops of attention: scores of several queries against 32 tokens, and weighted sums of V rows.
//
// Queries that go together are neighbours in the task's scratch, so that one address and constants lead to all of them:
// their elements lie side by side, element i of query n at q[i * kMostQueries + n], and each has a row of kChunkTokens
// scores. (With a pointer for each the general registers do not suffice.)
//
// Every query's arithmetic is one chain per element (over d for a score, over tokens for an output), so that taking one
// query or several at once gives the same bits. K and V elements are converted to F32 exactly, on the fly for a few
// queries or where that takes no time of multiplications, else once into a tile of F32.
#pragma once

#include <type_traits>

#include "formats/simd.hpp"
#include "ops/attention.hpp"
#include "state/kv.hpp"

namespace brim_cpu {

// Queries that share loaded vectors: as many as the registers hold.
inline constexpr int kShared = kWidth == 16 ? 8 : kWidth == 8 ? 3 : 2;

// K or V of one head and block. Blocks of one head lie far apart, so that the processor's own fetching starts anew in
// each of them: with every line the same line of the next block is asked for, `ahead` bytes away.
template <class Element>
struct Stored {
  const Element* at;
  int64_t ahead;
  void fetch(int64_t i) const { __builtin_prefetch(reinterpret_cast<const char*>(at + i) + ahead); }
};
struct SourceF32 : Stored<float> {
  Vec codes(int64_t i) const { return load(at + i); }
};
struct SourceF16 : Stored<uint16_t> {
  Vec codes(int64_t i) const { return load_half(at + i); }
};
struct SourceQ8 : Stored<int8_t> {
  const uint16_t* scales;
  Vec codes(int64_t i) const { return load_bytes(at + i); }
};
// What expand_k and expand_v made.
struct Expanded {
  const float* at;
  void fetch(int64_t) const {}
  Vec codes(int64_t i) const { return load(at + i); }
};

template <class Source>
inline constexpr bool kScaled = std::is_base_of_v<SourceQ8, Source>;

// Whether a block is converted into a tile before so many queries use it. Conversions from F16 have ports of
// their own beside 512-bit multiplications.
template <class Source>
constexpr bool expands(int queries) {
  constexpr bool free = std::is_same_v<Source, SourceF32> || (std::is_same_v<Source, SourceF16> && kWidth == 16);
  return !free && queries > kShared;
}

// Element i on, fetching with the first of each line.
template <class Source>
inline Vec codes_on(const Source& from, int64_t i) {
  if (i % (64 / static_cast<int64_t>(sizeof *from.at)) == 0) from.fetch(i);
  return from.codes(i);
}

// scores[n][t] = q[n] . k[t] for 32 tokens; K is [d][32].
template <int N, class Source>
inline void score_block(const Source& k, const float* q, int64_t d, float* scores) {
  constexpr int kVectors = static_cast<int>(kBlockTokens) / kWidth;
  Vec total[N][kVectors] = {};
  for (int64_t begin = 0; begin < d; begin += kScaleRun) {
    [[maybe_unused]] Vec scale[kVectors];
    if constexpr (kScaled<Source>) {
      for (int j = 0; j < kVectors; ++j) scale[j] = load_half(k.scales + begin + j * kWidth);  // run * 32 tokens
    }
    const int64_t end = begin + kScaleRun < d ? begin + kScaleRun : d;
    for (int64_t i = begin; i < end; ++i) {
      Vec key[kVectors];
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) {
        key[j] = codes_on(k, i * kBlockTokens + j * kWidth);
        if constexpr (kScaled<Source>) key[j] = key[j] * scale[j];
      }
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) {
        const Vec value = splat(q[i * kMostQueries + n]);
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) total[n][j] = fma(value, key[j], total[n][j]);
      }
    }
  }
  for (int n = 0; n < N; ++n) {
    for (int j = 0; j < kVectors; ++j) store(scores + n * kChunkTokens + j * kWidth, total[n][j]);
  }
}

// sums[n][0 .. 16 * kRuns) += weights[n][t] * v[t] for t in [begin, end); V is [32][pitch], from element `column` on,
// and so is each row of sums.
template <int N, int kRuns, class Source>
inline void add_columns(const Source& v, const float* weights, int64_t begin, int64_t end, int64_t pitch,
                        int64_t column, float* sums) {
  constexpr int kVectors = 16 * kRuns / kWidth;
  Vec total[N][kVectors];
  for (int n = 0; n < N; ++n) {
    for (int j = 0; j < kVectors; ++j) total[n][j] = load(sums + n * pitch + column + j * kWidth);
  }
  for (int64_t t = begin; t < end; ++t) {
    [[maybe_unused]] Vec scale;
    if constexpr (kScaled<Source>) scale = splat(half_to_float(v.scales[column / kScaleRun * kBlockTokens + t]));
    Vec value[kVectors];
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      value[j] = codes_on(v, t * pitch + column + j * kWidth);
      if constexpr (kScaled<Source>) value[j] = value[j] * scale;
    }
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const Vec weight = splat(weights[n * kChunkTokens + t]);
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) total[n][j] = fma(weight, value[j], total[n][j]);
    }
  }
  for (int n = 0; n < N; ++n) {
    for (int j = 0; j < kVectors; ++j) store(sums + n * pitch + column + j * kWidth, total[n][j]);
  }
}

template <int N, class Source>
inline void add_values(const Source& v, const float* weights, int64_t begin, int64_t end, int64_t pitch, float* sums) {
  int64_t column = 0;
  for (; column + 32 <= pitch; column += 32) add_columns<N, 2>(v, weights, begin, end, pitch, column, sums);
  if (column < pitch) add_columns<N, 1>(v, weights, begin, end, pitch, column, sums);
}

// K and V for a few queries, as they are.
template <class Source>
inline const Source& keys_of(const Source& k) {
  return k;
}
template <class Source>
inline const Source& values_of(const Source& v, int64_t, float*) {
  return v;
}

// F32 copies of a head's K and V.
template <class Source>
inline Expanded expand_k(const Source& k, int64_t d, float* out) {
  for (int64_t i = 0; i < d * kBlockTokens; i += kWidth) {
    Vec value = codes_on(k, i);
    if constexpr (kScaled<Source>) {
      const int64_t run = i / kBlockTokens / kScaleRun;
      value = value * load_half(k.scales + run * kBlockTokens + i % kBlockTokens);
    }
    store(out + i, value);
  }
  return {out};
}
template <class Source>
inline Expanded expand_v(const Source& v, int64_t pitch, float* out) {
  for (int64_t t = 0; t < kBlockTokens; ++t) {
    for (int64_t column = 0; column < pitch; column += kWidth) {
      Vec value = codes_on(v, t * pitch + column);
      if constexpr (kScaled<Source>)
        value = value * splat(half_to_float(v.scales[column / kScaleRun * kBlockTokens + t]));
      store(out + t * pitch + column, value);
    }
  }
  return {out};
}

// V of a latent state's block: the first `width` values of each row of K [d][32], as [32][pitch]; what pads is zero.
template <class Source>
inline void values_of_k(const Source& k, int64_t width, int64_t pitch, float* out) {
  for (int64_t j = 0; j < width; ++j) {
    for (int64_t t = 0; t < kBlockTokens; t += kWidth) {
      Vec value = k.codes(j * kBlockTokens + t);
      if constexpr (kScaled<Source>) value = value * load_half(k.scales + j / kScaleRun * kBlockTokens + t);
      for (int l = 0; l < kWidth; ++l) out[(t + l) * pitch + j] = value[l];
    }
  }
  for (int64_t t = 0; t < kBlockTokens; ++t)
    std::memset(out + t * pitch + width, 0, static_cast<size_t>(pitch - width) * 4);
}

// Calls f<N>(first) over `count` queries, kShared at a time while they last.
template <class F>
inline void each_shared(int count, F&& f) {
  int at = 0;
  for (; at + kShared <= count; at += kShared) f.template operator()<kShared>(at);
  if constexpr (kShared > 4) {
    for (; at + 4 <= count; at += 4) f.template operator()<4>(at);
  }
  for (; at + 2 <= count; at += 2) f.template operator()<2>(at);
  if (at < count) f.template operator()<1>(at);
}

}  // namespace brim_cpu
