// Rotary positions: both pairings, part of a head, scaled frequencies.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "case.hpp"

namespace check::ops {
namespace {

Case rope(Maker& make, uint32_t pairing, uint64_t must, uint32_t n_rot, uint32_t width, uint32_t heads) {
  const std::vector<int32_t> position = {0, 1, 17, 200};
  const uint32_t rows = static_cast<uint32_t>(position.size());
  Case c;
  c.name = std::string(pairing == BRIM_ROPE_ADJACENT ? "adjacent, " : "halves, ") + std::to_string(n_rot) + " of " +
           std::to_string(width);
  c.op = BRIM_OP_ROPE;
  c.must = must;
  const bool yarn = (must & BRIM_ROPE_YARN) != 0, factors = (must & BRIM_ROPE_FACTORS) != 0;
  brim_rope_attr a{};
  a.pairing = pairing;
  a.n_rot = n_rot;
  a.n_ctx_orig = 64;
  a.base = 10000;
  a.freq_scale = yarn ? 0.25f : 0.5f;
  a.magnitude = 1.125f;
  a.ext_factor = 1;
  a.beta_fast = 32;
  a.beta_slow = 1;
  c.attr = attr_bytes(a);
  c.in = {make.rows({rows, heads, width}), by_row(ints({rows, 1}, position))};
  if (factors) c.in.push_back(weight(make.floats({n_rot / 2}, 0.2, 2)));
  c.out = {row_result({rows, heads, width})};
  c.out[0].exact = c.in[0].exact;
  const auto edge = [&](double beta) {
    return n_rot * std::log(64 / (beta * 2 * std::numbers::pi)) / (2 * std::log(10000.0));
  };
  const double low = std::clamp(std::floor(edge(32)), 0.0, n_rot - 1.0),
               high = std::clamp(std::ceil(edge(1)), 0.0, n_rot - 1.0);
  for (uint32_t t = 0; t < rows; ++t) {
    for (uint32_t i = 0; i < n_rot / 2; ++i) {
      const double f = std::pow(10000.0, -2.0 * i / n_rot) / (factors ? c.in[2].exact[i] : 1);
      double theta = position[t] * static_cast<double>(a.freq_scale) * f;
      if (yarn) {
        const double r = 1 - std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
        theta = theta * (1 - r) + position[t] * f * r;
      }
      const uint32_t p = pairing == BRIM_ROPE_ADJACENT ? 2 * i : i,
                     q = pairing == BRIM_ROPE_ADJACENT ? 2 * i + 1 : i + n_rot / 2;
      for (uint32_t h = 0; h < heads; ++h) {
        const uint64_t at = (uint64_t{t} * heads + h) * width;
        const double x = c.in[0].exact[at + p], y = c.in[0].exact[at + q];
        c.out[0].exact[at + p] = 1.125 * (x * std::cos(theta) - y * std::sin(theta));
        c.out[0].exact[at + q] = 1.125 * (x * std::sin(theta) + y * std::cos(theta));
      }
    }
  }
  c.scale.assign(c.out[0].exact.size(), 4);
  c.limit = 256 * kUlp;  // an angle of 200 in F32 is off by up to 2^-17
  return c;
}

}  // namespace

void add_rotation(Maker& make, Cases& cases) {
  for (const uint32_t pairing : {BRIM_ROPE_ADJACENT, BRIM_ROPE_HALVES}) {
    for (const uint64_t must : {0ull, BRIM_ROPE_FACTORS, BRIM_ROPE_YARN, BRIM_ROPE_FACTORS | BRIM_ROPE_YARN}) {
      cases.push_back(rope(make, pairing, must, 16, 24, 3));
      cases.push_back(rope(make, pairing, must, 64, 64, 1));
      cases.push_back(rope(make, pairing, must, 2, 5, 2));
    }
  }
}

}  // namespace check::ops
