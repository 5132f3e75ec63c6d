#include "state/slots.hpp"

#include <cstring>

#include "device/device.hpp"

namespace brim_cpu {
namespace {

std::byte* slot_of(const brim_state_desc& state, const brim_program_state& storage, uint32_t slot,
                   const SlotLayout& layout) {
  if (slot >= storage.n_blocks) {
    fail(BRIM_INVALID_ARGUMENT, "slot %u is not one of the %u of the state of layer %u", slot, storage.n_blocks,
         state.layer);
  }
  return range_of(storage.buffer, storage.offset, layout.bytes * storage.n_blocks, "state storage") +
         layout.bytes * slot;
}

}  // namespace

SlotLayout slot_layout(const brim_state_desc& state, uint32_t dtype) {
  if (dtype != BRIM_DTYPE_F32) {
    fail(BRIM_UNSUPPORTED, "the CPU backend stores conv and recurrent states as f32; %s (%u) was asked for",
         brim_dtype_name(dtype), dtype);
  }
  constexpr uint64_t kMost = 1ull << 31;  // slots times bytes stay far from overflow
  if (state.elements == 0 || state.elements > kMost) {
    fail(BRIM_INVALID_ARGUMENT, "the state of layer %u has %llu values per sequence; expected 1 to %llu", state.layer,
         static_cast<unsigned long long>(state.elements), static_cast<unsigned long long>(kMost));
  }
  // Equal sizes of either kind lie alike.
  return {state.elements, (state.elements * sizeof(float) + 63) / 64 * 64, state.elements << 8 | 3};
}

void fill_state_layout(const SlotLayout& layout, brim_state_layout* out) {
  brim_state_layout filled{};
  filled.block_tokens = 1;
  filled.block_bytes = layout.bytes;
  filled.layout_id = layout.id;
  answer(out, filled);
}

void export_slot(const brim_state_desc& state, const brim_program_state& storage, uint32_t slot, void* out) {
  const SlotLayout layout = slot_layout(state, storage.dtype);
  std::memcpy(out, slot_of(state, storage, slot, layout), layout.elements * sizeof(float));
}

void import_slot(const brim_state_desc& state, const brim_program_state& storage, uint32_t slot, const void* in) {
  if (storage.buffer->read_only) fail(BRIM_INVALID_ARGUMENT, "a state cannot be imported into a read-only buffer");
  const SlotLayout layout = slot_layout(state, storage.dtype);
  std::memcpy(slot_of(state, storage, slot, layout), in, layout.elements * sizeof(float));
}

}  // namespace brim_cpu
