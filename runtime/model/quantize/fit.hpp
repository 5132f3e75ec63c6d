// The least-squares searches of the encoders. Each tries a row of candidate step sizes around the one that covers the
// block's range; for each, elements are rounded to levels, and the scale (and minimum) that fits these levels best is
// solved for in closed form. The candidate with the least weighted squared error wins. Weights say how much an
// element's error counts: a model's large weights matter more than their number says.
//
// No input does harm: what is not finite ends in some level, never in an integer out of range.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace brim::model {

// The whole number in [low, high] nearest to `value`, ties to even; both bounds below 2^22. Adding 1.5 * 2^23 leaves no
// bits for a fraction. NaN gives low.
inline float level(float value, float low, float high) {
  constexpr float kShift = 12582912.0f;
  const float clamped = std::min(high, std::max(low, value));
  return (clamped + kShift) - kShift;
}
inline int int_level(float value, int low, int high) {
  return static_cast<int>(level(value, static_cast<float>(low), static_cast<float>(high)));
}

// The element of largest magnitude, with its sign.
inline float extreme(const float* x, int count) {
  float most = 0;
  for (int i = 0; i < count; ++i) {
    if (std::fabs(x[i]) > std::fabs(most)) most = x[i];
  }
  return most;
}

// 1 / value, or 0 where that is no finite number: a block of zeros stays one.
inline float inverse_or_zero(float value) {
  const float inverse = 1.0f / value;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

// Searches the scale for x ~ scale * value(q), where `quantize(v)` gives the value of the level nearest to v, and
// `reach` is the value that the extreme element gets in the middle candidate. Candidates lie `step` apart, `tries` on
// each side.
template <int kCount, class Quantize>
float fit_scale(const float* x, const float* weights, float reach, float step, int tries, Quantize&& quantize) {
  const float unit = inverse_or_zero(extreme(x, kCount));
  float best = 0, scale = 0;
  for (int t = -tries; t <= tries; ++t) {
    const float inverse = (reach + step * static_cast<float>(t)) * unit;
    float sum_vx = 0, sum_vv = 0;
    for (int i = 0; i < kCount; ++i) {
      const float v = quantize(inverse * x[i]);
      sum_vx += weights[i] * v * x[i];
      sum_vv += weights[i] * v * v;
    }
    // The error left over is sum w x^2 - sum_vx^2 / sum_vv.
    if (sum_vv > 0 && sum_vx * sum_vx > best * sum_vv) {
      scale = sum_vx / sum_vv;
      best = scale * sum_vx;
    }
  }
  return scale;
}

// x ~ scale * q - min with q in [0, levels] and min >= 0.
struct AffineFit {
  float scale = 0;
  float min = 0;
};

// Candidates have levels + start + 0.1 t steps over the range, t = 0 ... tries.
template <int kCount>
AffineFit fit_affine(const float* x, const float* weights, float levels, float start, int tries) {
  float low = 0, high = x[0], sum_w = 0, sum_wx = 0;
  for (int i = 0; i < kCount; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
    sum_w += weights[i];
    sum_wx += weights[i] * x[i];
  }
  const float unit = inverse_or_zero(high - low);
  if (unit == 0) return {0, -low};

  AffineFit best{(high - low) / levels, -low};
  float least = std::numeric_limits<float>::max();
  for (int t = -1; t <= tries; ++t) {
    // Candidate -1 is the plain one: as many steps as levels, neither scale nor minimum solved for.
    const float inverse = (t < 0 ? levels : levels + start + 0.1f * static_cast<float>(t)) * unit;
    float q[kCount];
    float sum_q = 0, sum_qq = 0, sum_qx = 0;
    for (int i = 0; i < kCount; ++i) {
      q[i] = level(inverse * (x[i] - low), 0, levels);
      sum_q += weights[i] * q[i];
      sum_qq += weights[i] * q[i] * q[i];
      sum_qx += weights[i] * q[i] * x[i];
    }
    AffineFit fit = best;
    if (t >= 0) {
      const float determinant = sum_w * sum_qq - sum_q * sum_q;
      if (!(determinant > 0)) continue;
      fit.scale = (sum_w * sum_qx - sum_wx * sum_q) / determinant;
      fit.min = (sum_q * sum_qx - sum_qq * sum_wx) / determinant;
      if (fit.min < 0) fit = {sum_qx / sum_qq, 0};  // the file stores it without a sign
    }
    float error = 0;
    for (int i = 0; i < kCount; ++i) {
      const float diff = fit.scale * q[i] - fit.min - x[i];
      error += weights[i] * diff * diff;
    }
    if (error < least) {
      least = error;
      best = fit;
    }
  }
  return best;
}

}  // namespace brim::model
