#include "state.hpp"

#include "device.hpp"
#include "formats.hpp"

namespace plain {
namespace {

// Equal ids promise equal bytes: the arrangement and the dtype decide them.
constexpr uint64_t kArrangement = 1;
uint64_t layout_id(uint32_t dtype) { return kArrangement << 32 | dtype; }

void check(const brim_state_desc& state, uint32_t dtype) {
  if (state.kind != BRIM_STATE_KV_FULL && state.kind != BRIM_STATE_KV_WINDOW) {
    fail(BRIM_UNSUPPORTED, "the plain backend stores keys and values of whole heads; a state of kind %u was asked for",
         state.kind);
  }
  if (dtype != BRIM_DTYPE_F32 && dtype != BRIM_DTYPE_F16) {
    fail(BRIM_UNSUPPORTED, "the plain backend stores keys and values as f32 or f16; %s (%u) was asked for",
         brim_dtype_name(dtype), dtype);
  }
}

// Calls visit(where a row of one head is stored, where it is in the canonical form, its width) for all K, then all V:
// [n, heads, k_width], [n, heads, v_width].
template <class Visit>
void each_row(const Kv& kv, const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, Visit&& visit) {
  if (canonical != BRIM_DTYPE_F32 && canonical != BRIM_DTYPE_F16) {
    fail(BRIM_UNSUPPORTED, "the canonical form of a state is f32 or f16; %s (%u) was asked for",
         brim_dtype_name(canonical), canonical);
  }
  uint64_t at = 0;  // bytes of the canonical form
  for (const bool values : {false, true}) {
    const uint32_t width = values ? kv.v_width : kv.k_width;
    for (uint64_t token = first; token - first < n; ++token) {
      const uint32_t block = blocks[token / kBlockTokens];
      if (block >= kv.n_blocks) {
        fail(BRIM_INVALID_ARGUMENT, "token %llu lies in block %u of a state that has %u",
             static_cast<unsigned long long>(token), block, kv.n_blocks);
      }
      const uint64_t slot = uint64_t{block} * kBlockTokens + token % kBlockTokens;
      for (uint32_t head = 0; head < kv.heads; ++head) {
        visit(values ? kv.v(slot, head) : kv.k(slot, head), at, width);
        at += uint64_t{width} * brim_dtype_block_bytes(canonical);
      }
    }
  }
}

// Between the two forms by way of F32, some values at a time: no memory has to be asked for.
void convert(uint32_t from_dtype, const std::byte* from, uint32_t to_dtype, std::byte* to, uint32_t n) {
  float values[64];
  for (uint32_t done = 0; done < n; done += 64) {
    const uint32_t some = std::min(n - done, 64u);
    decoder(from_dtype)(from + uint64_t{done} * brim_dtype_block_bytes(from_dtype), values, some);
    write_values(to_dtype, values, to + uint64_t{done} * brim_dtype_block_bytes(to_dtype), some);
  }
}

}  // namespace

void fill_state_layout(const brim_state_desc& state, uint32_t dtype, brim_state_layout* out) {
  check(state, dtype);
  Kv kv{};
  kv.dtype = dtype;
  kv.heads = state.n_head;
  kv.k_width = state.k_width;
  kv.v_width = state.v_width;
  brim_state_layout layout{};
  layout.block_tokens = kBlockTokens;
  layout.block_bytes = kv.block_bytes();
  layout.layout_id = layout_id(dtype);
  answer(out, layout);
}

Kv open_state(const brim_state_desc& state, const brim_program_state& storage) {
  check(state, storage.dtype);
  if (storage.layout_id != layout_id(storage.dtype)) {
    fail(BRIM_INVALID_ARGUMENT, "state %u comes in layout %llu; state_layout gave %llu", storage.state,
         static_cast<unsigned long long>(storage.layout_id), static_cast<unsigned long long>(layout_id(storage.dtype)));
  }
  Kv kv{nullptr, storage.n_blocks, storage.dtype, state.n_head, state.k_width, state.v_width, {}};
  if (storage.buffer != nullptr) {
    kv.data = writable_range_of(storage.buffer, storage.offset, kv.n_blocks * kv.block_bytes(), "a state's storage");
  }
  return kv;
}

void export_state(const Kv& kv, const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, void* out) {
  auto* to = static_cast<std::byte*>(out);
  each_row(kv, blocks, first, n, canonical, [&](const std::byte* stored, uint64_t at, uint32_t width) {
    convert(kv.dtype, stored, canonical, to + at, width);
  });
}

void import_state(const Kv& kv, const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical,
                  const void* in) {
  const auto* from = static_cast<const std::byte*>(in);
  each_row(kv, blocks, first, n, canonical, [&](std::byte* stored, uint64_t at, uint32_t width) {
    convert(canonical, from + at, kv.dtype, stored, width);
  });
}

}  // namespace plain
