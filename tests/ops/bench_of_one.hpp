// Runs one case of the op suite on one device of any backend: a graph of one node, every value in a buffer of its own,
// the program measured, created, run and read back through the queue. Memory that is not written is NaN.
#pragma once

#include <loader/plugin.hpp>
#include <optional>

#include "cases.hpp"

namespace op_suite {

struct Outcome {
  std::string unsupported;                   // why the backend does not take the node; empty: it ran
  std::string error;                         // what went wrong; empty: nothing
  std::vector<std::vector<double>> outputs;  // per output
};

Outcome run_case(const brim::loader::Backend& backend, brim_device* device, uint32_t numerics, const Case& c);

}  // namespace op_suite
