#include <algorithm>
#include <negotiator/predictor.hpp>

namespace brim::negotiator {

Work& Work::operator+=(const Work& other) {
  bytes += other.bytes;
  all_bytes += other.all_bytes;
  kv_per_token += other.kv_per_token;
  kv_fixed += other.kv_fixed;
  layers += other.layers;
  flops += other.flops;
  mixture |= other.mixture;
  return *this;
}

double decode_seconds(const Constants& c, const Work& work, double depth) {
  const double kv = depth > 0 ? kKvFactor * (work.kv_per_token * depth + work.kv_fixed) : 0;
  return (work.bytes + kv) / c.bandwidth + c.layer * work.layers;
}

double prefill_seconds(const Constants& c, const Work& work, double tokens, double batch) {
  const double compute = c.compute * (work.mixture ? kMixtureCompute : 1);
  const double steps = std::max(1.0, tokens / batch);
  // Each step reads the weights, and what of the prompt is there already: half of it on the average.
  const double read = (steps * work.all_bytes + kKvFactor * steps * work.kv_per_token * tokens / 2) / c.bandwidth;
  return std::max(tokens * work.flops / compute, read) + steps * c.layer * work.layers;
}

Interval decode_interval(double tokens_per_second, Provenance provenance, bool mixture) {
  static constexpr double kDense[] = {0.21, 0.15, 0.09}, kMixture[] = {0.25, 0.25, 0.09};
  const double spread = (mixture ? kMixture : kDense)[static_cast<int>(provenance)];
  return {tokens_per_second * (1 - spread), tokens_per_second * (1 + spread)};
}

}  // namespace brim::negotiator
