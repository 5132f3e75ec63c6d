// Whole rows between a stored format and F32.
//
// decode_row is exact up to one F32 rounding per element and covers every stored weight format; encode_row covers the
// formats that the KV cache is written in. Neither allocates or fails: callers ask can_decode/can_encode once, when a
// program is compiled.
#pragma once

#include <cstdint>

namespace brim_cpu {

// [any] Can rows of this BRIM_DTYPE_* be decoded (encoded)?
bool can_decode(uint32_t dtype);
bool can_encode(uint32_t dtype);

// [any, non-blocking] Decodes elements [0, n) of the row at `src` (any alignment). n is a multiple of the format's
// block. A dtype that can_decode refuses leaves dst as it is.
void decode_row(uint32_t dtype, const void* src, float* dst, int64_t n);

// [any, non-blocking] Encodes n values: F32, F16 and BF16 round to nearest even; Q8_0 stores d = max|x| / 127 as F16
// and the values divided by the unrounded d, rounded to nearest even. n is a multiple of the format's block. A block of
// Q8_0 that holds a NaN or an Inf decodes to NaN. A dtype that can_encode refuses leaves dst as it is.
void encode_row(uint32_t dtype, const float* src, void* dst, int64_t n);

}  // namespace brim_cpu
