#include "compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace check {

namespace {

double log_sum_exp(std::span<const float> row) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float value : row) sum += std::exp(value - top);
  return top + std::log(sum);
}

double divergence(std::span<const float> reference, std::span<const float> ours) {
  const double p_sum = log_sum_exp(reference), q_sum = log_sum_exp(ours);
  double out = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double log_p = reference[i] - p_sum;
    out += std::exp(log_p) * (log_p - (ours[i] - q_sum));
  }
  return out;
}

size_t largest(std::span<const float> row) {
  return static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

}  // namespace

std::string Distance::text(bool logits) const {
  if (!finite) return "not finite";
  std::string out = fmt::format("max abs {:.3g}  rel rms {:.3g}", max_abs, rel_rms);
  if (logits) out += fmt::format("  KL {:.3g}  argmax {:.1f} %", kl_max, 100 * argmax);
  return out;
}

Distance distance(std::span<const float> ours, std::span<const float> reference, size_t width, bool logits) {
  Distance out;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    if (!std::isfinite(ours[i])) out.finite = false;
    const double d = static_cast<double>(ours[i]) - static_cast<double>(reference[i]);
    out.max_abs = std::max(out.max_abs, std::abs(d));
    difference += d * d;
    norm += static_cast<double>(reference[i]) * static_cast<double>(reference[i]);
  }
  out.rel_rms = norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
  if (!logits || !out.finite || ours.empty()) return out;
  size_t agree = 0;
  const size_t rows = ours.size() / width;
  for (size_t r = 0; r < rows; ++r) {
    const auto a = ours.subspan(r * width, width), b = reference.subspan(r * width, width);
    out.kl_max = std::max(out.kl_max, divergence(b, a));
    agree += largest(a) == largest(b) ? 1 : 0;
  }
  out.argmax = static_cast<double>(agree) / static_cast<double>(rows);
  return out;
}

}  // namespace check
