// The types whose levels are a table: IQ4_NL and IQ4_XS (levels placed for bell-shaped weights) and MXFP4 (4-bit floats
// under a power-of-two scale).
#include <cmath>
#include <cstdint>
#include <limits>
#include <model/quantize/encode.hpp>
#include <model/quantize/fit.hpp>
#include <model/quantize/half.hpp>

namespace brim::model {
namespace {

// Index of the level nearest to v: as many as lie below it by more than half of the gap.
int iq4_index(float v) {
  int index = 0;
  for (int k = 0; k < 15; ++k) {
    index += v > 0.5f * (static_cast<float>(kIq4Values[k]) + static_cast<float>(kIq4Values[k + 1]));
  }
  return index;
}

float fit_iq4(const float* x) {
  float weights[32];
  for (int i = 0; i < 32; ++i) weights[i] = x[i] * x[i];
  // The extreme element gets about -127, the level furthest out.
  return fit_scale<32>(x, weights, static_cast<float>(kIq4Values[0]), 1.0f, 7,
                       [](float v) { return static_cast<float>(kIq4Values[iq4_index(v)]); });
}

void pack_iq4(const float* x, float scale, uint8_t* qs) {
  const float inverse = inverse_or_zero(scale);
  for (int j = 0; j < 16; ++j) {
    qs[j] = static_cast<uint8_t>(iq4_index(inverse * x[j]) | iq4_index(inverse * x[j + 16]) << 4);
  }
}

// Index of the E2M1 number nearest to v, both doubled as in kMxfp4Values. The sign is bit 3.
int mxfp4_index(float v) {
  const float magnitude = std::fabs(v);
  int index = 0;
  for (int k = 0; k < 7; ++k) {
    index += magnitude > 0.5f * (static_cast<float>(kMxfp4Values[k]) + static_cast<float>(kMxfp4Values[k + 1]));
  }
  return v < 0 && index ? index | 8 : index;
}

}  // namespace

void encode_block(const float* x, BlockIq4Nl& out) {
  out.d = float_to_half_saturating(fit_iq4(x));
  pack_iq4(x, half_to_float(out.d), out.qs);
}

void encode_block(const float* x, BlockIq4Xs& out) {
  float fitted[8];
  for (int s = 0; s < 8; ++s) fitted[s] = fit_iq4(x + 32 * s);
  const float most = extreme(fitted, 8);
  out.d = float_to_half_saturating(most / -32.0f);
  const float d = half_to_float(out.d), to_scale = -32.0f * inverse_or_zero(most);
  out.scales_h = 0;
  for (uint8_t& byte : out.scales_l) byte = 0;
  for (int s = 0; s < 8; ++s) {
    const int scale = int_level(to_scale * fitted[s], -32, 31);
    pack_iq4(x + 32 * s, d * static_cast<float>(scale), out.qs + 16 * s);
    out.scales_l[s / 2] = static_cast<uint8_t>(out.scales_l[s / 2] | ((scale + 32) & 0xF) << (s % 2 * 4));
    out.scales_h = static_cast<uint16_t>(out.scales_h | ((scale + 32) >> 4) << (s * 2));
  }
}

void encode_block(const float* x, BlockMxfp4& out) {
  // frexp says 2^(exponent - 1) <= |most| < 2^exponent; at 4 to 8 times the scale it meets the top levels 4 and 6. One
  // step further cuts off less and is coarser; the block's error decides.
  int exponent = 0;
  std::frexp(extreme(x, 32), &exponent);
  float least = std::numeric_limits<float>::infinity();
  int best = 0;
  for (int e : {exponent - 3, exponent - 2}) {
    e = std::clamp(e + 127, 0, 254);
    const float d = std::ldexp(1.0f, e - 128), inverse = inverse_or_zero(d);
    float error = 0;
    for (int i = 0; i < 32; ++i) {
      const float diff = d * static_cast<float>(kMxfp4Values[mxfp4_index(inverse * x[i])]) - x[i];
      error += diff * diff;
    }
    if (error < least) {
      least = error;
      best = e;
    }
  }
  out.e = static_cast<uint8_t>(best);
  const float inverse = inverse_or_zero(std::ldexp(1.0f, best - 128));
  for (int j = 0; j < 16; ++j) {
    out.qs[j] = static_cast<uint8_t>(mxfp4_index(inverse * x[j]) | mxfp4_index(inverse * x[j + 16]) << 4);
  }
}

}  // namespace brim::model
