// What is known of a device's speed, in three numbers, and where they come from: how fast decoding reads weights, what
// a layer costs beyond its bytes, how much arithmetic prefill reaches. Priors are shares of the nominal bandwidth by
// the kind of device, fitted to published measurements (tests/negotiator/measured.csv); a probe replaces the share by
// what was read here; calibrating moves them towards observations of this device and build, as far as those outweigh
// the prior.
#pragma once

#include <cstdint>
#include <span>

namespace brim::negotiator {

enum class Provenance { kPrior, kProbe, kLearned };
const char* provenance_name(Provenance p);

enum class SpeedKind { kCpu, kCuda, kVulkan, kMetal };

struct Constants {
  double bandwidth = 0;  // bytes/s of weights in decoding; 0: unknown, and so is everything predicted
  double layer = 0;      // seconds a layer takes beyond its bytes
  double compute = 0;    // FLOP/s of dense prefill
  Provenance provenance = Provenance::kPrior;
};

// Of a device of that kind with this nominal bandwidth in bytes/s.
Constants prior_constants(SpeedKind kind, double nominal_bandwidth);
// The same where reading was timed: bytes/s as measured.
Constants probed_constants(SpeedKind kind, double measured_bandwidth);

// Decoding one token of some model: weight bytes read, each times format_factor; layers, mixtures times kMixtureLayer.
struct Observation {
  double bytes = 0, layers = 0, seconds = 0;
};
// Least squares of relative errors, the prior counting as an observation of each number. Never below zero.
Constants calibrated(const Constants& prior, std::span<const Observation> observations);

// K-quants are read slower than their bytes say: scales of scales are unpacked.
double format_factor(uint32_t dtype);
// A mixture routes, gathers and combines: its layer costs as much as so many dense ones.
inline constexpr double kMixtureLayer = 1.6;
// KV comes in blocks, by more than one kernel: so much slower than weights.
inline constexpr double kKvFactor = 1.1;
// Share of dense prefill's arithmetic that mixtures reach: between a third and three quarters by device.
inline constexpr double kMixtureCompute = 0.55;

}  // namespace brim::negotiator
