#include "ops/recurrent.hpp"

#include <algorithm>

#include "ops/math.hpp"

namespace brim_cpu {
namespace {

// A sequence of the step: its rows, and the slots that it reads (null: zeros) and writes (null: nowhere).
struct Stretch {
  int64_t begin, end;
  const float* from;
  float* to;
};

Stretch stretch_of(const SlotStore& store, const Frame& frame, uint64_t sequence) {
  const auto number = [&](uint64_t offset, uint64_t i) {
    return reinterpret_cast<const int32_t*>(frame.step + offset)[i];
  };
  const auto slot = [&](int32_t index) {
    return index < 0 ? nullptr
                     : reinterpret_cast<float*>(store.slots + static_cast<uint64_t>(index) * store.slot_bytes);
  };
  return {number(store.q_begin, sequence), number(store.q_begin, sequence + 1),
          slot(number(store.state_read, sequence)), slot(number(store.state_write, sequence))};
}

}  // namespace

Work ConvArgs::plan(const Frame& frame) const {
  const uint64_t blocks = static_cast<uint64_t>((channels + kConvChannels - 1) / kConvChannels);
  const auto values = static_cast<float>(frame.count[BRIM_SYM_N_TOKENS] * static_cast<uint64_t>(channels));
  return {static_cast<uint32_t>(blocks * frame.count[BRIM_SYM_N_SEQS]),
          values * static_cast<float>(taps + (silu ? 8 : 1)) / kWidth};
}

void ConvArgs::work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t) const {
  const int64_t blocks = (channels + kConvChannels - 1) / kConvChannels;
  const Stretch rows = stretch_of(store, frame, chunk / static_cast<uint64_t>(blocks));
  if (rows.begin == rows.end) return;
  const int64_t first = chunk % blocks * kConvChannels, n = std::min(kConvChannels, channels - first), held = taps - 1;
  const float* input = x.at<const float>(frame) + first;

  // Weights by tap, so that neighbouring channels are neighbours.
  auto* by_tap = reinterpret_cast<float*>(member.scratch);
  for (int64_t i = 0; i < n; ++i) {
    const float* w = weight.at<const float>(frame) + (first + i) * weight.stride[0];
    for (int64_t j = 0; j < taps; ++j) by_tap[j * kConvChannels + i] = w[j];
  }
  // Row r of what the state held followed by the step's rows; null is a row of zeros.
  const auto row = [&](int64_t r) -> const float* {
    if (r >= held) return input + (rows.begin + r - held) * x.stride[0];
    return rows.from == nullptr ? nullptr : rows.from + r * channels + first;
  };
  for (int64_t t = 0; t < rows.end - rows.begin; ++t) {
    float* y = out.at<float>(frame) + (rows.begin + t) * out.stride[0] + first;
    each_vector(n, [&](int64_t i, int64_t m) {
      Vec total = {};
      for (int64_t j = 0; j < taps; ++j) {
        const float* from = row(t + j);
        if (from != nullptr) total = fma(load_up_to(by_tap + j * kConvChannels + i, m), load_up_to(from + i, m), total);
      }
      if (bias.data != nullptr) total = total + load_up_to(bias.at<const float>(frame) + first + i, m);
      store_up_to(y + i, silu ? brim_cpu::silu(total) : total, m);
    });
  }
  if (rows.to == nullptr) return;
  for (int64_t r = 0; r < held; ++r) {
    const float* from = row(rows.end - rows.begin + r);
    float* to = rows.to + r * channels + first;
    if (from == nullptr) {
      std::fill_n(to, n, 0.0f);
    } else {
      std::copy_n(from, n, to);
    }
  }
}

Work LinearAttentionArgs::plan(const Frame& frame) const {
  const uint64_t blocks = static_cast<uint64_t>((d_v + kStateColumns - 1) / kStateColumns * heads);
  const uint64_t steps = frame.count[BRIM_SYM_N_TOKENS] * static_cast<uint64_t>(heads * d_k * d_v);
  return {static_cast<uint32_t>(blocks * frame.count[BRIM_SYM_N_SEQS]), static_cast<float>(steps) * 1.5f / kWidth};
}

void LinearAttentionArgs::work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t) const {
  constexpr int kVectors = kStateColumns / kWidth;
  const int64_t blocks = (d_v + kStateColumns - 1) / kStateColumns, per_sequence = blocks * heads;
  const Stretch rows = stretch_of(store, frame, chunk / static_cast<uint64_t>(per_sequence));
  if (rows.begin == rows.end) return;
  const int64_t head = chunk % per_sequence / blocks, first = chunk % blocks * kStateColumns;
  const int64_t n = std::min(kStateColumns, d_v - first);
  const int64_t key_head = modulo ? head % key_heads : head / (heads / key_heads);

  // These columns of S [d_k, kStateColumns], what is past n zero, and behind them one row to come and go through.
  auto* state = reinterpret_cast<float*>(member.scratch);
  float* passing = state + d_k * kStateColumns;
  std::fill_n(state, (d_k + 1) * kStateColumns, 0.0f);
  if (rows.from != nullptr) {
    for (int64_t i = 0; i < d_k; ++i)
      std::copy_n(rows.from + (head * d_k + i) * d_v + first, n, state + i * kStateColumns);
  }
  for (int64_t t = rows.begin; t < rows.end; ++t) {
    const float* key = k.at<const float>(frame) + t * k.stride[0] + key_head * k.stride[1];
    const float* query = q.at<const float>(frame) + t * q.stride[0] + key_head * q.stride[1];
    const float kept = decay.data == nullptr
                           ? 1.0f
                           : exponential(decay.at<const float>(frame)[t * decay.stride[0] + head * decay.stride[1]]);
    std::copy_n(v.at<const float>(frame) + t * v.stride[0] + head * v.stride[1] + first, n, passing);
    Vec added[kVectors];
    for (int j = 0; j < kVectors; ++j) added[j] = load(passing + j * kWidth);
    if (beta.data != nullptr) {  // what the state does not say of this key yet
      Vec known[kVectors] = {};
      for (int64_t i = 0; i < d_k; ++i) {
        const Vec at = splat(key[i]);
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) known[j] = fma(load(state + i * kStateColumns + j * kWidth), at, known[j]);
      }
      const float share = beta.at<const float>(frame)[t * beta.stride[0] + head * beta.stride[1]];
      for (int j = 0; j < kVectors; ++j) added[j] = (added[j] - known[j] * kept) * share;
    }
    Vec y[kVectors] = {};
    for (int64_t i = 0; i < d_k; ++i) {
      const Vec at = splat(key[i]), asked = splat(query[i]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        float* s = state + i * kStateColumns + j * kWidth;
        const Vec next = fma(at, added[j], load(s) * kept);
        brim_cpu::store(s, next);
        y[j] = fma(next, asked, y[j]);
      }
    }
    for (int j = 0; j < kVectors; ++j) brim_cpu::store(passing + j * kWidth, y[j] * scale);
    std::copy_n(passing, n, out.at<float>(frame) + t * out.stride[0] + head * out.stride[1] + first);
  }
  if (rows.to == nullptr) return;
  for (int64_t i = 0; i < d_k; ++i) std::copy_n(state + i * kStateColumns, n, rows.to + (head * d_k + i) * d_v + first);
}

}  // namespace brim_cpu
