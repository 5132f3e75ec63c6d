// Which kernel multiplies which dtype.
#include "matmul/matmul.hpp"

#include <brim/types.h>

#include "matmul/bfloat.hpp"
#include "matmul/flat.hpp"
#include "matmul/strict.hpp"
#include "matmul/super.hpp"

namespace brim_cpu {

const MatmulKernel* find_matmul(uint32_t dtype, uint32_t numerics, int64_t k) {
  if (numerics == BRIM_NUMERICS_FAST) {
    if (const MatmulKernel* kernel = find_flat_matmul(dtype)) return kernel;
    if (const MatmulKernel* kernel = find_super_matmul(dtype)) return kernel;
    if (const MatmulKernel* kernel = find_bfloat_matmul(dtype, k)) return kernel;
  }
  return find_strict_matmul(dtype);
}

}  // namespace brim_cpu
