// ATTENTION over paged K and V: a work group takes one query head and up to kRows neighbouring rows of one sequence,
// and goes through the tokens that they see, as many at a time as it has threads.
//
// A thread first has a token: its scores with all rows. The softmax runs along (Milakov and Gimelshein 2018,
// arXiv:1805.02867): maxima and sums are carried from piece to piece. Then a thread has elements of V: it adds up the
// weighted tokens. Where `partial` is given, a group sees one split of the context only and leaves maximum, sum and
// unscaled output for attention_join.comp; a split that a row does not meet is not written.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "kv.glsl"
#include "math.glsl"

layout(constant_id = 2) const uint kRows = 1;
layout(constant_id = 3) const uint kWidth = 64;  // of K
layout(constant_id = 4) const uint kValues = 1;  // elements of V a thread has
ARGUMENTS(AttentionArguments)

shared float query[kRows * kWidth];
shared float weight[kRows * gl_WorkGroupSize.x];
shared float part[kRows * gl_WorkGroupSize.x];
shared uint64_t blocks[gl_WorkGroupSize.x / kBlockTokens + 1];

// For each row over the work group, the same in every thread.
void reduce_all(inout float v[kRows], bool largest) {
  barrier();
  [[unroll]] for (uint r = 0; r < kRows; ++r) {
    const float mine = largest ? subgroupMax(v[r]) : subgroupAdd(v[r]);
    if (subgroupElect()) part[r * gl_WorkGroupSize.x + gl_SubgroupID] = mine;
  }
  barrier();
  [[unroll]] for (uint r = 0; r < kRows; ++r) {
    float all = part[r * gl_WorkGroupSize.x];
    for (uint i = 1; i < gl_NumSubgroups; ++i) {
      const float other = part[r * gl_WorkGroupSize.x + i];
      all = largest ? max(all, other) : all + other;
    }
    v[r] = all;
  }
}

void main() {
  const AttentionArguments a = arguments();
  const KvStore s = a.store;
  const uint me = gl_LocalInvocationIndex, threads = gl_WorkGroupSize.x, head = gl_WorkGroupID.x;
  // Which rows.
  int sequence = -1;
  uint row = 0, n_rows = 0;
  if (kRows == 1) {
    row = gl_WorkGroupID.y;
    n_rows = 1;
    if (row < count(kTokens)) sequence = step_int(s.sequence, row);
  } else {
    uint before = 0;
    for (uint i = 0; i < count(kSequences); ++i) {
      const uint begin = uint(step_int(s.q_begin, i)), n = uint(step_int(s.q_begin, i + 1)) - begin;
      const uint tiles = (n + kRows - 1) / kRows;
      if (gl_WorkGroupID.y < before + tiles) {
        sequence = int(i);
        row = begin + (gl_WorkGroupID.y - before) * kRows;
        n_rows = min(kRows, begin + n - row);
        break;
      }
      before += tiles;
    }
  }
  if (sequence < 0 || sequence >= int(count(kSequences))) return;

  // Which tokens: row r sees [seen_from(r), seen_to(r)).
  const int length = step_int(s.kv_len, uint(sequence)), rows_end = step_int(s.q_begin, uint(sequence) + 1);
  int from[kRows], to[kRows];
  [[unroll]] for (uint r = 0; r < kRows; ++r) {
    to[r] = a.causal != 0 ? length - (rows_end - int(row + r)) + 1 : length;
    from[r] = a.window != 0 ? max(0, to[r] - int(a.window)) : 0;
    if (r >= n_rows) from[r] = to[r] = 0;
  }
  int begin = from[0], end = to[0];
  [[unroll]] for (uint r = 1; r < kRows; ++r) end = max(end, to[r]);
  if (a.partial != 0) {
    begin = max(begin, int(gl_WorkGroupID.z * a.split));
    end = min(end, int((gl_WorkGroupID.z + 1) * a.split));
    if (begin >= end) return;
  }

  for (uint i = me; i < kRows * kWidth; i += threads) {
    const uint r = i / kWidth;
    query[i] =
        r < n_rows ? Floats(address_of(a.q) + 4 * uint64_t((row + r) * a.q_row + head * a.q_head)).at[i % kWidth] : 0.0;
  }
  const uint kv_head = head / (a.n_head / s.n_head);
  const int table_first = s.kv_first == 0 ? 0 : step_int(s.kv_first, uint(sequence));
  const uint k_runs = (kWidth + kRun - 1) / kRun, v_runs = (s.v_width + kRun - 1) / kRun;

  float most[kRows], sum[kRows], acc[kRows * kValues];
  [[unroll]] for (uint r = 0; r < kRows; ++r) {
    most[r] = -kInfinity;
    sum[r] = 0.0;
  }
  [[unroll]] for (uint i = 0; i < kRows * kValues; ++i) acc[i] = 0.0;

  // Pieces begin on borders of blocks, so that a piece has threads / 32 of them.
  for (int piece = begin - begin % int(kBlockTokens); piece < end; piece += int(threads)) {
    barrier();
    for (uint b = me; b < threads / kBlockTokens; b += threads) {
      const int entry = (piece - table_first) / int(kBlockTokens) + int(b);
      uint64_t at = 0;
      if (piece + int(b * kBlockTokens) < end && entry >= 0 && entry < int(s.max_blocks)) {
        const int block = step_int(s.block_table, uint(sequence) * s.max_blocks + uint(entry));
        if (block >= 0 && uint(block) < s.n_blocks) {
          at = s.blocks + uint64_t(block) * s.block_bytes + uint64_t(kv_head) * s.head_bytes;
        }
      }
      blocks[b] = at;
    }
    barrier();
    const int token = piece + int(me);
    const uint64_t region = blocks[me / kBlockTokens];
    const uint t = me % kBlockTokens;
    float score[kRows];
    [[unroll]] for (uint r = 0; r < kRows; ++r) score[r] = 0.0;
    if (token < end && region != 0) {
      for (uint run = 0; run < k_runs; ++run) {
        const float scale = kv_scale(region + s.k_scales, run * kBlockTokens + t);
        const uint last = min(kWidth, (run + 1) * kRun);
        for (uint i = run * kRun; i < last; ++i) {
          const float k = kv_value(region, i * kBlockTokens + t, scale);
          [[unroll]] for (uint r = 0; r < kRows; ++r) score[r] += query[r * kWidth + i] * k;
        }
      }
    }
    float top[kRows];
    [[unroll]] for (uint r = 0; r < kRows; ++r) {
      score[r] *= a.scale;
      if (a.softcap != 0.0) score[r] = soft_cap(score[r], a.softcap);
      if (token < max(from[r], begin) || token >= min(to[r], end) || region == 0) score[r] = -kInfinity;
      top[r] = score[r];
    }
    reduce_all(top, true);
    float shrink[kRows], gained[kRows];
    [[unroll]] for (uint r = 0; r < kRows; ++r) {
      top[r] = max(top[r], most[r]);
      shrink[r] = most[r] == -kInfinity ? 0.0 : exponential(most[r] - top[r]);
      gained[r] = score[r] == -kInfinity ? 0.0 : exponential(score[r] - top[r]);
      weight[r * threads + me] = gained[r];
      most[r] = top[r];
    }
    reduce_all(gained, false);
    [[unroll]] for (uint r = 0; r < kRows; ++r) sum[r] = sum[r] * shrink[r] + gained[r];
    // Now every weight is in shared memory.
    [[unroll]] for (uint j = 0; j < kValues; ++j) {
      const uint element = me + j * threads;
      [[unroll]] for (uint r = 0; r < kRows; ++r) acc[r * kValues + j] *= shrink[r];
      if (element >= a.v_width) continue;
      for (uint b = 0; b < threads / kBlockTokens && piece + int(b * kBlockTokens) < end; ++b) {
        const uint64_t at = blocks[b];
        if (at == 0) continue;
        const uint n = min(kBlockTokens, uint(end - piece) - b * kBlockTokens);
        for (uint i = 0; i < n; ++i) {
          float v;
          if (a.latent != 0) {
            v = kv_value(at, element * kBlockTokens + i, kv_scale(at + s.k_scales, element / kRun * kBlockTokens + i));
          } else {
            v = kv_value(at + s.v, i * s.v_width + element, kv_scale(at + s.v_scales, i * v_runs + element / kRun));
          }
          [[unroll]] for (uint r = 0; r < kRows; ++r) {
            // What no row may see may be anything, NaN too.
            const float w = weight[r * threads + b * kBlockTokens + i];
            if (w != 0.0) acc[r * kValues + j] += w * v;
          }
        }
      }
    }
  }

  [[unroll]] for (uint r = 0; r < kRows; ++r) {
    if (r >= n_rows) continue;
    const uint64_t item = uint64_t(row + r) * a.n_head + head;
    if (a.partial != 0) {
      Floats at = Floats(a.partial + 4 * (item * a.n_splits + gl_WorkGroupID.z) * (a.v_width + 2));
      if (me == 0) {
        at.at[0] = most[r];
        at.at[1] = sum[r];
      }
      [[unroll]] for (uint j = 0; j < kValues; ++j) {
        if (me + j * threads < a.v_width) at.at[2 + me + j * threads] = acc[r * kValues + j];
      }
      continue;
    }
    float factor = 1.0, whole = sum[r];
    if (a.sinks != 0) {
      const float sink = Floats(address_of(a.sinks)).at[head], top = max(sink, most[r]);
      factor = most[r] == -kInfinity ? 0.0 : exponential(most[r] - top);
      whole = whole * factor + exponential(sink - top);
    }
    [[unroll]] for (uint j = 0; j < kValues; ++j) {
      if (me + j * threads < a.v_width) {
        Floats(a.result + 4 * item * a.v_width).at[me + j * threads] =
            whole == 0.0 ? 0.0 : acc[r * kValues + j] * factor / whole;
      }
    }
  }
}
