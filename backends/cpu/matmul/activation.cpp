// Preparing activation rows. The loops are left to the compiler's vectoriser; every operation rounds the same way in
// every variant, so that prepared rows are equal bit for bit across processors.
#include "matmul/activation.hpp"

#include <cstring>
#include <limits>

#include "formats/rounding.hpp"

namespace brim_cpu {
namespace {

constexpr size_t round_up_64(size_t n) { return (n + 63) / 64 * 64; }

// Quantises N values to q and returns the scale.
template <int N>
float quantise(const float* x, int8_t* q) {
  const uint32_t bits = largest_magnitude_bits(x, N);
  const float largest = std::bit_cast<float>(bits);
  const float inverse = 127.0f / largest;
  // Zero, not finite, or so small (below 4e-37) that the inverse overflows: all codes are zero.
  if (bits >= kNotFinite || !(inverse <= std::numeric_limits<float>::max())) {
    std::memset(q, 0, N);
    return bits >= kNotFinite ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
  }
  for (int i = 0; i < N; ++i) q[i] = static_cast<int8_t>(round_to_int(x[i] * inverse));
  return largest / 127.0f;
}

int sum_of(const int8_t* q, int n) {
  int sum = 0;
  for (int i = 0; i < n; ++i) sum += q[i];
  return sum;
}

}  // namespace

size_t f32_activation_bytes(int64_t k) { return round_up_64(static_cast<size_t>(k) * sizeof(float)); }
size_t flat_activation_bytes(int64_t k) { return round_up_64(static_cast<size_t>(k / 32) * sizeof(FlatActivation)); }
size_t super_activation_bytes(int64_t k) { return round_up_64(static_cast<size_t>(k / 256) * sizeof(SuperActivation)); }

void prepare_f32(const float* x, void* prepared, int64_t k) {
  const size_t bytes = static_cast<size_t>(k) * sizeof(float);
  std::memcpy(prepared, x, bytes);
  std::memset(static_cast<char*>(prepared) + bytes, 0, f32_activation_bytes(k) - bytes);
}

void prepare_flat(const float* x, void* prepared, int64_t k) {
  auto* block = static_cast<FlatActivation*>(prepared);
  for (int64_t i = 0; i < k; i += 32, ++block) {
    block->d = quantise<32>(x + i, block->q);
    block->sum_q = sum_of(block->q, 32);
    block->sum = block->d * static_cast<float>(block->sum_q);
  }
}

void prepare_super(const float* x, void* prepared, int64_t k) {
  auto* block = static_cast<SuperActivation*>(prepared);
  for (int64_t i = 0; i < k; i += 256, ++block) {
    block->d = quantise<256>(x + i, block->q);
    for (int g = 0; g < 16; ++g) block->sums[g] = static_cast<int16_t>(sum_of(block->q + 16 * g, 16));
    for (int g = 0; g < 8; ++g) block->sums32[g] = static_cast<int16_t>(block->sums[2 * g] + block->sums[2 * g + 1]);
  }
}

}  // namespace brim_cpu
