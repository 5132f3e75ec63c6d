// How far rows of numbers are from reference rows: in the units that reference cases give their limits in.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace check {

struct Distance {
  bool finite = true;
  double max_abs = 0;  // largest difference of two values
  double rel_rms = 0;  // |difference| / |reference|, Euclidean over all values
  double kl_max = 0;   // largest KL(reference || ours) of a row in nats; of logits only
  double argmax = 1;   // share of rows whose largest value is at the same place; of logits only
  std::string text(bool logits) const;
};

// Both [rows, width].
Distance distance(std::span<const float> ours, std::span<const float> reference, size_t width, bool logits);

}  // namespace check
