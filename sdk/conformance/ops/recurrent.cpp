// States with one slot per sequence: convolution and linear attention.
#include <algorithm>
#include <cmath>

#include "case.hpp"

namespace check::ops {
namespace {

struct Run {
  uint32_t rows;
  bool begun;  // the sequence has a slot already
};
const std::vector<Run> kRuns[] = {{{1, false}}, {{1, true}, {7, true}, {2, false}}, {{33, false}, {1, true}}};

brim_state_desc slot_of(uint32_t kind, uint64_t elements) {
  brim_state_desc desc{};
  desc.struct_size = sizeof(desc);
  desc.kind = kind;
  desc.elements = elements;
  return desc;
}

uint32_t rows_of(const std::vector<Run>& runs) {
  uint32_t rows = 0;
  for (const Run& run : runs) rows += run.rows;
  return rows;
}

Case conv(Maker& make, const std::vector<Run>& runs, uint32_t channels, uint32_t taps, uint32_t activation, bool bias) {
  const uint32_t rows = rows_of(runs);
  Case c;
  c.name = std::to_string(channels) + " channels, " + std::to_string(taps) + " taps, " + std::to_string(runs.size()) +
           " sequences" + (activation ? ", silu" : "");
  c.op = BRIM_OP_CAUSAL_CONV1D;
  c.must = bias ? BRIM_CONV1D_BIAS : 0;
  brim_conv1d_attr a{};
  a.activation = activation;
  c.attr = attr_bytes(a);
  c.in = {make.rows({rows, channels}), Tensor{}, weight(make.floats({channels, taps}))};
  if (bias) c.in.push_back(weight(make.floats({channels})));
  c.out = {row_result({rows, channels})};
  c.scale.resize(c.out[0].exact.size());
  StateOfCase& state = c.state.emplace_back();
  state.input = 1;
  state.written = true;
  state.desc = slot_of(BRIM_STATE_CONV, uint64_t{taps - 1} * channels);
  uint32_t first = 0;
  for (const Run& run : runs) {
    Sequence& s = state.sequences.emplace_back();
    s.rows = s.length = run.rows;
    std::vector<double> past(uint64_t{taps - 1} * channels);
    if (run.begun) past = s.before = make.floats({taps - 1, channels}).exact;
    for (uint32_t t = 0; t < run.rows; ++t) {
      const double* x = &c.in[0].exact[uint64_t{first + t} * channels];
      for (uint32_t i = 0; i < channels; ++i) {
        double y = bias ? c.in[3].exact[i] : 0, size = std::fabs(y);
        for (uint32_t j = 0; j < taps; ++j) {
          const double term = c.in[2].exact[i * taps + j] * (j + 1 == taps ? x[i] : past[uint64_t{j} * channels + i]);
          y += term;
          size += std::fabs(term);
        }
        const uint64_t at = uint64_t{first + t} * channels + i;
        c.out[0].exact[at] = activation ? unary_of(activation, y) : y;
        c.scale[at] = size * 1.2;  // silu's slope
      }
      if (taps == 1) continue;
      std::copy(past.begin() + channels, past.end(), past.begin());
      std::copy(x, x + channels, past.end() - channels);
    }
    s.after = std::move(past);
    first += run.rows;
  }
  c.limit = sum_limit(taps) + 16 * kUlp;
  return c;
}

Case linear(Maker& make, const std::vector<Run>& runs, uint64_t must, uint32_t h_k, uint32_t h_v, uint32_t d_k,
            uint32_t d_v) {
  const uint32_t rows = rows_of(runs);
  Case c;
  c.name = std::to_string(h_v) + " heads on " + std::to_string(h_k) + ", " + std::to_string(d_k) + " x " +
           std::to_string(d_v) + ", " + std::to_string(runs.size()) + " sequences";
  c.op = BRIM_OP_LINEAR_ATTENTION;
  c.must = must;
  brim_linear_attention_attr a{};
  a.scale = 0.25f;
  c.attr = attr_bytes(a);
  // Keys of length below 1 and decays below 1: the recurrence forgets, as those of models do.
  const double key = 0.7 / std::sqrt(static_cast<double>(d_k));
  c.in = {make.rows({rows, h_k, d_k}),
          make.rows({rows, h_k, d_k}, key),
          make.rows({rows, h_v, d_v}),
          Tensor{},
          Tensor{},
          Tensor{}};
  if (must & BRIM_LINEAR_DECAY) c.in[3] = make.rows({rows, h_v}, 0.02, -0.2);
  if (must & BRIM_LINEAR_DELTA) c.in[4] = make.rows({rows, h_v}, 0.1, 0.5);
  c.out = {row_result({rows, h_v, d_v})};
  c.scale.resize(c.out[0].exact.size());
  StateOfCase& state = c.state.emplace_back();
  state.input = 5;
  state.written = true;
  const uint64_t matrix = uint64_t{d_k} * d_v;
  state.desc = slot_of(BRIM_STATE_RECURRENT, h_v * matrix);
  uint32_t first = 0, longest = 0;
  for (const Run& run : runs) {
    longest = std::max(longest, run.rows);
    Sequence& s = state.sequences.emplace_back();
    s.rows = s.length = run.rows;
    std::vector<double> all(h_v * matrix);
    if (run.begun) all = s.before = make.floats({h_v, d_k, d_v}, 0.3).exact;
    double largest = 0;
    for (uint32_t t = first; t < first + run.rows; ++t) {
      for (uint32_t h = 0; h < h_v; ++h) {
        const uint32_t of = must & BRIM_LINEAR_HEADS_MODULO ? h % h_k : h / (h_v / h_k);
        double* m = &all[h * matrix];
        const double *q = &c.in[0].exact[(uint64_t{t} * h_k + of) * d_k],
                     *k = &c.in[1].exact[(uint64_t{t} * h_k + of) * d_k],
                     *v = &c.in[2].exact[(uint64_t{t} * h_v + h) * d_v];
        if (must & BRIM_LINEAR_DECAY) {
          for (uint64_t i = 0; i < matrix; ++i) m[i] *= std::exp(c.in[3].exact[uint64_t{t} * h_v + h]);
        }
        for (uint32_t j = 0; j < d_v; ++j) {
          double e = v[j];
          if (must & BRIM_LINEAR_DELTA) {
            for (uint32_t i = 0; i < d_k; ++i) e -= m[uint64_t{i} * d_v + j] * k[i];
            e *= c.in[4].exact[uint64_t{t} * h_v + h];
          }
          for (uint32_t i = 0; i < d_k; ++i) m[uint64_t{i} * d_v + j] += k[i] * e;
          const uint64_t at = (uint64_t{t} * h_v + h) * d_v + j;
          for (uint32_t i = 0; i < d_k; ++i) {
            const double term = static_cast<double>(a.scale) * m[uint64_t{i} * d_v + j] * q[i];
            c.out[0].exact[at] += term;
            c.scale[at] += std::fabs(term);
          }
        }
      }
    }
    for (const double v : all) largest = std::max(largest, std::fabs(v));
    state.scale.emplace_back(all.size(), largest);
    s.after = std::move(all);
    first += run.rows;
  }
  // Each row's error is a few sums' and is carried on.
  c.limit = (sum_limit(d_k) * 4 + 16 * kUlp) * (1 + longest);
  state.limit = c.limit;
  state.fast_limit = std::max(c.limit, 1e-3);
  return c;
}

}  // namespace

void add_recurrent(Maker& make, Cases& cases) {
  for (const auto& runs : kRuns) {
    for (const auto& [channels, taps] : {std::pair{1u, 2u}, {37u, 4u}, {64u, 3u}}) {
      for (const uint32_t form : {0u, 1u, 2u, 3u}) {
        cases.push_back(conv(make, runs, channels, taps, form & 1 ? BRIM_UNARY_SILU : 0, (form & 2) != 0));
      }
    }
    for (uint64_t must = 0; must < 8; ++must) {
      cases.push_back(linear(make, runs, must, 2, 4, 16, 24));
      cases.push_back(linear(make, runs, must, 1, 1, 5, 3));
    }
  }
}

}  // namespace check::ops
