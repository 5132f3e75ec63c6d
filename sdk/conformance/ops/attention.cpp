// KV states: what is written can be read back, and attention over it. Contents are numbers that the state's dtype holds
// exactly, so that only the op is judged and not the rounding of a cache.
#include <algorithm>
#include <cmath>

#include "../bench/blocks.hpp"
#include "case.hpp"
#include "decode.hpp"

namespace check::ops {
namespace {

const uint32_t kStored[] = {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0};

// `n` numbers of about 0.5 that the dtype stores exactly; of Q8_0 every 32 reach the largest quant of one step.
std::vector<double> storable(Maker& make, uint32_t dtype, uint64_t n) {
  std::vector<double> out(n);
  const std::vector<float> plain = random_floats(n, make.random(), 0.5f);
  for (uint64_t i = 0; i < n; ++i) {
    if (dtype == BRIM_DTYPE_Q8_0) {
      const int q = i % 32 == 31 ? 127 : static_cast<int>(make.pick(0, 254)) - 127;
      out[i] = std::ldexp(q, -7);
    } else if (dtype == BRIM_DTYPE_F16) {
      const uint16_t half = to_half(plain[i]);
      out[i] = decode_by_format(dtype, std::as_bytes(std::span(&half, 1)))[0];
    } else {
      out[i] = static_cast<double>(plain[i]);
    }
  }
  return out;
}

brim_state_desc kv_of(uint32_t kind, uint32_t heads, uint32_t k, uint32_t v, uint32_t window = 0) {
  brim_state_desc desc{};
  desc.struct_size = sizeof(desc);
  desc.kind = kind;
  desc.n_head = heads;
  desc.k_width = k;
  desc.v_width = v;
  desc.window = window;
  return desc;
}

// Rows of new tokens behind what the state holds already.
Case write_case(Maker& make, uint32_t dtype, bool latent) {
  const uint32_t heads = latent ? 1 : 2, k_width = latent ? 96 : 64, v_width = latent ? 0 : 32;
  Case c;
  c.name = latent ? "latent" : "K and V";
  c.op = BRIM_OP_KV_WRITE;
  c.dtype = dtype;
  StateOfCase& state = c.state.emplace_back();
  state.desc = kv_of(latent ? BRIM_STATE_KV_LATENT : BRIM_STATE_KV_FULL, heads, k_width, v_width);
  state.dtype = dtype;
  state.written = true;
  // What F16 rounds to even and Q8_0 to its half step of the largest of 32, its scale an F16.
  state.limit = state.fast_limit = dtype == BRIM_DTYPE_F32   ? 0
                                   : dtype == BRIM_DTYPE_F16 ? 0x1p-11
                                                             : 0.5 / 127 + 0x1p-10;
  std::vector<float> k, v;
  for (const auto& [rows, length] : {std::pair{3u, 3u}, {1u, 70u}, {5u, 37u}}) {
    Sequence& s = state.sequences.emplace_back();
    s.rows = rows;
    s.length = length;
    const uint64_t all_k = uint64_t{length} * heads * k_width, all_v = uint64_t{length} * heads * v_width;
    s.before = storable(make, dtype, all_k + all_v);
    s.after = s.before;
    std::vector<double> scale(s.after.size());
    const auto take = [&](uint32_t width, uint64_t at, std::vector<float>& rows_of) {
      const uint64_t fresh = uint64_t{rows} * heads * width;
      const std::vector<float> values = random_floats(fresh, make.random());
      for (uint64_t i = 0; i < fresh; ++i) {
        double& size = scale[at + i];
        s.after[at + i] = static_cast<double>(values[i]);
        size = std::fabs(s.after[at + i]);
        if (dtype == BRIM_DTYPE_F16) size = std::max(size, 0x1p-14);  // smaller halves lie as far apart as there
        if (dtype != BRIM_DTYPE_Q8_0) continue;
        for (uint64_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j)
          size = std::max(size, static_cast<double>(std::fabs(values[j])));
      }
      rows_of.insert(rows_of.end(), values.begin(), values.end());
    };
    take(k_width, all_k - uint64_t{rows} * heads * k_width, k);
    if (v_width) take(v_width, all_k + all_v - uint64_t{rows} * heads * v_width, v);
    state.scale.push_back(std::move(scale));
  }
  c.in = {Tensor{}, by_row(of_values({9, heads, k_width}, k))};
  c.in.push_back(v_width ? by_row(of_values({9, heads, v_width}, v)) : Tensor{});
  return c;
}

struct Shape {
  uint32_t heads, heads_kv, k_width, v_width;
};

// nan_at_end: the last number of V of a sequence's last token is NaN, which rows before it do not see.
Case attention_case(Maker& make, uint32_t dtype, uint64_t must, const Shape& shape,
                    const std::vector<std::pair<uint32_t, uint32_t>>& sequences, bool window_state = false,
                    bool nan_at_end = false) {
  const bool latent = (must & BRIM_ATTENTION_V_FROM_K) != 0;
  const uint32_t stored_v = latent ? 0 : shape.v_width;
  brim_attention_attr a{};
  a.n_head = shape.heads;
  a.n_head_kv = shape.heads_kv;
  a.scale = 0.3f;
  a.window = must & BRIM_ATTENTION_SLIDING_WINDOW ? 19 : 0;
  a.softcap = must & BRIM_ATTENTION_SOFTCAP ? 2.5f : 0;
  a.v_width = latent ? shape.v_width : 0;
  Case c;
  c.name = std::to_string(shape.heads) + " heads on " + std::to_string(shape.heads_kv) + ", K " +
           std::to_string(shape.k_width) + ", V " + std::to_string(shape.v_width) +
           (window_state ? ", window state" : "") + (nan_at_end ? ", a NaN at the end" : "");
  c.op = BRIM_OP_ATTENTION;
  c.must = must;
  c.dtype = dtype;
  c.attr = attr_bytes(a);
  StateOfCase& state = c.state.emplace_back();
  state.input = 1;
  state.dtype = dtype;
  state.desc = kv_of(latent         ? BRIM_STATE_KV_LATENT
                     : window_state ? BRIM_STATE_KV_WINDOW
                                    : BRIM_STATE_KV_FULL,
                     shape.heads_kv, shape.k_width, stored_v, window_state ? a.window : 0);
  uint32_t rows = 0;
  for (const auto& s : sequences) rows += s.first;
  c.in = {make.rows({rows, shape.heads, shape.k_width}), Tensor{}};
  if (must & BRIM_ATTENTION_SINKS) c.in.push_back(weight(make.floats({shape.heads})));
  c.out = {row_result({rows, shape.heads, shape.v_width})};
  c.scale.resize(c.out[0].exact.size());
  uint32_t row = 0, longest = 0;
  for (const auto& [fresh, length] : sequences) {
    longest = std::max(longest, length);
    Sequence& s = state.sequences.emplace_back();
    s.rows = fresh;
    s.length = length;
    const uint64_t all_k = uint64_t{length} * shape.heads_kv * shape.k_width;
    s.before = storable(make, dtype, all_k + uint64_t{length} * shape.heads_kv * stored_v);
    if (nan_at_end) s.before.back() = std::nan("");
    for (uint32_t r = 0; r < fresh; ++r, ++row) {
      const uint32_t place = length - fresh + r;
      const uint32_t end = must & BRIM_ATTENTION_CAUSAL ? place + 1 : length;
      const uint32_t begin = a.window && end > a.window ? end - a.window : 0;
      for (uint32_t h = 0; h < shape.heads; ++h) {
        const uint32_t head = h / (shape.heads / shape.heads_kv);
        const double* q = &c.in[0].exact[(uint64_t{row} * shape.heads + h) * shape.k_width];
        std::vector<double> score(end);
        double top = must & BRIM_ATTENTION_SINKS ? c.in[2].exact[h] : -HUGE_VAL, sum = 0;
        for (uint32_t t = begin; t < end; ++t) {
          const double* k = &s.before[(uint64_t{t} * shape.heads_kv + head) * shape.k_width];
          double dot = 0;
          for (uint32_t i = 0; i < shape.k_width; ++i) dot += q[i] * k[i];
          score[t] = static_cast<double>(a.scale) * dot;
          if (a.softcap > 0) score[t] = 2.5 * std::tanh(score[t] / 2.5);
          top = std::max(top, score[t]);
        }
        if (must & BRIM_ATTENTION_SINKS) sum = std::exp(c.in[2].exact[h] - top);
        for (uint32_t t = begin; t < end; ++t) sum += std::exp(score[t] - top);
        for (uint32_t t = begin; t < end; ++t) {
          const double weight = std::exp(score[t] - top) / sum;
          const double* v = latent ? &s.before[(uint64_t{t} * shape.heads_kv + head) * shape.k_width]
                                   : &s.before[all_k + (uint64_t{t} * shape.heads_kv + head) * stored_v];
          for (uint32_t i = 0; i < shape.v_width; ++i) {
            const uint64_t at = (uint64_t{row} * shape.heads + h) * shape.v_width + i;
            c.out[0].exact[at] += weight * v[i];
            c.scale[at] += std::fabs(weight * v[i]);
          }
        }
      }
    }
  }
  // A score of size 4 that is off by its own sum's error moves its weight by as much.
  c.limit = sum_limit(longest) + 8 * sum_limit(shape.k_width) + 16 * kUlp;
  c.fast_rms = dtype == BRIM_DTYPE_Q8_0 ? 2e-2 : 1e-3;
  return c;
}

}  // namespace

void add_attention(Maker& make, Cases& cases) {
  constexpr uint64_t kCausal = BRIM_ATTENTION_CAUSAL;
  const std::vector<std::pair<uint32_t, uint32_t>> one = {{1, 1}}, few = {{1, 67}, {5, 5}, {4, 36}},
                                                   decode = {{1, 130}, {1, 1}, {1, 33}},
                                                   far = {{1, 700}, {2, 531}},  // more than one piece of any backend
      many = {{37, 100}, {1, 90}, {19, 19}};                                    // prefill, whose rows go together
  for (const uint32_t dtype : kStored) {
    cases.push_back(write_case(make, dtype, false));
    cases.push_back(write_case(make, dtype, true));
    for (const auto& sequences : {one, few, decode}) {
      cases.push_back(attention_case(make, dtype, kCausal, {4, 2, 64, 64}, sequences));
      cases.push_back(attention_case(make, dtype, kCausal, {2, 2, 32, 96}, sequences));
    }
    cases.push_back(attention_case(make, dtype, 0, {4, 1, 64, 64}, few));
    cases.push_back(attention_case(make, dtype, kCausal, {2, 1, 32, 32}, far));
    cases.push_back(attention_case(make, dtype, kCausal | BRIM_ATTENTION_SINKS, {2, 1, 32, 32}, far));
    cases.push_back(attention_case(make, dtype, kCausal | BRIM_ATTENTION_SLIDING_WINDOW, {2, 1, 32, 32}, far));
    cases.push_back(attention_case(make, dtype, kCausal | BRIM_ATTENTION_V_FROM_K, {2, 1, 64, 32}, far));
    for (const uint64_t more : {BRIM_ATTENTION_SLIDING_WINDOW, BRIM_ATTENTION_SOFTCAP, BRIM_ATTENTION_SINKS,
                                BRIM_ATTENTION_SLIDING_WINDOW | BRIM_ATTENTION_SINKS,
                                BRIM_ATTENTION_SLIDING_WINDOW | BRIM_ATTENTION_SOFTCAP}) {
      cases.push_back(attention_case(make, dtype, kCausal | more, {4, 2, 64, 64}, few));
      cases.push_back(attention_case(make, dtype, kCausal | more, {4, 2, 64, 64}, decode));
    }
    cases.push_back(attention_case(make, dtype, kCausal | BRIM_ATTENTION_SLIDING_WINDOW, {4, 2, 64, 64}, few, true));
    cases.push_back(attention_case(make, dtype, kCausal | BRIM_ATTENTION_V_FROM_K, {6, 1, 96, 64}, few));
    cases.push_back(attention_case(make, dtype, kCausal | BRIM_ATTENTION_V_FROM_K, {6, 1, 96, 64}, decode));
    // In runs of 32 alone is Q8_0 exact.
    const bool q8 = dtype == BRIM_DTYPE_Q8_0;
    cases.push_back(attention_case(make, dtype, kCausal, {6, 2, 64, 64}, many, false, !q8));
    cases.push_back(attention_case(make, dtype, 0, {3, 3, q8 ? 96u : 80u, q8 ? 32u : 48u}, many));
    cases.push_back(attention_case(make, dtype, kCausal | BRIM_ATTENTION_SLIDING_WINDOW | BRIM_ATTENTION_SINKS,
                                   {4, 1, 128, 128}, many));
    cases.push_back(attention_case(make, dtype, kCausal | BRIM_ATTENTION_SOFTCAP, {2, 1, 192, 128}, many));
    cases.push_back(attention_case(make, dtype, kCausal | BRIM_ATTENTION_SLIDING_WINDOW, {4, 2, 256, 256}, many, true));
  }
  cases.push_back(attention_case(make, BRIM_DTYPE_F32, kCausal, {3, 1, 5, 7}, few));
}

}  // namespace check::ops
