// Fast numerics of ATTENTION (attention.cu) for steps of many rows, by tensor cores in the form of FlashAttention-2
// (Dao 2023, arXiv:2307.08691), for compute capability 8.0 and later. K and V in F16, or in Q8_0, whose codes become
// F16 on their way to shared memory; heads up to 256 wide, their widths multiples of 16. No latent states.
//
// The query heads of one KV head are stacked: item i of a sequence is row i / group, head i % group of the group. A
// block of four warps takes 64 items, a warp 16, so that K and V are read once for them all. A warp keeps its Q, scaled
// and rounded to F16, the output and the softmax's maxima and sums in registers, in F32; S = Q K^T, P (rounded to F16)
// and P V follow one another in fragments: those of C of the first product are those of A of the second.
//
// Tiles of K and V are as many tokens as make 16 KiB: 64 at width 64, 32 at 128, 16 at 256, so that all widths have 64
// mma and 32 ldmatrix a tile and warp. Two tiles lie in shared memory (at most 41 KiB with padding): one is computed
// with while cp.async brings the next, whose places in the block table were read a tile earlier; one barrier a tile.
// Tiles that no row of a block sees are not brought, those that no row of a warp sees not multiplied.
//
// A row's result does not depend on the rows beside it: tiles begin at multiples of their tokens in the context, and
// what a row does not see has no effect on its bits.
//
// Names: attention_mma_DTYPE_WIDTH, where neither K nor V are wider.
#include "mma.cuh"

namespace brim_gpu {

constexpr uint kWarps = 4, kThreads = 32 * kWarps, kItems = 16 * kWarps, kBlockTokens = 32, kRun = 32;
constexpr uint kKvF16 = 2;  // BRIM_DTYPE_F16; 36 is Q8_0
constexpr float kLog2E = 1.4426950408889634f;

// K lies by element, V by token, as in the state. Rows have 16 bytes more, so that the eight that ldmatrix reads at
// once lie in other banks.
template <uint kWidth>
struct KvTile {
  static constexpr uint kTokens = kWidth <= 64 ? 64 : kWidth <= 128 ? 32 : 16, kBlocks = (kTokens + 31) / 32;
  static constexpr uint kKRow = 2 * kTokens + 16, kVRow = 2 * kWidth + 16;
  uint8_t k[kWidth * kKRow], v[kTokens * kVRow];
};

// 2^x; results below 2^-126 are 0.
__device__ __forceinline__ float power_of_2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float inverse(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Eight neighbouring values to 16 bytes of a tile; of Q8_0 `scale(i)` is that of code i.
template <uint kKv, class Scale>
__device__ __forceinline__ void bring_eight(uint8_t* to, uint64_t from, Scale&& scale) {
  if constexpr (kKv == kKvF16) {
    copy_async<16>(to, from);
  } else {
    const uint2 codes = *pointer<const uint2>(from);
    uint words[4];
#pragma unroll
    for (uint i = 0; i < 4; ++i) {
      const uint two = (i < 2 ? codes.x : codes.y) >> 16 * (i % 2);
      words[i] = two_halves(scale(2 * i) * static_cast<float>(static_cast<int8_t>(two)),
                            scale(2 * i + 1) * static_cast<float>(static_cast<int8_t>(two >> 8)));
    }
    *reinterpret_cast<uint4*>(to) = {words[0], words[1], words[2], words[3]};
  }
}

// The tile that begins at `token`, of the KV head that block blockIdx.x has; blocks[b]: the b-th of its KV blocks, -1
// where there is none: its values are then zero.
template <uint kKv, uint kWidth>
__device__ __forceinline__ void bring(KvTile<kWidth>& tile, const KvStore& s, uint token,
                                      const int (&blocks)[KvTile<kWidth>::kBlocks]) {
  using Tile = KvTile<kWidth>;
  constexpr uint kEights = Tile::kTokens / 8, kOfBlock = kBlockTokens / 8, kBlocks = Tile::kBlocks;
  uint64_t at[kBlocks];
#pragma unroll
  for (uint b = 0; b < kBlocks; ++b) {
    const auto block = static_cast<uint>(blocks[b]);
    at[b] = blocks[b] < 0 ? 0 : s.blocks + uint64_t{block} * s.block_bytes + uint64_t{blockIdx.x} * s.head_bytes;
  }
  const uint first = token % kBlockTokens, v_runs = (s.v_width + kRun - 1) / kRun;  // first: of a tile of half a block
#pragma unroll
  for (uint i = threadIdx.x; i < kWidth * kEights; i += kThreads) {
    const uint element = i / kEights, eight = i % kEights, t = first + eight % kOfBlock * 8;
    if (element >= s.k_width) break;
    const uint64_t region = eight < kOfBlock ? at[0] : at[kBlocks - 1];
    uint8_t* to = tile.k + element * Tile::kKRow + 16 * eight;
    if (region == 0) {
      *reinterpret_cast<uint4*>(to) = {0, 0, 0, 0};
      continue;
    }
    const uint64_t scales = region + s.k_scales + 2ull * (element / kRun * kBlockTokens + t);
    bring_eight<kKv>(to, region + (kKv == kKvF16 ? 2ull : 1ull) * (element * kBlockTokens + t),
                     [&](uint j) { return half_to_float(load16(scales + 2ull * j)); });
  }
#pragma unroll
  for (uint i = threadIdx.x; i < Tile::kTokens * (kWidth / 8); i += kThreads) {
    const uint row = i / (kWidth / 8), element = i % (kWidth / 8) * 8, t = first + row % kBlockTokens;
    if (element >= s.v_width) continue;
    const uint64_t region = row < kBlockTokens ? at[0] : at[kBlocks - 1];
    uint8_t* to = tile.v + row * Tile::kVRow + 2 * element;
    if (region == 0) {
      *reinterpret_cast<uint4*>(to) = {0, 0, 0, 0};
      continue;
    }
    float scale = 1;
    if constexpr (kKv != kKvF16)
      scale = half_to_float(load16(region + s.v_scales + 2ull * (t * v_runs + element / kRun)));
    bring_eight<kKv>(to, region + s.v + (kKv == kKvF16 ? 2ull : 1ull) * (t * s.v_width + element),
                     [&](uint) { return scale; });
  }
}

// 0x8000 for each half that is infinite or NaN, among other bits: all bits of its exponent are ones, and one more
// carries.
__device__ __forceinline__ uint not_finite(uint halves) { return (halves & 0x7fff7fffu) + 0x04000400u; }

// Whether the tile's V has such a value.
template <uint kWidth>
__device__ __forceinline__ bool any_not_finite(uint v_at) {
  uint found = 0;
#pragma unroll
  for (uint k = 0; k < KvTile<kWidth>::kTokens / 16; ++k) {
#pragma unroll
    for (uint n = 0; n < kWidth / 8; n += 2) {
      uint v[4];
      load_matrices_transposed(v, v_at + 16 * k * KvTile<kWidth>::kVRow + 16 * n);
#pragma unroll
      for (uint i = 0; i < 4; ++i) found |= not_finite(v[i]);
    }
  }
  return __any_sync(~0u, (found & 0x80008000u) != 0) != 0;
}

// Adds P V of a tile. What a row does not see may be anything, and 0 times NaN or infinity is no zero: where there is
// such a value and a row that does not see all (kCareful), it counts as 0, and what sees it (P is not 0) becomes NaN.
template <bool kCareful, uint kWidth>
__device__ __forceinline__ void add_values(float (&sum)[kWidth / 8][4],
                                           const uint (&p)[KvTile<kWidth>::kTokens / 16][4], uint v_at) {
#pragma unroll
  for (uint k = 0; k < KvTile<kWidth>::kTokens / 16; ++k) {
    uint seen[4];
#pragma unroll
    for (uint i = 0; i < 4; ++i) seen[i] = ((p[k][i] + 0x7fff7fffu) >> 15 & 0x10001u) * 0x3c00u;  // 1 where P is not 0
#pragma unroll
    for (uint n = 0; n < kWidth / 8; n += 2) {
      uint v[4];
      load_matrices_transposed(v, v_at + 16 * k * KvTile<kWidth>::kVRow + 16 * n);
      if constexpr (kCareful) {
        uint bad[4];
#pragma unroll
        for (uint i = 0; i < 4; ++i) {
          bad[i] = not_finite(v[i]) >> 15 & 0x10001u;
          v[i] &= ~(bad[i] * 0xffffu);
          bad[i] *= 0x3c00u;
        }
#pragma unroll
        for (uint j = 0; j < 2; ++j) {
          float met[4] = {};
          multiply_halves<false>(met, seen, bad[2 * j], bad[2 * j + 1]);
#pragma unroll
          for (uint i = 0; i < 4; ++i) {
            if (met[i] != 0) sum[n + j][i] = __int_as_float(0x7fc00000);
          }
        }
      }
      multiply_halves<false>(sum[n], p[k], v[0], v[1]);
      multiply_halves<false>(sum[n + 1], p[k], v[2], v[3]);
    }
  }
}

template <uint kKv, uint kWidth>
__device__ void attention_mma(const AttentionArguments& a, Step step) {
  using Tile = KvTile<kWidth>;
  constexpr uint kTokens = Tile::kTokens, kBlocks = Tile::kBlocks, kColumns = kTokens / 8;
  constexpr int kPace = static_cast<int>(kTokens);
  __shared__ alignas(16) Tile tiles[2];
  const KvStore& s = a.store;
  const uint me = threadIdx.x, lane = me % 32, group = a.n_head / s.n_head, kv_head = blockIdx.x;

  // Which items: those of the last rows, which see most, first.
  uint sequence = 0, begin_row = 0, end_row = 0, first = gridDim.y - 1 - blockIdx.y;
  const uint sequences = step.count(kSequences);
  for (; sequence < sequences; ++sequence) {
    begin_row = static_cast<uint>(step.at(s.q_begin, sequence));
    end_row = static_cast<uint>(step.at(s.q_begin, sequence + 1));
    const uint blocks = ((end_row - begin_row) * group + kItems - 1) / kItems;
    if (first < blocks) break;
    first -= blocks;
  }
  if (sequence == sequences) return;
  first *= kItems;
  const uint items = min(kItems, (end_row - begin_row) * group - first);
  const auto row_of = [&](uint item) { return begin_row + (first + min(item, items - 1)) / group; };

  // Which tokens: a row sees [from, to).
  const int length = step.at(s.kv_len, sequence);
  const auto to_of = [&](uint row) {
    return a.causal != 0 ? length - (static_cast<int>(end_row) - static_cast<int>(row)) + 1 : length;
  };
  const auto from_of = [&](int to) { return a.window != 0 ? max(0, to - static_cast<int>(a.window)) : 0; };
  // This lane's items are `mine` and 8 more; of its warp, the first row sees up to warp_first, the last up to
  // warp_last.
  const uint of_warp = me / 32 * 16, mine = of_warp + lane / 4;
  const int to[2] = {to_of(row_of(mine)), to_of(row_of(mine + 8))};
  const int warp_first = to_of(row_of(of_warp)), warp_last = of_warp < items ? to_of(row_of(of_warp + 15)) : 0;
  const int begin = from_of(to_of(row_of(0))) / kPace * kPace, end = to_of(row_of(kItems - 1));

  const int table_first = s.kv_first == 0 ? 0 : step.at(s.kv_first, sequence);
  const auto find = [&](int token, int(&blocks)[kBlocks]) {
#pragma unroll
    for (uint b = 0; b < kBlocks; ++b) {
      const int of_block = (token & ~31) + static_cast<int>(b * kBlockTokens), entry = (of_block - table_first) / 32;
      blocks[b] = -1;
      if (of_block >= end || entry < 0 || entry >= static_cast<int>(s.max_blocks)) continue;
      const int block = step.at(s.block_table, sequence * s.max_blocks + static_cast<uint>(entry));
      if (static_cast<uint>(block) < s.n_blocks) blocks[b] = block;
    }
  };
  int now[kBlocks], next[kBlocks];
  find(begin, now);
  find(begin + kPace, next);
  // What is narrower than the tile is filled up once.
#pragma unroll
  for (uint side = 0; side < 2; ++side) {
    for (uint i = s.k_width * Tile::kKRow / 16 + me; i < kWidth * Tile::kKRow / 16; i += kThreads) {
      reinterpret_cast<uint4*>(tiles[side].k)[i] = {0, 0, 0, 0};
    }
    for (uint i = me; i < kTokens * (kWidth / 8); i += kThreads) {
      const uint element = i % (kWidth / 8) * 8;
      if (element < s.v_width) continue;
      *reinterpret_cast<uint4*>(tiles[side].v + i / (kWidth / 8) * Tile::kVRow + 2 * element) = {0, 0, 0, 0};
    }
  }
  if (begin < end) bring<kKv>(tiles[0], s, static_cast<uint>(begin), now);

  // Scores are powers of two; where they are capped, cap tanh x = cap - 2 cap / (e^(2 x) + 1), and Q is scaled so that
  // products are 2 x log2 e.
  const float cap = a.softcap * kLog2E;
  const float factor = a.softcap != 0 ? 2 * kLog2E * a.scale / a.softcap : kLog2E * a.scale;
  uint query[kWidth / 16][4];
#pragma unroll
  for (uint k = 0; k < kWidth / 16; ++k) {
#pragma unroll
    for (uint i = 0; i < 4; ++i) {
      query[k][i] = 0;
      if (16 * k >= s.k_width) continue;
      const uint item = min(mine + 8 * (i % 2), items - 1), head = kv_head * group + (first + item) % group;
      const float* q = floats(step.address_of(a.q)) + (row_of(item) * a.q_row + head * a.q_head) + 16 * k +
                       8 * (i / 2) + 2 * (lane % 4);
      query[k][i] = two_halves(factor * q[0], factor * q[1]);
    }
  }

  float most[2] = {-kInfinity, -kInfinity}, total[2] = {}, sum[kWidth / 8][4] = {};
  // Where this lane points ldmatrix: rows 0 to 15, then the same of eight columns further on.
  const uint k_at = shared_address(tiles[0].k) + lane % 16 * Tile::kKRow + lane / 16 * 16;
  const uint v_at = shared_address(tiles[0].v) + lane % 16 * Tile::kVRow + lane / 16 * 16;
  uint side = 0;
  for (int token = begin; token < end; token += kPace, side ^= 1) {
    wait_for_copies();
    __syncthreads();
    bool there[kBlocks], all_there = true;
#pragma unroll
    for (uint b = 0; b < kBlocks; ++b) {
      there[b] = now[b] >= 0;
      all_there = all_there && there[b];
      now[b] = next[b];
    }
    if (token + kPace < end) {
      bring<kKv>(tiles[side ^ 1], s, static_cast<uint>(token + kPace), now);
      find(token + 2 * kPace, next);
    }
    if (token >= warp_last || token + kPace <= from_of(warp_first)) continue;

    float score[kColumns][4] = {};
    const uint k_now = k_at + side * sizeof(Tile), v_now = v_at + side * sizeof(Tile);
#pragma unroll
    for (uint k = 0; k < kWidth / 16; ++k) {
#pragma unroll
      for (uint n = 0; n < kColumns; n += 2) {
        uint b[4];
        load_matrices_transposed(b, k_now + 16 * k * Tile::kKRow + 16 * n);
        multiply_halves<false>(score[n], query[k], b[0], b[1]);
        multiply_halves<false>(score[n + 1], query[k], b[2], b[3]);
      }
    }
    if (a.softcap != 0) {
#pragma unroll
      for (uint i = 0; i < 4 * kColumns; ++i) {
        float& x = score[i / 4][i % 4];
        x = cap - 2 * cap * inverse(power_of_2(x) + 1.0f);
      }
    }
    const bool masked = token < from_of(warp_last) || token + kPace > warp_first || !all_there;
    if (masked) {
#pragma unroll
      for (uint i = 0; i < 4 * kColumns; ++i) {
        const uint column = i / 4 * 8, r = i % 4 / 2;
        const int t = token + static_cast<int>(column + 2 * (lane % 4) + i % 2);
        if (t < from_of(to[r]) || t >= to[r] || !there[column / kBlockTokens]) score[i / 4][i % 4] = -kInfinity;
      }
    }
    float base[2];
#pragma unroll
    for (uint r = 0; r < 2; ++r) {
      float top = most[r];
#pragma unroll
      for (uint n = 0; n < kColumns; ++n) top = fmaxf(top, fmaxf(score[n][2 * r], score[n][2 * r + 1]));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
      base[r] = top == -kInfinity ? 0.0f : top;
      const float shrink = power_of_2(most[r] - base[r]);
      most[r] = top;
      total[r] *= shrink;
#pragma unroll
      for (uint n = 0; n < kWidth / 8; ++n) {
        sum[n][2 * r] *= shrink;
        sum[n][2 * r + 1] *= shrink;
      }
    }
    uint p[kTokens / 16][4];
#pragma unroll
    for (uint i = 0; i < 2 * kColumns; ++i) {
      const uint n = i / 2, r = i % 2;
      const float x = power_of_2(score[n][2 * r] - base[r]), y = power_of_2(score[n][2 * r + 1] - base[r]);
      total[r] += x + y;
      p[n / 2][n % 2 * 2 + r] = halves_of(x, y);
    }
    if (masked && any_not_finite<kWidth>(v_now)) {
      add_values<true, kWidth>(sum, p, v_now);
    } else {
      add_values<false, kWidth>(sum, p, v_now);
    }
  }

#pragma unroll
  for (uint r = 0; r < 2; ++r) {
    total[r] += __shfl_xor_sync(~0u, total[r], 1);
    total[r] += __shfl_xor_sync(~0u, total[r], 2);
    const uint item = mine + 8 * r;
    if (item >= items) continue;
    const uint head = kv_head * group + (first + item) % group;
    float share = 1, whole = total[r];
    if (a.sinks != 0) {
      const float sink = kLog2E * floats(step.address_of(a.sinks))[head], top = fmaxf(sink, most[r]);
      share = power_of_2(most[r] - top);
      whole = whole * share + power_of_2(sink - top);
    }
    const float scale = whole == 0 ? 0.0f : share / whole;
    float* y = pointer<float>(a.result) + (uint64_t{row_of(item)} * a.n_head + head) * a.v_width + 2 * (lane % 4);
#pragma unroll
    for (uint n = 0; n < kWidth / 8; ++n) {
      if (8 * n >= a.v_width) break;
      y[8 * n] = sum[n][2 * r] * scale;
      y[8 * n + 1] = sum[n][2 * r + 1] * scale;
    }
  }
}

}  // namespace brim_gpu

#define BRIM_INSTANCE(dtype, width) \
  BRIM_KERNEL(attention_mma_##dtype##_##width, 128, AttentionArguments, attention_mma<dtype, width>)
#define BRIM_DTYPE(dtype)   \
  BRIM_INSTANCE(dtype, 64)  \
  BRIM_INSTANCE(dtype, 96)  \
  BRIM_INSTANCE(dtype, 128) \
  BRIM_INSTANCE(dtype, 192) \
  BRIM_INSTANCE(dtype, 256)
BRIM_DTYPE(2)
BRIM_DTYPE(36)
