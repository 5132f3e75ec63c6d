// COPY and the two halves of CONCAT (copy_FROM_TO), and GATHER_ROWS (gather_FORMAT): one thread moves eight
// neighbouring elements of a row.
#include "weights.cuh"

namespace brim_gpu {

__host__ __device__ constexpr uint element_bytes(uint dtype) { return dtype == kF32 || dtype == kI32 ? 4 : 2; }

// Towards zero, saturated; NaN gives 0, as the conversion has it.
__device__ int whole_of(float v) { return __float2int_rz(v); }

template <uint kTo>
__device__ void store(uint64_t at, float v) {
  if constexpr (kTo == kF32) {
    *pointer<float>(at) = v;
  } else if constexpr (kTo == kI32) {
    *pointer<int>(at) = whole_of(v);
  } else {
    *pointer<uint16_t>(at) = static_cast<uint16_t>(kTo == kF16 ? float_to_half(v) : float_to_bfloat(v));
  }
}

template <uint kFrom, uint kTo>
__device__ void copy(const CopyArguments& a, Step step) {
  const uint d1 = step.size(a.dim[1]), d2 = step.size(a.dim[2]), d3 = step.size(a.dim[3]), groups = (d3 + 7) / 8;
  const uint total = step.size(a.dim[0]) * d1 * d2 * groups;
  const uint64_t from = step.address_of(a.x);
  for (uint i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const uint g = i % groups, rest = i / groups, i2 = rest % d2, i1 = rest / d2 % d1, i0 = rest / d2 / d1;
    const uint64_t in_at = i0 * a.x_stride[0] + i1 * a.x_stride[1] + i2 * a.x_stride[2];
    const uint64_t out_at = i0 * a.result_stride[0] + i1 * a.result_stride[1] + i2 * a.result_stride[2];
    if constexpr (kFrom >= kQ4_0) {
      float v[8];
      load_weights<kFrom>(from + in_at / block_weights(kFrom) * block_bytes(kFrom), g, d3, v);
#pragma unroll
      for (uint j = 0; j < 8; ++j) {
        if (8 * g + j < d3)
          store<kTo>(a.result + (out_at + (8 * g + j) * a.result_stride[3]) * element_bytes(kTo), v[j]);
      }
    } else {
      for (uint j = 0; j < 8 && 8 * g + j < d3; ++j) {
        const uint64_t to = a.result + (out_at + (8 * g + j) * a.result_stride[3]) * element_bytes(kTo);
        const uint64_t at = from + (in_at + (8 * g + j) * a.x_stride[3]) * element_bytes(kFrom);
        const uint bits = element_bytes(kFrom) == 4 ? *pointer<const uint>(at) : load16(at);
        if constexpr (kFrom != kTo) {
          store<kTo>(to, kFrom == kF32   ? __uint_as_float(bits)
                         : kFrom == kI32 ? static_cast<float>(static_cast<int>(bits))
                         : kFrom == kF16 ? half_to_float(bits)
                                         : bfloat_to_float(bits));
        } else if constexpr (element_bytes(kTo) == 4) {  // as they are
          *pointer<uint>(to) = bits;
        } else {
          *pointer<uint16_t>(to) = static_cast<uint16_t>(bits);
        }
      }
    }
  }
}

template <uint kFormat>
__device__ void gather(const GatherArguments& a, Step step) {
  const uint groups = (a.width + 7) / 8, total = step.size(a.rows) * groups;
  const int* index = pointer<const int>(step.address_of(a.index));
  for (uint i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const uint row = i / groups, g = i % groups;
    const int from = index[row * a.index_stride];
    float v[8] = {};
    if (from < 0 || static_cast<uint>(from) >= step.size(a.table_rows)) {
      if (a.first_row != 0) continue;  // the first piece's launch sees to what lies outside
    } else {
      if (static_cast<uint>(from) - a.first_row >= a.n_rows) continue;
      load_weights<kFormat>(a.table + uint64_t{static_cast<uint>(from) - a.first_row} * a.row_bytes, g, a.width, v);
    }
#pragma unroll
    for (uint j = 0; j < 8; ++j) {
      if (8 * g + j < a.width) pointer<float>(a.result)[uint64_t{row} * a.width + 8 * g + j] = v[j];
    }
  }
}

}  // namespace brim_gpu

#define BRIM_COPY(from, to) BRIM_KERNEL(copy_##from##_##to, 64, CopyArguments, copy<from, to>)
#define BRIM_COPY_BLOCKS(format) BRIM_COPY(format, 1)
#define BRIM_GATHER(format) BRIM_KERNEL(gather_##format, 64, GatherArguments, gather<format>)
BRIM_COPY(1, 1)
BRIM_COPY(1, 2)
BRIM_COPY(1, 3)
BRIM_COPY(1, 7)
BRIM_COPY(2, 1)
BRIM_COPY(2, 2)
BRIM_COPY(2, 3)
BRIM_COPY(3, 1)
BRIM_COPY(3, 2)
BRIM_COPY(3, 3)
BRIM_COPY(7, 1)
BRIM_COPY(7, 7)
BRIM_EACH_BLOCK_FORMAT(BRIM_COPY_BLOCKS)
BRIM_EACH_FORMAT(BRIM_GATHER)
