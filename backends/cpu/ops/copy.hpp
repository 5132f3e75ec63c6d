// COPY: any strides and dtype in, contiguous rows of the output's dtype out.
//
// Block formats decode to F32; F32, F16 and BF16 convert into each other, F32 also into Q8_0, I32 to itself and to and
// from F32 (towards zero). What is converted goes through F32.
#pragma once

#include "ops/tensor.hpp"

namespace brim_cpu {

struct CopyArgs {
  Tensor x, out;
  Work plan(const Frame& frame) const;
  void work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const;
};

bool knows_copy(uint32_t from, uint32_t to);

}  // namespace brim_cpu
