// Weight matrix times activations: the table of kernels, one entry per (weight dtype, numerics).
//
// A product runs in two steps. Every activation row is prepared once (copied or quantised) into a layout that several
// weight dtypes share, so that q, k and v read one prepared copy; then any thread multiplies any range of weight rows.
// The value for (weight row, token) is the same bits whatever the token count, the row range, the thread and the row's
// place in the batch: sums of small integers are exact, and the floating-point additions along K have one fixed order.
// Kernels neither allocate nor fail, and use less than 40 KiB of stack.
#pragma once

#include <cstddef>
#include <cstdint>

namespace brim_cpu {

// Layouts of a prepared activation row. Two kernels with the same layout may share prepared rows.
enum class Activation : uint32_t {
  kF32,     // F32, zero-padded to a multiple of 16
  kFlat8,   // 8-bit, one F32 scale per 32 elements
  kSuper8,  // 8-bit, one F32 scale per 256 elements, sums of groups of 16
  kBfloat   // BF16, in rows of whole blocks
};

// [any, non-blocking] out[t * out_stride + r] = dot(weight row r, activation t), r in [row_begin, row_end), t in
// [0, tokens). Weight row r starts at weights + r * weight_row_bytes (any alignment); activation t at prepared +
// t * prepared_stride (a multiple of 64). k is a multiple of the dtype's block. Reads no weight outside the range and
// writes no other element of out; a range is best a multiple of 16 rows, and long (rows8.hpp).
using Multiply = void (*)(const void* weights, size_t weight_row_bytes, int64_t row_begin, int64_t row_end,
                          const void* prepared, size_t prepared_stride, int64_t tokens, float* out, int64_t out_stride,
                          int64_t k);

// Tokens that a kernel takes over what it unpacked of the weights; more are as many blocks.
inline constexpr int64_t kTokenBlock = 132;

struct MatmulKernel {
  uint32_t dtype;
  Activation activation;
  // [any, non-blocking] Bytes of one prepared row of k elements, a multiple of 64.
  size_t (*activation_bytes)(int64_t k);
  // [any, non-blocking] Prepares one row x[k]. `prepared` is 16-byte aligned and holds activation_bytes(k). In the
  // 8-bit layouts a block that holds a NaN or an Inf makes every product of the row NaN.
  void (*prepare)(const float* x, void* prepared, int64_t k);
  Multiply multiply;
  // The same bits from packed weights (packed.hpp), the range being whole groups; null where the dtype is not packed.
  Multiply multiply_packed;
  // The plain scalar definition of `multiply`: the integer kernels give exactly its bits, the F32 kernels the same up
  // to the order of additions. For tests.
  Multiply reference;
};

// [any] The kernel of a weight dtype with rows of k elements under BRIM_NUMERICS_FAST or BRIM_NUMERICS_STRICT; null
// where rows of the dtype cannot be decoded.
const MatmulKernel* find_matmul(uint32_t dtype, uint32_t numerics, int64_t k);

}  // namespace brim_cpu
