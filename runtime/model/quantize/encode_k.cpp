// The K-quants: each sub-block's scale (and minimum) is fitted by least squares, the fitted numbers are rounded to
// their few bits under the super-block's own scale, and the elements are then rounded again, to what will really be
// decoded.
#include <cmath>
#include <cstdint>
#include <model/quantize/encode.hpp>
#include <model/quantize/fit.hpp>
#include <model/quantize/half.hpp>
#include <model/quantize/k_scales.hpp>

namespace brim::model {
namespace {

// Errors count by the square of the weight they are made in.
template <int kCount>
void square_weights(const float* x, float (&weights)[kCount]) {
  for (int i = 0; i < kCount; ++i) weights[i] = x[i] * x[i];
}

// Types without minimums: sub-blocks of 16 with levels -half ... half - 1, scales -scale_half ... scale_half - 1.
// Returns the super-block's scale as stored.
template <int kHalf, int kScaleHalf>
uint16_t encode_symmetric(const float* x, int (&scales)[16], int8_t (&q)[256]) {
  constexpr float kLow = -kHalf, kHigh = kHalf - 1;
  float fitted[16];
  for (int s = 0; s < 16; ++s) {
    float weights[16];
    square_weights(x + 16 * s, weights);
    // The extreme element gets the level that only the negative side has.
    fitted[s] = fit_scale<16>(x + 16 * s, weights, kLow, 0.1f, 9, [](float v) { return level(v, kLow, kHigh); });
  }
  const float most = extreme(fitted, 16);
  const uint16_t d = float_to_half_saturating(most / -static_cast<float>(kScaleHalf));
  const float to_scale = -static_cast<float>(kScaleHalf) * inverse_or_zero(most);
  for (int s = 0; s < 16; ++s) {
    scales[s] = int_level(to_scale * fitted[s], -kScaleHalf, kScaleHalf - 1);
    const float inverse = inverse_or_zero(half_to_float(d) * static_cast<float>(scales[s]));
    for (int i = 16 * s; i < 16 * s + 16; ++i) q[i] = static_cast<int8_t>(level(inverse * x[i], kLow, kHigh));
  }
  return d;
}

// Types with minimums: kSubs sub-blocks with levels 0 ... kLevels, scales and minimums 0 ... kScaleMax.
template <int kSubs>
struct Affine {
  uint16_t d, dmin;
  ScaleMin scales[kSubs];
  uint8_t q[256];
};

template <int kSubs, int kLevels, int kScaleMax, class Weights>
Affine<kSubs> encode_affine(const float* x, float start, int tries, Weights&& weigh) {
  constexpr int kCount = 256 / kSubs;
  Affine<kSubs> out;
  AffineFit fits[kSubs];
  float most_scale = 0, most_min = 0;
  for (int s = 0; s < kSubs; ++s) {
    float weights[kCount];
    weigh(x + kCount * s, weights);
    fits[s] = fit_affine<kCount>(x + kCount * s, weights, kLevels, start, tries);
    most_scale = std::max(most_scale, fits[s].scale);
    most_min = std::max(most_min, fits[s].min);
  }
  out.d = float_to_half_saturating(most_scale / kScaleMax);
  out.dmin = float_to_half_saturating(most_min / kScaleMax);
  const float to_scale = kScaleMax * inverse_or_zero(most_scale), to_min = kScaleMax * inverse_or_zero(most_min);
  const float d = half_to_float(out.d), dmin = half_to_float(out.dmin);
  for (int s = 0; s < kSubs; ++s) {
    out.scales[s] = {int_level(to_scale * fits[s].scale, 0, kScaleMax), int_level(to_min * fits[s].min, 0, kScaleMax)};
    const float inverse = inverse_or_zero(d * static_cast<float>(out.scales[s].scale));
    const float min = dmin * static_cast<float>(out.scales[s].min);
    for (int i = kCount * s; i < kCount * (s + 1); ++i) {
      out.q[i] = static_cast<uint8_t>(level(inverse * (x[i] + min), 0, kLevels));
    }
  }
  return out;
}

// Q4_K and Q5_K: an element counts by its magnitude on top of the sub-block's typical one.
void weigh_32(const float* x, float (&weights)[32]) {
  float sum = 0;
  for (int i = 0; i < 32; ++i) sum += x[i] * x[i];
  const float typical = std::sqrt(sum / 32);
  for (int i = 0; i < 32; ++i) weights[i] = typical + std::fabs(x[i]);
}

// Elements 128 h + 32 p + l go to bits 2 p of qs[32 h + l].
void pack_two_bits(const uint8_t (&q)[256], uint8_t (&qs)[64]) {
  for (int k = 0; k < 64; ++k) {
    const int first = k / 32 * 128 + k % 32;
    qs[k] = static_cast<uint8_t>(q[first] | q[first + 32] << 2 | q[first + 64] << 4 | q[first + 96] << 6);
  }
}

}  // namespace

void encode_block(const float* x, BlockQ2K& out) {
  const auto block = encode_affine<16, 3, 15>(x, -0.5f, 15, [](const float* v, float(&weights)[16]) {
    for (int i = 0; i < 16; ++i) weights[i] = std::fabs(v[i]);
  });
  out.d = block.d;
  out.dmin = block.dmin;
  for (int s = 0; s < 16; ++s) {
    out.scales[s] = static_cast<uint8_t>(block.scales[s].scale | block.scales[s].min << 4);
  }
  pack_two_bits(block.q, out.qs);
}

void encode_block(const float* x, BlockQ3K& out) {
  int scales[16];
  int8_t q[256];
  out.d = encode_symmetric<4, 32>(x, scales, q);
  pack_q3k_scales(scales, out.scales);
  uint8_t low[256];
  for (uint8_t& byte : out.hmask) byte = 0;
  for (int i = 0; i < 256; ++i) {
    const int stored = q[i] + 4;
    low[i] = static_cast<uint8_t>(stored & 3);
    out.hmask[i % 32] = static_cast<uint8_t>(out.hmask[i % 32] | (stored >> 2) << (i / 32));
  }
  pack_two_bits(low, out.qs);
}

void encode_block(const float* x, BlockQ4K& out) {
  const auto block = encode_affine<8, 15, 63>(x, -1.0f, 20, weigh_32);
  out.d = block.d;
  out.dmin = block.dmin;
  pack_q4k_scales(block.scales, out.scales);
  for (int k = 0; k < 128; ++k) {
    const int first = k / 32 * 64 + k % 32;
    out.qs[k] = static_cast<uint8_t>(block.q[first] | block.q[first + 32] << 4);
  }
}

void encode_block(const float* x, BlockQ5K& out) {
  const auto block = encode_affine<8, 31, 63>(x, -0.5f, 15, weigh_32);
  out.d = block.d;
  out.dmin = block.dmin;
  pack_q4k_scales(block.scales, out.scales);
  for (int k = 0; k < 128; ++k) {
    const int first = k / 32 * 64 + k % 32;
    out.qs[k] = static_cast<uint8_t>((block.q[first] & 0xF) | (block.q[first + 32] & 0xF) << 4);
  }
  for (int l = 0; l < 32; ++l) {
    out.qh[l] = 0;
    for (int s = 0; s < 8; ++s) out.qh[l] = static_cast<uint8_t>(out.qh[l] | (block.q[32 * s + l] >> 4) << s);
  }
}

void encode_block(const float* x, BlockQ6K& out) {
  int scales[16];
  int8_t q[256];
  out.d = encode_symmetric<32, 128>(x, scales, q);
  for (int s = 0; s < 16; ++s) out.scales[s] = static_cast<int8_t>(scales[s]);
  const auto stored = [&](int i) { return q[i] + 32; };
  for (int k = 0; k < 128; ++k) {
    const int first = k / 64 * 128 + k % 64;
    out.ql[k] = static_cast<uint8_t>((stored(first) & 0xF) | (stored(first + 64) & 0xF) << 4);
  }
  for (int k = 0; k < 64; ++k) {
    const int first = k / 32 * 128 + k % 32;
    out.qh[k] = static_cast<uint8_t>(stored(first) >> 4 | (stored(first + 32) >> 4) << 2 |
                                     (stored(first + 64) >> 4) << 4 | (stored(first + 96) >> 4) << 6);
  }
}

}  // namespace brim::model
