// Stored numbers as F32: the formats that weights and states may have here, each with the function that reads it. The
// bit layouts are those of GGUF files (brim/types.h); reading is exact, in every numerics.
//
// To add a format: one function, one line in formats.cpp's table. Every op that reads weights then takes it.
#pragma once

#include <brim/types.h>

#include <cstddef>

namespace plain {

// Reads n values, a whole number of blocks.
using DecodeFn = void (*)(const std::byte* from, float* to, uint64_t n);
// NULL for a format that this backend does not read.
DecodeFn decoder(uint32_t dtype);

float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);  // rounds to nearest even

// What states are stored as: F32 or F16.
void write_values(uint32_t dtype, const float* from, std::byte* to, uint64_t n);

}  // namespace plain
