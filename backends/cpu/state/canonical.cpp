#include "state/canonical.hpp"

#include <algorithm>

#include "device/device.hpp"
#include "formats/rows.hpp"
#include "plugin/memory.hpp"
#include "state/kv.hpp"

namespace brim_cpu {
namespace {

// Calls visit(region of a block's head, token in block, rows before this one) for each token and head, in order.
template <class Visit>
void each_row(const KvLayout& layout, const brim_program_state& storage, const uint32_t* blocks, uint64_t first,
              uint64_t n, Visit&& visit) {
  if (n > UINT64_MAX - first)
    fail(BRIM_INVALID_ARGUMENT, "tokens %llu + %llu overflow", static_cast<unsigned long long>(first),
         static_cast<unsigned long long>(n));
  std::byte* base = range_of(storage.buffer, storage.offset, kv_bytes(layout, storage.n_blocks), "state storage");
  for (uint64_t i = 0; i < n; ++i) {
    const uint64_t token = first + i;
    const uint32_t block = blocks[token / kBlockTokens];
    if (block >= storage.n_blocks) {
      fail(BRIM_INVALID_ARGUMENT, "block %u of token %llu is not one of the state's %u blocks", block,
           static_cast<unsigned long long>(token), storage.n_blocks);
    }
    for (uint32_t h = 0; h < layout.n_head; ++h) {
      visit(base + block * layout.block_bytes + h * layout.head_bytes, static_cast<uint32_t>(token % kBlockTokens),
            i * layout.n_head + h);
    }
  }
}

void check_canonical(uint32_t canonical) {
  if (canonical != BRIM_DTYPE_F32 && canonical != BRIM_DTYPE_F16) {
    fail(BRIM_UNSUPPORTED, "the canonical form of a state is f32 or f16; %s (%u) was asked for",
         brim_dtype_name(canonical), canonical);
  }
}

}  // namespace

void export_state(const brim_state_desc& state, const brim_program_state& storage, const uint32_t* blocks,
                  uint64_t first, uint64_t n, uint32_t canonical, void* out) {
  check_canonical(canonical);
  const KvLayout layout = kv_layout(state, storage.dtype);
  Memory memory(storage.buffer->device->plugin->api, storage.buffer->device->plugin->host);
  Array<float> row(std::max(layout.k_width, layout.v_width), 0.0f, HostAllocator<float>(memory));
  const uint64_t k_bytes = brim_dtype_row_bytes(canonical, layout.k_width);
  const uint64_t v_bytes = brim_dtype_row_bytes(canonical, layout.v_width);
  auto* k = static_cast<std::byte*>(out);
  auto* v = k + n * layout.n_head * k_bytes;
  each_row(layout, storage, blocks, first, n, [&](const std::byte* region, uint32_t t, uint64_t at) {
    read_k(layout, region, t, row.data());
    encode_row(canonical, row.data(), k + at * k_bytes, layout.k_width);
    if (layout.v_width == 0) return;
    read_v(layout, region, t, row.data());
    encode_row(canonical, row.data(), v + at * v_bytes, layout.v_width);
  });
}

void import_state(const brim_state_desc& state, const brim_program_state& storage, const uint32_t* blocks,
                  uint64_t first, uint64_t n, uint32_t canonical, const void* in) {
  check_canonical(canonical);
  if (storage.buffer->read_only) fail(BRIM_INVALID_ARGUMENT, "a state cannot be imported into a read-only buffer");
  const KvLayout layout = kv_layout(state, storage.dtype);
  Memory memory(storage.buffer->device->plugin->api, storage.buffer->device->plugin->host);
  Array<float> row(std::max(layout.k_width, layout.v_width), 0.0f, HostAllocator<float>(memory));
  const uint64_t k_bytes = brim_dtype_row_bytes(canonical, layout.k_width);
  const uint64_t v_bytes = brim_dtype_row_bytes(canonical, layout.v_width);
  const auto* k = static_cast<const std::byte*>(in);
  const auto* v = k + n * layout.n_head * k_bytes;
  each_row(layout, storage, blocks, first, n, [&](std::byte* region, uint32_t t, uint64_t at) {
    decode_row(canonical, k + at * k_bytes, row.data(), layout.k_width);
    write_k(layout, region, t, row.data());
    if (layout.v_width == 0) return;
    decode_row(canonical, v + at * v_bytes, row.data(), layout.v_width);
    write_v(layout, region, t, row.data());
  });
}

}  // namespace brim_cpu
