// F32 kernels: STRICT numerics of every format, and FAST numerics of F32, F16 and BF16.
#pragma once

#include "matmul/matmul.hpp"

namespace brim_cpu {

// The F32 entry of a dtype that decode_row knows, or null.
const MatmulKernel* find_strict_matmul(uint32_t dtype);

}  // namespace brim_cpu
