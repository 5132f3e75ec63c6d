// What a generation ends with: speeds, what was predicted of them, the share of memory bandwidth that decoding used, a
// picture of the memory.
#pragma once

#include <optional>
#include <string>

#include "host.hpp"

namespace cli {

class Summary {
 public:
  Summary(const Machine& machine, const LoadedModel& model) : machine_(machine), model_(model) {}
  // Several lines. Where the processors compute, the first call measures their memory's bandwidth (about 0.3 s).
  std::string text(const brim_generate_result& result);
  // One line for each pool that the plan takes from.
  std::string memory() const;

 private:
  const Machine& machine_;
  const LoadedModel& model_;
  std::optional<double> bandwidth_;  // bytes/s of the memory that the plan reads from; 0: none is known
};

// A line: the plan's predicted speed of decoding with its interval, and how far what was measured lies from it.
std::string against_prediction(const brim::Plan& plan, double measured);

// Why the generation ended, where that is worth a sentence; else empty.
std::string stop_sentence(const brim_generate_result& result, const brim_plan_info& plan);

}  // namespace cli
