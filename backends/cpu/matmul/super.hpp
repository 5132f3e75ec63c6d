// Kernels of the super-block formats (256 elements): Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS.
#pragma once

#include "matmul/matmul.hpp"

namespace brim_cpu {

// The FAST entry of a super-block dtype, or null.
const MatmulKernel* find_super_matmul(uint32_t dtype);

}  // namespace brim_cpu
