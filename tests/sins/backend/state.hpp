// States: where their bytes lie, and their canonical form. A KV block holds its tokens one after the other, each as K
// [heads, k_width] and V [heads, v_width] in F32; so a row of the state is its kv_slot's, whatever the block. A slot of
// a conv state is its values.
#pragma once

#include "timeline.hpp"

namespace saint {

inline bool has_slots(const brim_state_desc& state) { return state.kind == BRIM_STATE_CONV; }
inline uint64_t row_floats(const brim_state_desc& s) { return uint64_t{s.n_head} * (uint64_t{s.k_width} + s.v_width); }
inline uint64_t slot_bytes(const brim_state_desc& s) { return (s.elements * sizeof(float) + 63) / 64 * 64; }

// Null, or why the backend has no such state.
inline const char* objection(const brim_state_desc& state, uint32_t dtype) {
  const bool kv = state.kind == BRIM_STATE_KV_FULL || state.kind == BRIM_STATE_KV_WINDOW;
  if (!kv && !has_slots(state)) return "states are full KV, window KV or conv";
  if (dtype != BRIM_DTYPE_F32) return "states are stored as f32";
  constexpr uint32_t kMost = 1u << 20;
  if (kv && (state.n_head == 0 || state.k_width == 0 || state.v_width == 0 || state.n_head > kMost ||
             state.k_width > kMost || state.v_width > kMost)) {
    return "a KV state has heads of a width";
  }
  if (has_slots(state) && (state.elements == 0 || state.elements > uint64_t{kMost} << 10))
    return "a conv state has values";
  return nullptr;
}

inline brim_status state_layout(brim_device*, const brim_state_desc* theirs, uint32_t dtype, brim_state_layout* out,
                                brim_error* error) {
  const brim_state_desc state = read(theirs);
  const char* why = objection(state, dtype);
  if (why != nullptr) {
    return fail(error, BRIM_UNSUPPORTED, "%s; asked for was kind %u as dtype %u, layer %u", why, state.kind, dtype,
                state.layer);
  }
  brim_state_layout layout{};
  layout.block_tokens = has_slots(state) ? 1 : kBlockTokens;
  layout.block_bytes = has_slots(state) ? slot_bytes(state) : kBlockTokens * row_floats(state) * sizeof(float);
  layout.layout_id = has_slots(state) ? state.elements << 2 | 3
                                      : uint64_t{state.n_head} << 44 | uint64_t{state.k_width} << 23 |
                                            uint64_t{state.v_width} << 2 | 1;
  if (sins::layout_without_id) layout.layout_id = 0;
  answer(out, layout);
  return BRIM_OK;
}

inline float from_half(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
  if (exponent == 0) return (sign ? -1.0f : 1.0f) * static_cast<float>(fraction) * 0x1p-24f;
  const uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

// To nearest, ties to even.
inline uint16_t to_half(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t size = bits & 0x7fffffff;
  if (size > 0x7f800000) return sign | 0x7e00;
  if (size >= 0x477ff000) return sign | 0x7c00;
  if (size < 0x38800000) {  // a subnormal: the addition leaves the rounded fraction in the lowest bits
    float moved;
    std::memcpy(&moved, &size, sizeof moved);
    moved += 0.5f;
    std::memcpy(&bits, &moved, sizeof bits);
    return static_cast<uint16_t>(sign | (bits - 0x3f000000));
  }
  return static_cast<uint16_t>(sign | ((size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13));
}

// Between the stored row of one token and its places in the canonical form; `out` says which way.
struct Mover {
  std::byte* canonical;
  uint32_t dtype;
  bool out;
  void move(float* stored, uint64_t at, uint64_t n) const {
    for (uint64_t i = 0; i < n; ++i) {
      if (dtype == BRIM_DTYPE_F32) {
        std::byte* place = canonical + (at + i) * 4;
        out ? std::memcpy(place, stored + i, 4) : std::memcpy(stored + i, place, 4);
      } else {
        std::byte* place = canonical + (at + i) * 2;
        uint16_t half = to_half(stored[i]);
        out ? std::memcpy(place, &half, 2) : std::memcpy(&half, place, 2);
        if (!out) stored[i] = from_half(half);
      }
    }
  }
};

inline brim_status move_state(brim_queue* queue, const brim_state_desc* desc, const brim_program_state* theirs,
                              const uint32_t* blocks, uint64_t first, uint64_t n, const Mover& mover,
                              brim_error* error) {
  const brim_state_desc state = read(desc);
  const brim_program_state storage = read(theirs);
  const char* why = objection(state, storage.dtype);
  if (why != nullptr) return fail(error, BRIM_UNSUPPORTED, "state of layer %u: %s", state.layer, why);
  if (mover.dtype != BRIM_DTYPE_F32 && mover.dtype != BRIM_DTYPE_F16) {
    return fail(error, BRIM_UNSUPPORTED, "the canonical form is f32 or f16; dtype %u was asked for", mover.dtype);
  }
  if (const brim_status status = lost_at_work(queue->device, error); status != BRIM_OK) return status;
  drain(queue);
  std::byte* base = storage.buffer->data + storage.offset;
  const auto block_of = [&](uint64_t i) { return blocks[i]; };
  if (has_slots(state)) {
    auto* slot = reinterpret_cast<float*>(base + block_of(0) * slot_bytes(state));
    Mover{mover.canonical, BRIM_DTYPE_F32, mover.out}.move(slot, 0, state.elements);
    return BRIM_OK;
  }
  const uint64_t k = uint64_t{state.n_head} * state.k_width, v = uint64_t{state.n_head} * state.v_width;
  for (uint64_t i = 0; i < n; ++i) {
    const uint64_t token = sins::import_from_the_beginning && !mover.out ? i : first + i;
    const uint64_t slot = uint64_t{block_of(token / kBlockTokens)} * kBlockTokens + token % kBlockTokens;
    float* row = reinterpret_cast<float*>(base) + slot * (k + v);
    if (sins::export_is_not_canonical) {
      mover.move(row, i * (k + v), k + v);
      continue;
    }
    mover.move(row, i * k, k);
    mover.move(row + k, n * k + i * v, v);
  }
  return BRIM_OK;
}

inline brim_status state_export(brim_queue* queue, const brim_state_desc* state, const brim_program_state* storage,
                                const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, void* out,
                                brim_error* error) {
  return move_state(queue, state, storage, blocks, first, n, {static_cast<std::byte*>(out), canonical, true}, error);
}

inline brim_status state_import(brim_queue* queue, const brim_state_desc* state, const brim_program_state* storage,
                                const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, const void* in,
                                brim_error* error) {
  auto* from = static_cast<std::byte*>(const_cast<void*>(in));  // only read: `out` is false
  return move_state(queue, state, storage, blocks, first, n, {from, canonical, false}, error);
}

}  // namespace saint
