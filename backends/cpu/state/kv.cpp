#include "state/kv.hpp"

#include <algorithm>
#include <cstring>

#include "device/device.hpp"
#include "formats/half.hpp"
#include "formats/rows.hpp"

namespace brim_cpu {
namespace {

uint64_t aligned(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

// FNV-1a over what decides the bytes.
uint64_t layout_id(const KvLayout& layout) {
  const uint64_t words[] = {2 /* this arrangement */, layout.dtype, layout.n_head, layout.k_width, layout.v_width};
  uint64_t hash = 0xcbf29ce484222325ull;
  for (uint64_t word : words) {
    for (int i = 0; i < 8; ++i) hash = (hash ^ ((word >> (8 * i)) & 0xff)) * 0x100000001b3ull;
  }
  return hash | 1;
}

void put_half(std::byte* at, float v) {
  const uint16_t h = float_to_half(v);
  std::memcpy(at, &h, sizeof h);
}
float get_half(const std::byte* at) { return half_to_float(load_u16(reinterpret_cast<const uint8_t*>(at))); }

// Elements `step` apart, in units of their size; scales, where there are any, kBlockTokens apart.
struct Places {
  std::byte* codes;
  int64_t step;
  std::byte* scales;
};

void write(uint32_t dtype, const Places& to, const float* x, uint32_t n) {
  switch (dtype) {
    case BRIM_DTYPE_F32:
      for (uint32_t i = 0; i < n; ++i) std::memcpy(to.codes + i * to.step * 4, x + i, 4);
      return;
    case BRIM_DTYPE_F16:
      for (uint32_t i = 0; i < n; ++i) put_half(to.codes + i * to.step * 2, x[i]);
      return;
    default:
      for (uint32_t begin = 0, run = 0; begin < n; begin += kScaleRun, ++run) {
        float values[kScaleRun] = {};
        uint8_t block[34];  // Q8_0: F16 scale, 32 codes
        const uint32_t m = std::min(kScaleRun, n - begin);
        std::memcpy(values, x + begin, m * sizeof(float));
        encode_row(BRIM_DTYPE_Q8_0, values, block, kScaleRun);
        // A scale that F16 rounds to zero makes every value zero; zero codes let export and import give the same bytes.
        if (load_u16(block) == 0) std::memset(block + 2, 0, kScaleRun);
        std::memcpy(to.scales + run * kBlockTokens * 2, block, 2);
        for (uint32_t i = 0; i < m; ++i) to.codes[(begin + i) * to.step] = static_cast<std::byte>(block[2 + i]);
      }
  }
}

void read(uint32_t dtype, const Places& from, float* x, uint32_t n) {
  switch (dtype) {
    case BRIM_DTYPE_F32:
      for (uint32_t i = 0; i < n; ++i) std::memcpy(x + i, from.codes + i * from.step * 4, 4);
      return;
    case BRIM_DTYPE_F16:
      for (uint32_t i = 0; i < n; ++i) x[i] = get_half(from.codes + i * from.step * 2);
      return;
    default:
      for (uint32_t i = 0; i < n; ++i) {
        const float scale = get_half(from.scales + i / kScaleRun * kBlockTokens * 2);
        x[i] = scale * static_cast<float>(static_cast<int8_t>(from.codes[i * from.step]));
      }
  }
}

Places k_places(const KvLayout& layout, const std::byte* region, uint32_t t) {
  auto* at = const_cast<std::byte*>(region);
  return {at + t * layout.element_bytes, kBlockTokens, at + layout.k_scales + t * 2};
}
Places v_places(const KvLayout& layout, const std::byte* region, uint32_t t) {
  auto* at = const_cast<std::byte*>(region) + layout.v;
  auto* scales = const_cast<std::byte*>(region) + layout.v_scales;
  return {at + static_cast<uint64_t>(t) * layout.v_pitch * layout.element_bytes, 1, scales + t * 2};
}

}  // namespace

KvLayout kv_layout(const brim_state_desc& state, uint32_t dtype) {
  const bool latent = state.kind == BRIM_STATE_KV_LATENT;
  if (state.kind != BRIM_STATE_KV_FULL && state.kind != BRIM_STATE_KV_WINDOW && !latent) {
    fail(BRIM_UNSUPPORTED,
         "the CPU backend keeps KV states of kind KV_FULL, KV_WINDOW and KV_LATENT; the state of layer %u has kind %u",
         state.layer, state.kind);
  }
  KvLayout layout{};
  switch (dtype) {
    case BRIM_DTYPE_F32:
      layout.element_bytes = 4;
      break;
    case BRIM_DTYPE_F16:
      layout.element_bytes = 2;
      break;
    case BRIM_DTYPE_Q8_0:
      layout.element_bytes = 1;
      break;
    default:
      fail(BRIM_UNSUPPORTED, "the CPU backend stores KV as f32, f16 or q8_0; %s (%u) was asked for",
           brim_dtype_name(dtype), dtype);
  }
  constexpr uint32_t kMostHeads = 1u << 16, kMostWidth = 1u << 14;  // products below stay far from overflow
  if (state.n_head == 0 || state.n_head > kMostHeads || state.k_width == 0 || state.k_width > kMostWidth ||
      (state.v_width == 0) != latent || state.v_width > kMostWidth) {
    fail(BRIM_INVALID_ARGUMENT,
         "the KV state of layer %u has %u heads of widths %u and %u; expected 1 to %u heads, widths from 1 to %u, and "
         "no V in a latent state",
         state.layer, state.n_head, state.k_width, state.v_width, kMostHeads, kMostWidth);
  }
  layout.dtype = dtype;
  layout.n_head = state.n_head;
  layout.k_width = state.k_width;
  layout.v_width = state.v_width;
  layout.v_pitch = (state.v_width + 15) / 16 * 16;
  const bool scaled = dtype == BRIM_DTYPE_Q8_0;
  layout.k_runs = scaled ? (state.k_width + kScaleRun - 1) / kScaleRun : 0;
  layout.v_runs = scaled ? (state.v_width + kScaleRun - 1) / kScaleRun : 0;
  const uint64_t tokens = kBlockTokens;
  layout.k_scales = aligned(tokens * layout.k_width * layout.element_bytes);
  layout.v = layout.k_scales + aligned(tokens * layout.k_runs * 2);
  layout.v_scales = layout.v + aligned(tokens * layout.v_pitch * layout.element_bytes);
  layout.head_bytes = layout.v_scales + aligned(tokens * layout.v_runs * 2);
  layout.block_bytes = layout.head_bytes * layout.n_head;
  return layout;
}

void fill_state_layout(const KvLayout& layout, brim_state_layout* out) {
  brim_state_layout filled{};
  filled.block_tokens = kBlockTokens;
  filled.block_bytes = layout.block_bytes;
  filled.layout_id = layout_id(layout);
  answer(out, filled);
}

uint64_t kv_bytes(const KvLayout& layout, uint64_t n_blocks) {
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(layout.block_bytes, n_blocks, &bytes)) {
    fail(BRIM_INVALID_ARGUMENT, "%llu KV blocks of %llu bytes overflow 64 bits",
         static_cast<unsigned long long>(n_blocks), static_cast<unsigned long long>(layout.block_bytes));
  }
  return bytes;
}

void write_k(const KvLayout& layout, std::byte* region, uint32_t t, const float* k) {
  write(layout.dtype, k_places(layout, region, t), k, layout.k_width);
}

void write_v(const KvLayout& layout, std::byte* region, uint32_t t, const float* v) {
  const Places to = v_places(layout, region, t);
  write(layout.dtype, to, v, layout.v_width);
  // Attention reads whole vectors: what pads a row must be numbers.
  const uint64_t used = static_cast<uint64_t>(layout.v_width) * layout.element_bytes;
  std::memset(to.codes + used, 0, static_cast<uint64_t>(layout.v_pitch) * layout.element_bytes - used);
}

void read_k(const KvLayout& layout, const std::byte* region, uint32_t t, float* k) {
  read(layout.dtype, k_places(layout, region, t), k, layout.k_width);
}

void read_v(const KvLayout& layout, const std::byte* region, uint32_t t, float* v) {
  read(layout.dtype, v_places(layout, region, t), v, layout.v_width);
}

}  // namespace brim_cpu
