// KV_WRITE and ATTENTION over paged K and V. A block takes one query head and up to kRows neighbouring rows of one
// sequence, and goes through the tokens that they see, as many at a time as it has threads.
//
// A thread first has a token: its scores with all rows. The softmax runs along (Milakov and Gimelshein 2018,
// arXiv:1805.02867): maxima and sums are carried from piece to piece. Then a thread has elements of V: it adds up the
// weighted tokens. Where `partial` is given, a block sees one split of the context only and leaves maximum, sum and
// unscaled output for attention_join; a split that a row does not meet is not written.
//
// Names: kv_write_DTYPE, attention_DTYPE_ROWS_VALUES (VALUES: elements of V a thread has), attention_join.
#include "quantise.cuh"

namespace brim_gpu {

constexpr uint kThreads = 128, kBlockTokens = 32, kRun = 32;
constexpr uint kKvF32 = 1, kKvF16 = 2;  // BRIM_DTYPE_*; 36 is Q8_0

// Element i of codes in the state's dtype.
template <uint kKv>
__device__ __forceinline__ float kv_value(uint64_t codes, uint i, float scale) {
  if constexpr (kKv == kKvF32) return floats(codes)[i];
  if constexpr (kKv == kKvF16) return half_to_float(load16(codes + 2ull * i));
  return scale * static_cast<float>(*pointer<const int8_t>(codes + i));
}
template <uint kKv>
__device__ __forceinline__ float kv_scale(uint64_t scales, uint i) {
  return kKv == kKvF32 || kKv == kKvF16 ? 1.0f : half_to_float(load16(scales + 2ull * i));
}

// One thread stores a run of up to 32 values of one head of one row, first those of K, then those of V. A slot of -1,
// or one beyond the state's blocks, is discarded.
template <uint kKv>
__device__ void kv_write(const KvWriteArguments& a, Step step) {
  const KvStore& s = a.store;
  const uint k_runs = (s.k_width + kRun - 1) / kRun, v_runs = a.v == 0 ? 0 : (s.v_width + kRun - 1) / kRun;
  const uint runs = k_runs + v_runs, total = step.count(kTokens) * s.n_head * runs;
  for (uint i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const uint item = i % runs, head = i / runs % s.n_head, row = i / runs / s.n_head;
    const int slot = step.at(s.kv_slot, row);
    if (slot < 0 || static_cast<uint>(slot) / kBlockTokens >= s.n_blocks) continue;
    const uint64_t region =
        s.blocks + uint64_t{static_cast<uint>(slot) / kBlockTokens} * s.block_bytes + uint64_t{head} * s.head_bytes;
    const uint t = static_cast<uint>(slot) % kBlockTokens;
    const bool is_k = item < k_runs;
    const uint run = is_k ? item : item - k_runs, width = is_k ? s.k_width : s.v_width;
    const uint n = min(kRun, width - run * kRun);
    const float* x = is_k ? floats(step.address_of(a.k)) + row * a.k_row + head * a.k_head
                          : floats(step.address_of(a.v)) + row * a.v_row + head * a.v_head;
    // All at once: stores may, for all that is known, write what is loaded after them.
    float values[kRun];
#pragma unroll
    for (uint j = 0; j < kRun; ++j) values[j] = x[kRun * run + min(j, n - 1)];
    const auto each_value = [&](auto&& with) {
#pragma unroll
      for (uint j = 0; j < kRun; ++j) {
        if (j < n) with(j, values[j]);
      }
    };
    // K lies by element, then token; V by token, then element.
    const uint64_t codes = region + (is_k ? 0 : s.v);
    const uint first = is_k ? run * kRun * kBlockTokens + t : t * s.v_width + run * kRun;
    const uint pace = is_k ? kBlockTokens : 1;
    if constexpr (kKv == kKvF32) {
      each_value([&](uint j, float v) { pointer<float>(codes)[first + j * pace] = v; });
    } else if constexpr (kKv == kKvF16) {
      each_value([&](uint j, float v) {
        pointer<uint16_t>(codes)[first + j * pace] = static_cast<uint16_t>(float_to_half(v));
      });
    } else {
      uint most = 0;
      each_value([&](uint, float v) { most = max(most, magnitude(v)); });
      const float d = __uint_as_float(most) / 127.0f, inverse = 1.0f / d;
      uint scale = float_to_half(d);
      const bool zero = scale == 0, bad = most >= 0x7f800000u;
      if (bad) scale = 0x7e00u;
      pointer<uint16_t>(region + (is_k ? s.k_scales : s.v_scales))[is_k ? run * kBlockTokens + t : t * v_runs + run] =
          static_cast<uint16_t>(scale);
      each_value([&](uint j, float v) {
        pointer<int8_t>(codes)[first + j * pace] = static_cast<int8_t>(zero || bad ? 0 : __float2int_rn(v * inverse));
      });
    }
  }
}

// For each row over the block, the same in every thread.
template <uint kRows, bool kLargest>
__device__ void reduce_all(float (&v)[kRows]) {
  __shared__ float part[kRows * (kThreads / 32)];
  const auto join = [](float a, float b) { return kLargest ? fmaxf(a, b) : a + b; };
#pragma unroll
  for (uint r = 0; r < kRows; ++r) {
    for (int far = 16; far > 0; far /= 2) v[r] = join(v[r], __shfl_xor_sync(~0u, v[r], far));
  }
  __syncthreads();
#pragma unroll
  for (uint r = 0; r < kRows; ++r) {
    if (threadIdx.x % 32 == 0) part[r * (kThreads / 32) + threadIdx.x / 32] = v[r];
  }
  __syncthreads();
#pragma unroll
  for (uint r = 0; r < kRows; ++r) {
    v[r] = part[r * (kThreads / 32)];
    for (uint i = 1; i < kThreads / 32; ++i) v[r] = join(v[r], part[r * (kThreads / 32) + i]);
  }
}

// Where a block has one row, each of its warps adds up the values of one KV block's tokens, so that a row's time is not
// that of as many trips to memory as it sees tokens: a lane has elements lane + 32 j. `at`: 0 where there is no block.
template <uint kKv, uint kPart>
__device__ __forceinline__ void add_values(const KvStore& s, uint v_width, uint64_t at, const float* weight,
                                           float shrink, float (&part)[kPart]) {
  const uint lane = threadIdx.x % 32, v_runs = (v_width + kRun - 1) / kRun;
#pragma unroll
  for (uint j = 0; j < kPart; ++j) part[j] *= shrink;
  if (at == 0) return;
#pragma unroll 32 / kPart
  for (uint i = 0; i < kBlockTokens; ++i) {
    const float w = weight[i];
#pragma unroll
    for (uint j = 0; j < kPart; ++j) {
      const uint element = min(lane + 32 * j, v_width - 1);
      const float v =
          kv_value<kKv>(at + s.v, i * v_width + element, kv_scale<kKv>(at + s.v_scales, i * v_runs + element / kRun));
      if (w != 0) part[j] += w * v;  // what the row may not see may be anything, NaN too
    }
  }
}

template <uint kKv, uint kRows, uint kValues>
__device__ void attention(const AttentionArguments& a, Step step) {
  constexpr uint kMostWidth = kRows == 1 ? 640 : 256, kBlocks = kThreads / kBlockTokens;
  constexpr bool kByWarps = kRows == 1;  // see add_values
  __shared__ float query[kRows * kMostWidth], weight[kRows * kThreads];
  __shared__ uint64_t blocks[kBlocks];
  const KvStore& s = a.store;
  const uint me = threadIdx.x, head = blockIdx.x, width = s.k_width;
  // Which rows.
  int sequence = -1;
  uint row = 0, n_rows = 1;
  if constexpr (kRows == 1) {
    row = blockIdx.y;
    if (row < step.count(kTokens)) sequence = step.at(s.sequence, row);
  } else {
    uint before = 0;
    for (uint i = 0; i < step.count(kSequences); ++i) {
      const uint begin = static_cast<uint>(step.at(s.q_begin, i)),
                 n = static_cast<uint>(step.at(s.q_begin, i + 1)) - begin;
      const uint tiles = (n + kRows - 1) / kRows;
      if (blockIdx.y < before + tiles) {
        sequence = static_cast<int>(i);
        row = begin + (blockIdx.y - before) * kRows;
        n_rows = min(kRows, begin + n - row);
        break;
      }
      before += tiles;
    }
  }
  if (sequence < 0 || sequence >= static_cast<int>(step.count(kSequences))) return;

  // Which tokens: row r sees [from[r], to[r]).
  const int length = step.at(s.kv_len, static_cast<uint>(sequence));
  const int rows_end = step.at(s.q_begin, static_cast<uint>(sequence) + 1);
  int from[kRows], to[kRows];
#pragma unroll
  for (uint r = 0; r < kRows; ++r) {
    to[r] = a.causal != 0 ? length - (rows_end - static_cast<int>(row + r)) + 1 : length;
    from[r] = a.window != 0 ? max(0, to[r] - static_cast<int>(a.window)) : 0;
    if (r >= n_rows) from[r] = to[r] = 0;
  }
  int begin = from[0], end = to[0];
#pragma unroll
  for (uint r = 1; r < kRows; ++r) end = max(end, to[r]);
  if (a.partial != 0) {
    begin = max(begin, static_cast<int>(blockIdx.z * a.split));
    end = min(end, static_cast<int>((blockIdx.z + 1) * a.split));
    if (begin >= end) return;
  }

  for (uint i = me; i < kRows * width; i += kThreads) {
    const uint r = i / width;
    query[i] =
        r < n_rows ? floats(step.address_of(a.q))[uint64_t{(row + r) * a.q_row + head * a.q_head} + i % width] : 0.0f;
  }
  const uint kv_head = head / (a.n_head / s.n_head);
  const int table_first = s.kv_first == 0 ? 0 : step.at(s.kv_first, static_cast<uint>(sequence));
  const uint k_runs = (width + kRun - 1) / kRun, v_runs = (s.v_width + kRun - 1) / kRun;

  float most[kRows], sum[kRows] = {}, acc[kRows * kValues] = {}, part[kByWarps ? 4 * kValues : 1] = {};
  const bool by_warps = kByWarps && a.latent == 0;
#pragma unroll
  for (uint r = 0; r < kRows; ++r) most[r] = -kInfinity;

  // Pieces begin on borders of blocks, so that a piece has threads / 32 of them.
  for (int piece = begin - begin % static_cast<int>(kBlockTokens); piece < end; piece += static_cast<int>(kThreads)) {
    __syncthreads();
    if (me < kBlocks) {
      const int entry = (piece - table_first) / static_cast<int>(kBlockTokens) + static_cast<int>(me);
      uint64_t at = 0;
      if (piece + static_cast<int>(me * kBlockTokens) < end && entry >= 0 && entry < static_cast<int>(s.max_blocks)) {
        const int block = step.at(s.block_table, static_cast<uint>(sequence) * s.max_blocks + static_cast<uint>(entry));
        if (block >= 0 && static_cast<uint>(block) < s.n_blocks) {
          at = s.blocks + uint64_t{static_cast<uint>(block)} * s.block_bytes + uint64_t{kv_head} * s.head_bytes;
        }
      }
      blocks[me] = at;
    }
    __syncthreads();
    const int token = piece + static_cast<int>(me);
    const uint64_t region = blocks[me / kBlockTokens];
    const uint t = me % kBlockTokens;
    float score[kRows] = {};
    if (token < end && region != 0) {
#pragma unroll 1
      for (uint run = 0; run < k_runs; ++run) {
        const float scale = kv_scale<kKv>(region + s.k_scales, run * kBlockTokens + t);
        const auto add_element = [&](uint i) {
          const float k = kv_value<kKv>(region, i * kBlockTokens + t, scale);
#pragma unroll
          for (uint r = 0; r < kRows; ++r) score[r] += query[r * width + i] * k;
        };
        if ((run + 1) * kRun <= width) {  // so many loads are under way at once
#pragma unroll 16
          for (uint i = 0; i < kRun; ++i) add_element(run * kRun + i);
        } else {
          for (uint i = run * kRun; i < width; ++i) add_element(i);
        }
      }
    }
    float top[kRows];
#pragma unroll
    for (uint r = 0; r < kRows; ++r) {
      score[r] *= a.scale;
      if (a.softcap != 0) score[r] = a.softcap * tanhf(score[r] / a.softcap);
      if (token < max(from[r], begin) || token >= min(to[r], end) || region == 0) score[r] = -kInfinity;
      top[r] = score[r];
    }
    reduce_all<kRows, true>(top);
    float shrink[kRows], gained[kRows];
#pragma unroll
    for (uint r = 0; r < kRows; ++r) {
      top[r] = fmaxf(top[r], most[r]);
      shrink[r] = most[r] == -kInfinity ? 0.0f : expf(most[r] - top[r]);
      gained[r] = score[r] == -kInfinity ? 0.0f : expf(score[r] - top[r]);
      weight[r * kThreads + me] = gained[r];
      most[r] = top[r];
    }
    reduce_all<kRows, false>(gained);
#pragma unroll
    for (uint r = 0; r < kRows; ++r) sum[r] = sum[r] * shrink[r] + gained[r];
    // Now every weight is in shared memory.
    if constexpr (kByWarps) {
      if (by_warps) {
        add_values<kKv>(s, a.v_width, blocks[me / 32], weight + me / 32 * kBlockTokens, shrink[0], part);
        continue;
      }
    }
#pragma unroll
    for (uint j = 0; j < kValues; ++j) {
      const uint element = me + j * kThreads;
#pragma unroll
      for (uint r = 0; r < kRows; ++r) acc[r * kValues + j] *= shrink[r];
      if (element >= a.v_width) continue;
#pragma unroll 1
      for (uint b = 0; b < kBlocks && piece + static_cast<int>(b * kBlockTokens) < end; ++b) {
        const uint64_t at = blocks[b];
        if (at == 0) continue;
        const uint n = min(kBlockTokens, static_cast<uint>(end - piece) - b * kBlockTokens);
#pragma unroll 2
        for (uint i = 0; i < n; ++i) {
          float v;
          if (a.latent != 0) {
            v = kv_value<kKv>(at, element * kBlockTokens + i,
                              kv_scale<kKv>(at + s.k_scales, element / kRun * kBlockTokens + i));
          } else {
            v = kv_value<kKv>(at + s.v, i * s.v_width + element,
                              kv_scale<kKv>(at + s.v_scales, i * v_runs + element / kRun));
          }
#pragma unroll
          for (uint r = 0; r < kRows; ++r) {
            // What no row may see may be anything, NaN too.
            const float w = weight[r * kThreads + b * kBlockTokens + i];
            if (w != 0) acc[r * kValues + j] += w * v;
          }
        }
      }
    }
  }

  if constexpr (kByWarps) {
    if (by_warps) {
      __shared__ float joined[kThreads / 32 * kThreads * kValues];
#pragma unroll
      for (uint j = 0; j < 4 * kValues; ++j) joined[me / 32 * (kThreads * kValues) + me % 32 + 32 * j] = part[j];
      __syncthreads();
#pragma unroll
      for (uint j = 0; j < kValues; ++j) {
        for (uint w = 0; w < kThreads / 32; ++w) acc[j] += joined[w * (kThreads * kValues) + me + j * kThreads];
      }
    }
  }

#pragma unroll
  for (uint r = 0; r < kRows; ++r) {
    if (r >= n_rows) continue;
    const uint64_t item = uint64_t{row + r} * a.n_head + head;
    if (a.partial != 0) {
      float* at = pointer<float>(a.partial) + (item * a.n_splits + blockIdx.z) * (a.v_width + 2);
      if (me == 0) {
        at[0] = most[r];
        at[1] = sum[r];
      }
#pragma unroll
      for (uint j = 0; j < kValues; ++j) {
        if (me + j * kThreads < a.v_width) at[2 + me + j * kThreads] = acc[r * kValues + j];
      }
      continue;
    }
    float factor = 1, whole = sum[r];
    if (a.sinks != 0) {
      const float sink = floats(step.address_of(a.sinks))[head], top = fmaxf(sink, most[r]);
      factor = most[r] == -kInfinity ? 0.0f : expf(most[r] - top);
      whole = whole * factor + expf(sink - top);
    }
#pragma unroll
    for (uint j = 0; j < kValues; ++j) {
      if (me + j * kThreads < a.v_width) {
        pointer<float>(a.result)[item * a.v_width + me + j * kThreads] =
            whole == 0 ? 0.0f : acc[r * kValues + j] * factor / whole;
      }
    }
  }
}

// Joins the splits: one block a row and head, a thread the elements of V.
__device__ void attention_join(const AttentionArguments& a, Step step) {
  const KvStore& s = a.store;
  const uint head = blockIdx.x, row = blockIdx.y;
  if (row >= step.count(kTokens)) return;
  const int sequence = step.at(s.sequence, row);
  if (sequence < 0 || sequence >= static_cast<int>(step.count(kSequences))) return;
  const int length = step.at(s.kv_len, static_cast<uint>(sequence));
  const int rows_end = step.at(s.q_begin, static_cast<uint>(sequence) + 1);
  const int to = a.causal != 0 ? length - (rows_end - static_cast<int>(row)) + 1 : length;
  const int from = a.window != 0 ? max(0, to - static_cast<int>(a.window)) : 0;
  const uint first = static_cast<uint>(from) / a.split;
  const uint last = to > from ? min((static_cast<uint>(to) - 1) / a.split + 1, a.n_splits) : first;
  const uint64_t item = uint64_t{row} * a.n_head + head, pitch = a.v_width + 2;
  const float* part = floats(a.partial) + item * a.n_splits * pitch;
  const float sink = a.sinks != 0 ? floats(step.address_of(a.sinks))[head] : -kInfinity;
  float top = sink;
  for (uint i = first; i < last; ++i) top = fmaxf(top, part[i * pitch]);
  float whole = a.sinks != 0 ? expf(sink - top) : 0.0f;
  for (uint i = first; i < last; ++i) {
    const float m = part[i * pitch];
    if (m != -kInfinity) whole += part[i * pitch + 1] * expf(m - top);
  }
  for (uint element = threadIdx.x; element < a.v_width; element += blockDim.x) {
    float y = 0;
    for (uint i = first; i < last; ++i) {
      const float m = part[i * pitch];
      if (m != -kInfinity) y += part[i * pitch + 2 + element] * expf(m - top);
    }
    pointer<float>(a.result)[item * a.v_width + element] = whole == 0 ? 0.0f : y / whole;
  }
}

}  // namespace brim_gpu

#define BRIM_INSTANCE(dtype, rows, values)                                                                 \
  BRIM_BOUNDED_KERNEL(attention_##dtype##_##rows##_##values, (128, rows == 1 ? 4 : 8), AttentionArguments, \
                      attention<dtype, rows, values>)
#define BRIM_DTYPE(dtype)                                              \
  BRIM_KERNEL(kv_write_##dtype, 64, KvWriteArguments, kv_write<dtype>) \
  BRIM_INSTANCE(dtype, 1, 1)                                           \
  BRIM_INSTANCE(dtype, 1, 2)                                           \
  BRIM_INSTANCE(dtype, 1, 4)                                           \
  BRIM_INSTANCE(dtype, 4, 1)                                           \
  BRIM_INSTANCE(dtype, 4, 2)                                           \
  BRIM_INSTANCE(dtype, 4, 4)
BRIM_DTYPE(1)
BRIM_DTYPE(2)
BRIM_DTYPE(36)
BRIM_KERNEL(attention_join, 64, AttentionArguments, attention_join)
