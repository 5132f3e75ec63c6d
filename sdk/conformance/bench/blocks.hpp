// Random rows of every weight format that are valid files' content: quants of any bits, scales that are sane halves.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace check {

// Whether weights of this type can be made here.
bool has_blocks(uint32_t dtype);
// `elements` values of the type, values of about 0.1 in size; elements is a whole number of blocks.
std::vector<std::byte> random_blocks(uint32_t dtype, uint64_t elements, std::mt19937_64& random);

uint16_t to_half(float value);  // round to nearest even
std::vector<float> random_floats(uint64_t count, std::mt19937_64& random, float spread = 1, float around = 0);

}  // namespace check
