#include "kv.hpp"

#include <bit>
#include <cmath>

namespace brim_gpu {
namespace {

uint32_t aligned(uint64_t bytes) { return static_cast<uint32_t>((bytes + 63) / 64 * 64); }

float half_to_float(uint16_t h) {
  const uint32_t exponent = h >> 10 & 31u, fraction = h & 1023u, sign = uint32_t{h} >> 15 << 31;
  if (exponent == 0) return std::copysign(static_cast<float>(fraction) * 0x1p-24f, std::bit_cast<float>(sign | 1u));
  const uint32_t e = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | e << 23 | fraction << 13);
}

// Nearest, ties to even: the addition rounds where the result's last place is; and so does the kernels' own.
uint16_t float_to_half(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), magnitude = bits & 0x7fffffffu, sign = bits >> 16 & 0x8000u;
  uint32_t h = 0;
  if (magnitude > 0x7f800000u) {
    h = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {
    h = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {
    h = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  } else {
    h = static_cast<uint32_t>(std::nearbyint(std::bit_cast<float>(magnitude) * 0x1p24f));
  }
  return static_cast<uint16_t>(sign | h);
}

float load(uint32_t dtype, const std::byte* at) {
  if (dtype == BRIM_DTYPE_F32) {
    float v;
    std::memcpy(&v, at, 4);
    return v;
  }
  uint16_t h;
  std::memcpy(&h, at, 2);
  return half_to_float(h);
}
void store(uint32_t dtype, std::byte* at, float v) {
  if (dtype == BRIM_DTYPE_F32) {
    std::memcpy(at, &v, 4);
    return;
  }
  const uint16_t h = float_to_half(v);
  std::memcpy(at, &h, 2);
}

// The values of one token and head of K or of V in a block's region for the head.
class Row {
 public:
  Row(const StateLayout& layout, std::byte* region, bool k, uint32_t token)
      : dtype_(layout.dtype), width_(k ? layout.k_width : layout.v_width) {
    codes_ = region + (k ? 0 : layout.v);
    scales_ = region + (k ? layout.k_scales : layout.v_scales);
    const uint32_t runs = (width_ + kScaleRun - 1) / kScaleRun;
    first_ = k ? token : token * width_;
    step_ = k ? kBlockTokens : 1;
    first_scale_ = k ? token : token * runs;
  }

  void read(float* out) const {
    for (uint32_t i = 0; i < width_; ++i) {
      const size_t at = first_ + size_t{i} * step_;
      if (dtype_ != BRIM_DTYPE_Q8_0) {
        out[i] = load(dtype_, codes_ + at * brim_dtype_block_bytes(dtype_));
      } else {
        out[i] = load(BRIM_DTYPE_F16, scale(i / kScaleRun)) * static_cast<float>(static_cast<int8_t>(codes_[at]));
      }
    }
  }

  void write(const float* in) const {
    if (dtype_ != BRIM_DTYPE_Q8_0) {
      for (uint32_t i = 0; i < width_; ++i) {
        store(dtype_, codes_ + (first_ + size_t{i} * step_) * brim_dtype_block_bytes(dtype_), in[i]);
      }
      return;
    }
    // As the kernel of KV_WRITE has it.
    for (uint32_t begin = 0; begin < width_; begin += kScaleRun) {
      const uint32_t end = std::min(width_, begin + kScaleRun);
      uint32_t most = 0;
      for (uint32_t i = begin; i < end; ++i) most = std::max(most, std::bit_cast<uint32_t>(in[i]) & 0x7fffffffu);
      const float d = std::bit_cast<float>(most) / 127.0f, inverse = 1.0f / d;
      uint16_t bits = float_to_half(d);
      const bool empty = bits == 0 || most >= 0x7f800000u;
      if (most >= 0x7f800000u) bits = 0x7e00;
      std::memcpy(scale(begin / kScaleRun), &bits, 2);
      for (uint32_t i = begin; i < end; ++i) {
        const float code = empty ? 0 : std::nearbyint(in[i] * inverse);
        codes_[first_ + size_t{i} * step_] = static_cast<std::byte>(static_cast<int8_t>(code));
      }
    }
  }

 private:
  std::byte* scale(uint32_t run) const { return scales_ + (first_scale_ + size_t{run} * step_) * 2; }

  uint32_t dtype_, width_;
  std::byte *codes_, *scales_;
  size_t first_, step_, first_scale_;
};

// The bytes of one block in the host's hands: those of a mapped buffer themselves, else a copy through host memory that
// goes back when it was written.
class BlockWindow {
 public:
  BlockWindow(brim_queue* queue, const brim_program_state& storage, uint64_t block_bytes)
      : queue_(queue), buffer_(storage.buffer), offset_(storage.offset), bytes_(block_bytes) {
    uint64_t all = 0;
    if (__builtin_mul_overflow(block_bytes, uint64_t{storage.n_blocks}, &all)) {
      fail(BRIM_INVALID_ARGUMENT, "%u blocks of %llu bytes overflow", storage.n_blocks,
           static_cast<unsigned long long>(block_bytes));
    }
    check_range(buffer_, offset_, all, "state storage");
    mapped_ = facts_of(buffer_).mapped;
    if (mapped_ == nullptr) staging_ = allocate_staging(queue, block_bytes);
  }
  ~BlockWindow() { free_staging(staging_); }
  BlockWindow(const BlockWindow&) = delete;
  BlockWindow& operator=(const BlockWindow&) = delete;

  std::byte* open(uint32_t block) {
    const uint64_t at = offset_ + bytes_ * block;
    if (staging_ == nullptr) return mapped_ + at;
    copy(queue_, staging_, 0, buffer_, at, bytes_);
    drain(queue_);
    return facts_of(staging_).mapped;
  }
  void close(uint32_t block) {
    if (staging_ == nullptr) return;
    copy(queue_, buffer_, offset_ + bytes_ * block, staging_, 0, bytes_);
    drain(queue_);
  }

 private:
  brim_queue* queue_;
  brim_buffer* buffer_;
  uint64_t offset_, bytes_;
  std::byte* mapped_ = nullptr;
  brim_buffer* staging_ = nullptr;
};

void check_block(uint32_t block, const brim_program_state& storage) {
  if (block < storage.n_blocks) return;
  fail(BRIM_INVALID_ARGUMENT, "block %u is not one of the state's %u", block, storage.n_blocks);
}

// Goes through tokens [first, first + n) block by block; with(row, row's place in the canonical K, or V, of all rows).
template <class With>
void each_row(brim_queue* queue, const StateLayout& layout, const brim_program_state& storage, const uint32_t* blocks,
              uint64_t first, uint64_t n, bool writes, With&& with) {
  if (n > UINT64_MAX - first) {
    fail(BRIM_INVALID_ARGUMENT, "tokens %llu + %llu overflow", static_cast<unsigned long long>(first),
         static_cast<unsigned long long>(n));
  }
  BlockWindow window(queue, storage, layout.block_bytes);
  for (uint64_t i = 0; i < n;) {
    const uint64_t token = first + i;
    const uint32_t block = blocks[token / kBlockTokens];
    check_block(block, storage);
    std::byte* bytes = window.open(block);
    const uint64_t end = std::min(n, (token / kBlockTokens + 1) * kBlockTokens - first);
    for (; i < end; ++i) {
      for (uint32_t h = 0; h < layout.n_head; ++h) {
        const auto t = static_cast<uint32_t>((first + i) % kBlockTokens);
        with(Row(layout, bytes + size_t{h} * layout.head_bytes, true, t), true, i * layout.n_head + h);
        if (layout.v_width != 0) {
          with(Row(layout, bytes + size_t{h} * layout.head_bytes, false, t), false, i * layout.n_head + h);
        }
      }
    }
    if (writes) window.close(block);
  }
}

void check_canonical(uint32_t canonical) {
  if (canonical == BRIM_DTYPE_F32 || canonical == BRIM_DTYPE_F16) return;
  fail(BRIM_UNSUPPORTED, "the canonical form of a state is f32 or f16; %s (%u) was asked for",
       brim_dtype_name(canonical), canonical);
}

}  // namespace

StateLayout state_layout(const brim_state_desc& state, uint32_t dtype) {
  StateLayout layout{};
  layout.dtype = dtype;
  if (state.kind == BRIM_STATE_CONV || state.kind == BRIM_STATE_RECURRENT) {
    constexpr uint64_t kMost = 1ull << 31;
    if (dtype != BRIM_DTYPE_F32) {
      fail(BRIM_UNSUPPORTED, "this backend stores conv and recurrent states as f32; %s (%u) was asked for",
           brim_dtype_name(dtype), dtype);
    }
    if (state.elements == 0 || state.elements > kMost) {
      fail(BRIM_INVALID_ARGUMENT, "the state of layer %u has %llu values per sequence; expected 1 to %llu", state.layer,
           static_cast<unsigned long long>(state.elements), static_cast<unsigned long long>(kMost));
    }
    layout.slots = true;
    layout.block_bytes = (state.elements * sizeof(float) + 63) / 64 * 64;
    layout.id = state.elements << 8 | 0x57;
    return layout;
  }
  const bool latent = state.kind == BRIM_STATE_KV_LATENT;
  if (state.kind != BRIM_STATE_KV_FULL && state.kind != BRIM_STATE_KV_WINDOW && !latent) {
    fail(BRIM_UNSUPPORTED, "this backend keeps no states of kind %u (layer %u)", state.kind, state.layer);
  }
  if (dtype != BRIM_DTYPE_F32 && dtype != BRIM_DTYPE_F16 && dtype != BRIM_DTYPE_Q8_0) {
    fail(BRIM_UNSUPPORTED, "this backend stores KV as f32, f16 or q8_0; %s (%u) was asked for", brim_dtype_name(dtype),
         dtype);
  }
  constexpr uint32_t kMostHeads = 1u << 12, kMostWidth = 1u << 12;  // what follows stays far below 2^32
  if (state.n_head == 0 || state.n_head > kMostHeads || state.k_width == 0 || state.k_width > kMostWidth ||
      (state.v_width == 0) != latent || state.v_width > kMostWidth) {
    fail(BRIM_INVALID_ARGUMENT,
         "the KV state of layer %u has %u heads of widths %u and %u; expected 1 to %u heads, widths from 1 to %u, and "
         "no "
         "V in a latent state",
         state.layer, state.n_head, state.k_width, state.v_width, kMostHeads, kMostWidth);
  }
  const bool scaled = dtype == BRIM_DTYPE_Q8_0;
  const uint64_t element = scaled ? 1 : brim_dtype_block_bytes(dtype), tokens = kBlockTokens;
  const uint64_t k_runs = scaled ? (state.k_width + kScaleRun - 1) / kScaleRun : 0;
  const uint64_t v_runs = scaled ? (state.v_width + kScaleRun - 1) / kScaleRun : 0;
  layout.n_head = state.n_head;
  layout.k_width = state.k_width;
  layout.v_width = state.v_width;
  layout.k_scales = aligned(tokens * state.k_width * element);
  layout.v = layout.k_scales + aligned(tokens * k_runs * 2);
  layout.v_scales = layout.v + aligned(tokens * state.v_width * element);
  layout.head_bytes = layout.v_scales + aligned(tokens * v_runs * 2);
  layout.block_bytes = uint64_t{layout.head_bytes} * state.n_head;
  layout.id = uint64_t{dtype} << 56 | uint64_t{state.n_head} << 40 | uint64_t{state.k_width} << 24 |
              uint64_t{state.v_width} << 8 | 0x56;
  return layout;
}

void fill_state_layout(const StateLayout& layout, brim_state_layout* out) {
  brim_state_layout filled{};
  filled.block_tokens = layout.slots ? 1 : kBlockTokens;
  filled.block_bytes = layout.block_bytes;
  filled.layout_id = layout.id;
  answer(out, filled);
}

void export_state(brim_queue* queue, const brim_state_desc& state, const brim_program_state& storage,
                  const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, void* out) {
  drain(queue);  // before anything can fail: the host takes it that what it submitted is done
  const StateLayout layout = state_layout(state, storage.dtype);
  if (layout.slots) {
    check_block(blocks[0], storage);
    BlockWindow window(queue, storage, layout.block_bytes);
    std::memcpy(out, window.open(blocks[0]), state.elements * sizeof(float));
    return;
  }
  check_canonical(canonical);
  const uint64_t element = brim_dtype_block_bytes(canonical);
  Array<float> row(memory_of(queue));
  row.resize(std::max(layout.k_width, layout.v_width));
  auto* k = static_cast<std::byte*>(out);
  auto* v = k + n * layout.n_head * layout.k_width * element;
  each_row(queue, layout, storage, blocks, first, n, false, [&](const Row& from, bool is_k, uint64_t at) {
    const uint32_t width = is_k ? layout.k_width : layout.v_width;
    std::byte* to = (is_k ? k : v) + at * width * element;
    from.read(row.data());
    for (uint32_t i = 0; i < width; ++i) store(canonical, to + i * element, row[i]);
  });
}

void import_state(brim_queue* queue, const brim_state_desc& state, const brim_program_state& storage,
                  const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, const void* in) {
  drain(queue);
  const StateLayout layout = state_layout(state, storage.dtype);
  if (facts_of(storage.buffer).read_only)
    fail(BRIM_INVALID_ARGUMENT, "a state cannot be imported into a read-only buffer");
  if (layout.slots) {
    check_block(blocks[0], storage);
    BlockWindow window(queue, storage, layout.block_bytes);
    std::memcpy(window.open(blocks[0]), in, state.elements * sizeof(float));
    window.close(blocks[0]);
    return;
  }
  check_canonical(canonical);
  const uint64_t element = brim_dtype_block_bytes(canonical);
  Array<float> row(memory_of(queue));
  row.resize(std::max(layout.k_width, layout.v_width));
  const auto* k = static_cast<const std::byte*>(in);
  const auto* v = k + n * layout.n_head * layout.k_width * element;
  each_row(queue, layout, storage, blocks, first, n, true, [&](const Row& to, bool is_k, uint64_t at) {
    const uint32_t width = is_k ? layout.k_width : layout.v_width;
    const std::byte* from = (is_k ? k : v) + at * width * element;
    for (uint32_t i = 0; i < width; ++i) row[i] = load(canonical, from + i * element);
    to.write(row.data());
  });
}

}  // namespace brim_gpu
