#include "state.hpp"

#include "weights.hpp"

namespace brim_async {

std::byte* Kv::k(uint64_t slot, uint64_t head) const {
  if (slot >= uint64_t{storage.n_blocks} * kBlockTokens) {
    storage.buffer->plugin->refuse("a KV slot lies beyond the state's blocks");
  }
  const uint64_t in_block = (slot % kBlockTokens * heads + head) * k_width * element();
  return storage.buffer->data + storage.offset + slot / kBlockTokens * block_bytes() + in_block;
}

std::byte* Kv::v(uint64_t slot, uint64_t head) const {
  const uint64_t all_k = kBlockTokens * heads * uint64_t{k_width} * element();
  const uint64_t in_block = (slot % kBlockTokens * heads + head) * v_width * element();
  k(slot, 0);  // the check
  return storage.buffer->data + storage.offset + slot / kBlockTokens * block_bytes() + all_k + in_block;
}

void Kv::read(const std::byte* from, uint64_t n, float* out) const { decode_row(storage.dtype, 0, from, n, out); }

void Kv::write(std::byte* to, uint64_t n, const float* in) const {
  if (storage.dtype == BRIM_DTYPE_F32) {
    std::memcpy(to, in, n * sizeof(float));
    return;
  }
  for (uint64_t i = 0; i < n; ++i) {
    const uint16_t bits = float_to_half(in[i]);
    std::memcpy(to + 2 * i, &bits, sizeof(bits));
  }
}

uint64_t kv_layout_id(uint32_t dtype) { return 0xA5000 + dtype; }

brim_state_layout layout_of(const brim_state_desc& state, uint32_t dtype) {
  if (state.kind != BRIM_STATE_KV_FULL) throw Failure{BRIM_UNSUPPORTED, "the async device has full KV states only"};
  if (dtype != BRIM_DTYPE_F32 && dtype != BRIM_DTYPE_F16) {
    throw Failure{BRIM_UNSUPPORTED, "the async device stores KV as f32 or f16"};
  }
  brim_program_state storage{};
  storage.dtype = dtype;
  return {sizeof(brim_state_layout), kBlockTokens, Kv(storage, state).block_bytes(), kv_layout_id(dtype)};
}

void move_state(brim_queue* queue, const brim_state_desc& desc, const brim_program_state& storage,
                const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, std::byte* host, bool out) {
  drain(queue);
  const Kv kv(storage, desc);
  Kv plain = kv;  // the canonical form, for its conversions
  plain.storage.dtype = canonical;
  std::vector<float> row;
  for (const bool values : {false, true}) {
    const uint64_t width = values ? kv.v_width : kv.k_width;
    row.resize(width);
    for (uint64_t t = first; t < first + n; ++t) {
      const uint64_t slot = uint64_t{blocks[t / kBlockTokens]} * kBlockTokens + t % kBlockTokens;
      for (uint64_t h = 0; h < kv.heads; ++h, host += width * plain.element()) {
        std::byte* stored = values ? kv.v(slot, h) : kv.k(slot, h);
        if (out) {
          kv.read(stored, width, row.data());
          plain.write(host, width, row.data());
        } else {
          plain.read(host, width, row.data());
          kv.write(stored, width, row.data());
        }
      }
    }
  }
}

}  // namespace brim_async
