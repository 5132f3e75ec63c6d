// The inner loops of attention over Q8_0 in integers, for fast numerics (AVX-512 VNNI: two products of 16 bits a lane
// and instruction, where F32 has one): what attention_tile.hpp does in F32, under the same names.
//
// A query becomes 16-bit integers with one scale, and so do its weights of a block. Their products with codes are
// summed in 32 bits over what shares a scale, exactly (32 * 127 * 32767 < 2^27), and these sums are added up in F32, in
// order: taking one query or several at once gives the same bits. Rounding to 16 bits errs by 2^-16 of the query's
// largest element and of the block's largest weight; the codes themselves were rounded by 2^-8 of their largest.
#pragma once

#include "ops/attention_tile.hpp"

#if defined(__AVX512VNNI__)

namespace brim_cpu {

// Q8_0 of which the codes are multiplied.
struct SourceCodes : SourceQ8 {};

inline constexpr float kMostCode = 32767;

// 32 columns of two neighbouring rows, 16 columns a vector, both rows' integers of 16 bits side by side in each lane.
using RowPairs = __m512i[2];

// Rows of codes as the block has them: elements of K, tokens of V.
struct CodeRows {
  const int8_t* at;
  int64_t pitch, ahead;
  void load(int64_t row, int64_t column, RowPairs& to) const {
    const int8_t *a = at + row * pitch + column, *b = a + pitch;
    if (column % 64 == 0) {
      __builtin_prefetch(a + ahead);
      __builtin_prefetch(b + ahead);
    }
    // Quarters 0 2 1 3, as bytes are interleaved within halves.
    const auto quarters = [](const int8_t* from) {
      typedef int64_t Quarters __attribute__((vector_size(32)));
      Quarters q;
      std::memcpy(&q, from, sizeof q);
      return (__m256i)__builtin_shufflevector(q, q, 0, 2, 1, 3);
    };
    const __m256i x = quarters(a), y = quarters(b);
    to[0] = _mm512_cvtepi8_epi16(_mm256_unpacklo_epi8(x, y));
    to[1] = _mm512_cvtepi8_epi16(_mm256_unpackhi_epi8(x, y));
  }
};

// The same pairs made once, [columns / 32][rows / 2][2][16 lanes of two].
struct ExpandedRows {
  const std::byte* at;
  int64_t rows;
  void load(int64_t row, int64_t column, RowPairs& to) const {
    const auto* from = at + (column / 32 * ((rows + 1) / 2) + row / 2) * static_cast<int64_t>(sizeof to);
    to[0] = _mm512_loadu_si512(from);
    to[1] = _mm512_loadu_si512(from + sizeof *to);
  }
};

inline ExpandedRows expand(const CodeRows& from, int64_t rows, int64_t columns, float* to) {
  auto* out = reinterpret_cast<std::byte*>(to);
  for (int64_t column = 0; column < columns; column += 32) {
    for (int64_t row = 0; row < rows; row += 2, out += sizeof(RowPairs)) {
      RowPairs pairs;
      from.load(row, column, pairs);
      _mm512_storeu_si512(out, pairs[0]);
      _mm512_storeu_si512(out + sizeof *pairs, pairs[1]);
    }
  }
  return {reinterpret_cast<const std::byte*>(to), rows};
}

// Elements i and i + 1 of a query to q[i / 2 * kMostQueries], as 16-bit integers; returns their scale.
inline float interleave_codes(const float* elements, int64_t d, float* q) {
  Vec most = {}, bad = {};
  each_vector(d, [&](int64_t i, int64_t n) {
    const Vec value = load_up_to(elements + i, n);
    most = larger(most, magnitude(value));
    bad = bad + value * 0;
  });
  const float largest = maximum(most);
  const float to_codes = largest > 0 ? kMostCode / largest : 0.0f;
  each_vector(d, [&](int64_t i, int64_t n) {
    const __m512i whole = _mm512_cvtps_epi32((__m512)(load_up_to(elements + i, n) * to_codes));
    int32_t pairs[kWidth / 2];
    const __m256i narrow = _mm512_cvtsepi32_epi16(whole);
    std::memcpy(pairs, &narrow, sizeof pairs);
    for (int64_t j = 0; 2 * j < n; ++j) std::memcpy(q + (i / 2 + j) * kMostQueries, pairs + j, sizeof *pairs);
  });
  return largest / kMostCode + sum(bad);  // what is no number spoils all scores, as it would in F32
}

// to[n] += pairs . both 16-bit integers of by[n * step].
template <int N, int kVectors>
inline void add_products(const RowPairs& pairs, const int32_t* by, int64_t step, __m512i (&to)[N][kVectors]) {
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) {
    const __m512i two = _mm512_set1_epi32(by[n * step]);
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) to[n][j] = _mm512_dpwssd_epi32(to[n][j], pairs[j], two);
  }
}

// K [d][32 tokens]: what lies behind the last of an odd number of elements is multiplied by zero.
template <class Rows>
struct Keys {
  Rows rows;
  const uint16_t* scales;
};

// q[i / 2 * kMostQueries + n]: elements i and i + 1 of query n. (This and add_run are no part of their caller, where
// GCC 12 copies the sums of every turn from register to register.)
template <int N, class Rows>
[[gnu::noinline]] void score_block(const Keys<Rows>& k, const float* q, int64_t d, float* scores) {
  const auto* elements = reinterpret_cast<const int32_t*>(q);
  for (int64_t begin = 0; begin < d; begin += kScaleRun) {
    __m512i total[N][2] = {};
    const auto add = [&](int64_t i) {
      RowPairs pairs;
      k.rows.load(begin + i, 0, pairs);
      add_products(pairs, elements + (begin + i) / 2 * kMostQueries, 1, total);
    };
    if (begin + kScaleRun <= d) {
#pragma GCC unroll 16
      for (int64_t i = 0; i < kScaleRun; i += 2) add(i);
    } else {
      for (int64_t i = 0; begin + i < d; i += 2) add(i);
    }
    for (int j = 0; j < 2; ++j) {
      const Vec scale = load_half(k.scales + begin + j * kWidth);  // run * 32 tokens
      for (int n = 0; n < N; ++n) {
        float* to = scores + n * kChunkTokens + j * kWidth;
        const Vec sum = to_float((IntVec)total[n][j]);
        store(to, begin == 0 ? sum * scale : fma(sum, scale, load(to)));
      }
    }
  }
}
inline Keys<CodeRows> keys_of(const SourceCodes& k) { return {{k.at, kBlockTokens, k.ahead}, k.scales}; }
inline Keys<ExpandedRows> expand_k(const SourceCodes& k, int64_t d, float* out) {
  return {expand(keys_of(k).rows, d, kBlockTokens, out), k.scales};
}

// V [32 tokens][pitch] for queries that see the same of the block; `relative` [runs][32] are its tokens' scales over
// the largest of them, most[run].
template <class Rows>
struct Values {
  Rows rows;
  const uint16_t* scales;
  float *relative, *most;

  void sees(int64_t begin, int64_t end, int64_t pitch) {
    for (int64_t run = 0; run * kScaleRun < pitch; ++run) {
      Vec scale[2];
      IntVec token;
      for (int i = 0; i < kWidth; ++i) token[i] = i;
      for (int j = 0; j < 2; ++j) {
        const IntVec seen = (token >= static_cast<int32_t>(begin)) & (token < static_cast<int32_t>(end));
        scale[j] = seen ? load_half(scales + run * kBlockTokens + j * kWidth) : Vec{};
        token = token + kWidth;
      }
      // A scale that is no number spoils the run's sums, as it would in F32.
      const float largest = maximum(larger(magnitude(scale[0]), magnitude(scale[1]))) + sum((scale[0] + scale[1]) * 0);
      for (int j = 0; j < 2; ++j) store(relative + run * kBlockTokens + j * kWidth, scale[j] / largest);
      most[run] = largest;
    }
  }
};

// The arrays of `relative` and `most` lie behind the tile.
template <class Rows>
inline Values<Rows> values(const Rows& rows, const SourceCodes& v, int64_t pitch, float* tile) {
  float* relative = tile + kBlockTokens * pitch;
  return {rows, v.scales, relative, relative + (pitch + kScaleRun - 1) / kScaleRun * kBlockTokens};
}
inline Values<CodeRows> values_of(const SourceCodes& v, int64_t pitch, float* tile) {
  return values(CodeRows{v.at, pitch, v.ahead}, v, pitch, tile);
}
inline Values<ExpandedRows> expand_v(const SourceCodes& v, int64_t pitch, float* tile) {
  return values(expand({v.at, pitch, v.ahead}, kBlockTokens, pitch, tile), v, pitch, tile);
}

// sums[n] += weights[n][t] * v[t] over the block; the weights of tokens that are not seen are zero.
template <int N, int kVectors, class Rows>
[[gnu::noinline]] void add_run(const Values<Rows>& v, const Vec (&weights)[N][2], const float (&most)[N], int64_t pitch,
                               int64_t run, float* sums) {
  alignas(64) int32_t parts[N][16];
  for (int n = 0; n < N; ++n) {
    __m512i whole[2];
    for (int j = 0; j < 2; ++j) {
      const Vec part = weights[n][j] * load(v.relative + run * kBlockTokens + j * kWidth);
      whole[j] = _mm512_cvtps_epi32((__m512)part);
    }
    _mm512_store_si512(parts[n], _mm512_packs_epi32(whole[0], whole[1]));
  }
  __m512i total[N][kVectors] = {};
  for (int quarter = 0; quarter < 4; ++quarter) {
    // Packing puts tokens 4 q to 4 q + 3 before 16 + 4 q to 16 + 4 q + 3.
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const int token = i / 2 * 16 + quarter * 4 + i % 2 * 2;
      RowPairs pairs;
      v.rows.load(token, run * kScaleRun, pairs);
      add_products(pairs, &parts[0][quarter * 4 + i], 16, total);
    }
  }
  for (int n = 0; n < N; ++n) {
    const Vec scale = splat(most[n] * v.most[run]);
    for (int j = 0; j < kVectors; ++j) {
      float* to = sums + n * pitch + run * kScaleRun + j * kWidth;
      store(to, fma(to_float((IntVec)total[n][j]), scale, load(to)));
    }
  }
}

template <int N, class Rows>
inline void add_values(const Values<Rows>& v, const float* weights, int64_t, int64_t, int64_t pitch, float* sums) {
  Vec scaled[N][2];
  float most[N];
  for (int n = 0; n < N; ++n) {
    for (int j = 0; j < 2; ++j) scaled[n][j] = load(weights + n * kChunkTokens + j * kWidth);
    const float largest = maximum(larger(scaled[n][0], scaled[n][1]));
    for (int j = 0; j < 2; ++j) scaled[n][j] = scaled[n][j] * (kMostCode / largest);
    most[n] = largest / kMostCode;
  }
  int64_t run = 0;
  for (; (run + 1) * kScaleRun <= pitch; ++run) add_run<N, 2>(v, scaled, most, pitch, run, sums);
  if (run * kScaleRun < pitch) add_run<N, 1>(v, scaled, most, pitch, run, sums);
}

}  // namespace brim_cpu

#endif
