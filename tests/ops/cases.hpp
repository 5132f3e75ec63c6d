// The table of the op suite: one op on given inputs, and what exact arithmetic makes of them. Expectations are computed
// here in float64 from the text of ops.h, from nothing of a backend's.
#pragma once

#include <brim/ops.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace op_suite {

struct Tensor {
  uint32_t dtype = BRIM_DTYPE_F32;
  std::vector<uint32_t> dims;
  std::vector<std::byte> bytes;
  std::vector<double> exact;  // every element, dequantised
  // Where not 0: the tensor is handed over as a view of rows this many elements apart; what lies between is NaN.
  uint32_t row_stride = 0;
};

struct Case {
  std::string name;
  uint32_t op = 0;
  uint64_t must = 0;
  std::vector<std::byte> attr;
  std::vector<Tensor> in;   // a tensor without dims stands for an absent input
  std::vector<Tensor> out;  // dtype, dims, and the exact values expected
  // |got - exact| <= limit * scale of the element, where scale is |exact| and for sums the sum of |terms|.
  std::vector<double> scale;  // of output 0; empty: |exact|
  double limit = 0;           // strict
  double fast_rms = 0;        // RMS-relative limit in fast numerics; 0: the strict limit holds there too
};

std::vector<Case> all_cases();

}  // namespace op_suite
