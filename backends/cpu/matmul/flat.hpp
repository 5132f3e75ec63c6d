// Kernels of the flat formats (32 elements, one scale): Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, MXFP4.
#pragma once

#include "matmul/matmul.hpp"

namespace brim_cpu {

// The FAST entry of a flat dtype, or null.
const MatmulKernel* find_flat_matmul(uint32_t dtype);

}  // namespace brim_cpu
