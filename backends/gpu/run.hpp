// What one run of a program is told: the block that kernels read at its head.
#pragma once

#include "backend.hpp"

namespace brim_gpu {

// Where the run's step block lies, and its counts. Throws where the host cancelled it before, or where the step block
// does not fit a program that was made for `bucket` and step blocks of `step_bytes`.
Run head_of(const brim_run& run, const brim_bucket& bucket, uint64_t step_bytes);

}  // namespace brim_gpu
