// Conv and recurrent states: per sequence one slot of F32 values, as the ops define them, padded to a cache line.
#pragma once

#include <cstddef>

#include "brim/backend.h"

namespace brim_cpu {

struct SlotLayout {
  uint64_t elements, bytes;  // of one slot
  uint64_t id;
};

inline bool has_slots(const brim_state_desc& state) {
  return state.kind == BRIM_STATE_CONV || state.kind == BRIM_STATE_RECURRENT;
}

// UNSUPPORTED for dtypes other than F32, INVALID_ARGUMENT for impossible sizes.
SlotLayout slot_layout(const brim_state_desc& state, uint32_t dtype);
void fill_state_layout(const SlotLayout& layout, brim_state_layout* out);

// One slot as the state's `elements` F32 values.
void export_slot(const brim_state_desc& state, const brim_program_state& storage, uint32_t slot, void* out);
void import_slot(const brim_state_desc& state, const brim_program_state& storage, uint32_t slot, const void* in);

}  // namespace brim_cpu
