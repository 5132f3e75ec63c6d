#include <brim/types.h>

#include <algorithm>
#include <negotiator/constants.hpp>

namespace brim::negotiator {
namespace {

// How far the numbers of one device lie from their prior, and observations from the model: standard deviations,
// relative.
constexpr double kBandwidthSpread = 0.1, kLayerSpread = 1.0, kNoise = 0.04;

struct Prior {
  double share;           // of the nominal bandwidth that decoding reaches
  double layer;           // seconds
  double flops_per_byte;  // of prefill, to the nominal bandwidth
};

Prior prior_of(SpeedKind kind) {
  switch (kind) {
    case SpeedKind::kCpu:
      return {0.45, 20e-6, 12};
    case SpeedKind::kCuda:
      return {0.85, 29e-6, 90};
    case SpeedKind::kMetal:
      return {0.87, 118e-6, 24};
    default:
      return {0.80, 50e-6, 40};
  }
}

}  // namespace

const char* provenance_name(Provenance p) {
  static constexpr const char* kNames[] = {"prior", "probe", "learned"};
  return kNames[static_cast<int>(p)];
}

Constants prior_constants(SpeedKind kind, double nominal_bandwidth) {
  const Prior p = prior_of(kind);
  return {p.share * nominal_bandwidth, p.layer, p.flops_per_byte * nominal_bandwidth, Provenance::kPrior};
}

Constants probed_constants(SpeedKind kind, double measured_bandwidth) {
  const Prior p = prior_of(kind);
  // A plain read reaches some 0.9 of what is nominal. Decoding gets up to it on GPUs (GB10: 225 of 231 GB/s, Strix Halo
  // 218 of 212), and not on processors: one core of a Zen 3 reads 22 GB/s and decodes Q8_0 with 0.78 of it, Q4_K (after
  // its factor) with 0.67.
  const double reached = kind == SpeedKind::kCpu ? 0.72 : 1;
  return {reached * measured_bandwidth, p.layer, p.flops_per_byte * measured_bandwidth / 0.9, Provenance::kProbe};
}

Constants calibrated(const Constants& prior, std::span<const Observation> observations) {
  if (prior.bandwidth <= 0 || observations.empty()) return prior;
  // seconds = x * bytes + y * layers for x = 1 / bandwidth and y = layer; rows are divided by what was observed.
  const double x0 = 1 / prior.bandwidth, y0 = prior.layer;
  double xx = 1 / (kBandwidthSpread * x0) / (kBandwidthSpread * x0), yy = 1 / (kLayerSpread * y0) / (kLayerSpread * y0);
  double xy = 0, xt = xx * x0, yt = yy * y0;
  for (const Observation& o : observations) {
    const double x = o.bytes / o.seconds / kNoise, y = o.layers / o.seconds / kNoise;
    xx += x * x;
    xy += x * y;
    yy += y * y;
    xt += x / kNoise;
    yt += y / kNoise;
  }
  const double determinant = xx * yy - xy * xy;
  double x = (xt * yy - yt * xy) / determinant, y = (yt * xx - xt * xy) / determinant;
  if (y < 0) y = 0, x = xt / xx;
  if (!(x > 0)) return prior;
  return {1 / x, y, prior.compute, Provenance::kLearned};
}

double format_factor(uint32_t dtype) {
  switch (dtype) {
    case BRIM_DTYPE_Q2_K:
    case BRIM_DTYPE_Q3_K:
    case BRIM_DTYPE_Q4_K:
    case BRIM_DTYPE_Q5_K:
    case BRIM_DTYPE_Q6_K:
      return 1.14;
    default:
      return 1;
  }
}

}  // namespace brim::negotiator
