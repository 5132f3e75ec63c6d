// Weights packed for the integer kernels: see blocks8.hpp for where each byte goes. A packed matrix takes the bytes of
// the file's, and eight rows those of eight rows, so that a range of groups is packed, and found, by itself.
#pragma once

#include <cstddef>
#include <cstdint>

namespace brim_cpu {

inline constexpr int64_t kPackedRows = 8;  // of a group

// [any] The elements of a block of the dtype, of which a packed row has whole ones; 0 where it cannot be packed.
int64_t packed_block(uint32_t dtype);

// [any, non-blocking] Packs rows [first, first + n) of row_bytes bytes, whole blocks; row `first` is at src, dst is the
// whole packed matrix.
void pack_rows(uint32_t dtype, const uint8_t* src, size_t row_bytes, int64_t first, int64_t n, uint8_t* dst);

// [any, non-blocking] Elements [first, first + n), whole blocks, of row r of the packed matrix, in the file's form.
void unpack_row(uint32_t dtype, const uint8_t* packed, size_t row_bytes, int64_t r, int64_t first, int64_t n,
                uint8_t* dst);

// [any, non-blocking] The same as F32 values.
void decode_packed_row(uint32_t dtype, const uint8_t* packed, size_t row_bytes, int64_t r, int64_t first, int64_t n,
                       float* dst);

}  // namespace brim_cpu
