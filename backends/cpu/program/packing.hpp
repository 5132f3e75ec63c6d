// Which weights are kept in the packed layout of matmul/packed.hpp.
#pragma once

#include "device/device.hpp"

namespace brim_cpu {

inline constexpr uint64_t kPackedLayout = 8;  // its layout_id: groups of eight rows

// Whether the weight is one of whole matrices of whole groups.
bool has_packed_form(const brim_value_desc& weight);

// Whether it is, and the products and look-ups that use the weight, of which there is a product, can all read it
// packed: not by views.
bool can_be_packed(const brim_graph& graph, brim_value weight);

// [queue] pack_rows (matmul/packed.hpp) by the team.
void pack_by_team(const brim_device& device, uint32_t dtype, const uint8_t* src, size_t row_bytes, int64_t first,
                  int64_t n, uint8_t* dst);

}  // namespace brim_cpu
