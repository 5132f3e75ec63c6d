// A second decoder of every weight type, in float64, straight from the description of the file format: it walks through
// a block as the format lists its fields and shares no code, no table and no formula with the runtime's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace check {

// All elements of `bytes`, which is a whole number of blocks of the type.
std::vector<double> decode_by_format(uint32_t dtype, std::span<const std::byte> bytes);

}  // namespace check
