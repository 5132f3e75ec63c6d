// KV_WRITE and ATTENTION over paged blocks (state/kv.hpp).
//
// A row's attention is defined once (by variant, storage and numerics), whoever computes it: the visible tokens are
// taken in chunks of 256 at fixed places of the sequence; a chunk's scores, their maximum, exponentials and sum are
// formed, and the weighted V rows added up token by token; chunks join a running result in order (the online softmax of
// Milakov and Gimelshein, arXiv:1805.02867). Runs of chunks, at most 33 of them and of a length that depends on the
// visible tokens alone, are joined in order in the same way; a sink joins last. So a decode step may give the runs of
// one row to different threads, and a prefill may take rows together, and the bits are the same.
#pragma once

#include <cmath>
#include <limits>

#include "brim/ops.h"
#include "ops/tensor.hpp"
#include "state/kv.hpp"

namespace brim_cpu {

inline constexpr uint32_t kChunkTokens = 256;
inline constexpr uint32_t kMostRuns = 33;     // 32 and one more where the first is cut by its place
inline constexpr uint32_t kMostQueries = 32;  // rows x heads that one task takes together

// One state's storage as a program sees it.
struct KvStore {
  KvLayout layout;
  std::byte* blocks;
  uint32_t n_blocks;
  brim_group_layout group;  // its arrays in the step block
};

struct KvWriteArgs {
  KvStore store;
  Tensor k, v;  // [T, heads_kv, width]; a latent state has no v
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

// Tokens [first, end) of its sequence that a row sees.
struct Visible {
  int64_t first, end;
};

struct AttentionArgs {
  KvStore store;
  Tensor q;            // [T, heads, k_width]
  float* out;          // [T, heads, v_width]
  float* partial;      // [T, heads, kMostRuns, 2 + v_pitch]: maximum, sum, V of each run; null: rows are never split
  const float* sinks;  // [heads] or null
  uint32_t v_width, v_pitch;  // the state's, or of V_FROM_K the values of K that are V, and that padded to 16
  uint32_t n_head;
  uint32_t window;    // 0: none
  bool causal, fast;  // fast: codes of Q8_0 may be multiplied as they are, by integers of 16 bits
  float scale;
  float softcap;               // 0: none
  uint64_t sequence, q_begin;  // offsets of these arrays in the step block

  Visible visible(const Frame& frame, uint64_t row) const;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

// Joins what split rows left in `partial`; nothing to do where rows were not split.
struct AttentionJoinArgs {
  const AttentionArgs* of;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

// Scratch bytes that a member needs for attention over this layout.
uint64_t attention_scratch(const KvLayout& layout, uint32_t v_pitch);

namespace reference {

// One query head over n visible tokens; k [n, d_k], v [n, d_v].
inline void attention(const float* q, const float* k, const float* v, int64_t n, int64_t d_k, int64_t d_v, float scale,
                      float softcap, double* out) {
  const auto score = [&](int64_t t) {
    double dot = 0;
    for (int64_t i = 0; i < d_k; ++i) dot += static_cast<double>(q[i]) * k[t * d_k + i];
    dot *= scale;
    return softcap != 0 ? softcap * std::tanh(dot / softcap) : dot;
  };
  double most = -std::numeric_limits<double>::infinity(), total = 0;
  for (int64_t t = 0; t < n; ++t) most = score(t) > most ? score(t) : most;
  for (int64_t j = 0; j < d_v; ++j) out[j] = 0;
  for (int64_t t = 0; t < n; ++t) {
    const double p = std::exp(score(t) - most);
    total += p;
    for (int64_t j = 0; j < d_v; ++j) out[j] += p * v[t * d_v + j];
  }
  for (int64_t j = 0; j < d_v && total > 0; ++j) out[j] /= total;
}

}  // namespace reference
}  // namespace brim_cpu
