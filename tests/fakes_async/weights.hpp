// Rows of weights as F32, and the backend's own layout of Q8_0: a row's quants first, its scales (F16) behind them.
#pragma once

#include "async.hpp"

namespace brim_async {

float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);  // round to nearest even

bool decodes(uint32_t dtype);
// Row `row` of n values that starts at `data`.
void decode_row(uint32_t dtype, uint64_t layout, const std::byte* data, uint64_t n, float* out);
// One row of n values from the file's layout to the packed one.
void pack_row(const std::byte* from, uint64_t n, std::byte* to);

}  // namespace brim_async
