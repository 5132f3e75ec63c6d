// encode_row: F32 to the formats of the KV cache.
#include <limits>

#include "formats/blocks.hpp"
#include "formats/rounding.hpp"
#include "formats/rows.hpp"

namespace brim_cpu {
namespace {

void store_u16(uint8_t* p, uint16_t v) { std::memcpy(p, &v, sizeof v); }

void encode_half(const float* src, uint8_t* dst, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= n; i += 8) {
    const __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + 2 * i), h);
  }
#endif
  for (; i < n; ++i) store_u16(dst + 2 * i, float_to_half(src[i]));
}

void encode_q8_0(const float* src, uint8_t* dst, int64_t n) {
  for (int64_t i = 0; i < n; i += 32, src += 32, dst += Q8_0Layout::kBytes) {
    const uint32_t bits = largest_magnitude_bits(src, 32);
    const float d = std::bit_cast<float>(bits) / 127.0f;
    const float inverse = 1.0f / d;
    int8_t q[32] = {};
    if (bits >= kNotFinite) {
      store_u16(dst, float_to_half(std::numeric_limits<float>::quiet_NaN()));
    } else if (!(inverse <= std::numeric_limits<float>::max())) {  // all zero, or so small that F16 makes d zero
      store_u16(dst, 0);
    } else {
      store_u16(dst, float_to_half(d));
      for (int j = 0; j < 32; ++j) q[j] = static_cast<int8_t>(round_to_int(src[j] * inverse));
    }
    std::memcpy(dst + 2, q, 32);
  }
}

}  // namespace

bool can_encode(uint32_t dtype) {
  return dtype == BRIM_DTYPE_F32 || dtype == BRIM_DTYPE_F16 || dtype == BRIM_DTYPE_BF16 || dtype == BRIM_DTYPE_Q8_0;
}

void encode_row(uint32_t dtype, const float* src, void* destination, int64_t n) {
  auto* dst = static_cast<uint8_t*>(destination);
  switch (dtype) {
    case BRIM_DTYPE_F32:
      std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
      return;
    case BRIM_DTYPE_F16:
      return encode_half(src, dst, n);
    case BRIM_DTYPE_BF16:
      for (int64_t i = 0; i < n; ++i) store_u16(dst + 2 * i, float_to_bfloat(src[i]));
      return;
    case BRIM_DTYPE_Q8_0:
      return encode_q8_0(src, dst, n);
    default:
      return;
  }
}

}  // namespace brim_cpu
