// BF16 weights times activations: rounded to BF16 where the processor multiplies pairs of it, in F32 elsewhere.
#pragma once

#include <brim/types.h>

#include "matmul/matmul.hpp"

namespace brim_cpu {

// A row in blocks, as the block formats have it, so that what packs those packs it.
struct BfloatLayout {
  static constexpr uint32_t kDtype = BRIM_DTYPE_BF16;
  static constexpr int64_t kElements = 32;
  static constexpr size_t kBytes = 64;
};

// The FAST entry of BF16 for rows of k elements, or null: k has to be a multiple of the block.
const MatmulKernel* find_bfloat_matmul(uint32_t dtype, int64_t k);

}  // namespace brim_cpu
