// How long a step takes, from what it reads and computes: a pure function of numbers. Decoding a token reads every
// weight it uses and the KV it sees at the device's bandwidth, and pays for each layer; prefill computes, and reads the
// weights once a batch. Intervals hold nine of ten published measurements that the constants were not made from.
#pragma once

#include <cstdint>
#include <negotiator/constants.hpp>

namespace brim::negotiator {

// Of one token on one device; parts on several devices are added up in time.
struct Work {
  double bytes = 0;         // of weights, each times format_factor: of a mixture's experts the chosen ones
  double all_bytes = 0;     // the same with all experts: what a large batch reads
  double kv_per_token = 0;  // bytes that each token of context adds to what is read
  double kv_fixed = 0;      // bytes of full windows
  double layers = 0;        // mixtures times kMixtureLayer
  double flops = 0;         // of matrices, of each token of a prompt
  bool mixture = false;

  Work& operator+=(const Work& other);
};

// One token, `depth` tokens of context being there.
double decode_seconds(const Constants& c, const Work& work, double depth);
// So many tokens of one prompt, in batches.
double prefill_seconds(const Constants& c, const Work& work, double tokens, double batch);

struct Interval {
  double low = 0, high = 0;  // tokens/s
};
// Nine of ten measurements lie in it.
Interval decode_interval(double tokens_per_second, Provenance provenance, bool mixture);

}  // namespace brim::negotiator
