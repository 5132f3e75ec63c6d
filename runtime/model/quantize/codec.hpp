// Between F32 and every data type that weights are stored in: plain loops over blocks, deterministic, the same result
// on every platform. Used to quantise files and, where no backend is at hand, to look at weights. Backends have their
// own, faster decoders; these are what "exact dequantisation" means.
#pragma once

#include <cstddef>
#include <cstdint>

namespace brim::model {

// F32, F16, BF16, F64 and all block types; not the integers.
bool is_weight_dtype(uint32_t dtype);

// `elements` is a multiple of the type's block; `in` and `out` need no alignment beyond their element's.
// Throws UNSUPPORTED for a type that is_weight_dtype() refuses, INVALID_ARGUMENT for a part of a block. [any]
void decode(uint32_t dtype, const std::byte* in, float* out, uint64_t elements);
// Values must be finite. The block types minimise the weighted squared error, see fit.hpp. [any]
void encode(uint32_t dtype, const float* in, std::byte* out, uint64_t elements);

}  // namespace brim::model
