// Runs a reference case on what is under test.
#pragma once

#include <vector>

#include "check.hpp"
#include "golden_case.hpp"

namespace check {

// [rows, width] in the case's order. Unsupported says what brim.h or the plugins lack for it.
std::vector<float> run_case(const GoldenCase& golden, const Bench& bench, const Subject& subject);

}  // namespace check
