// decode_row: every stored format to F32, block by block through the layouts of blocks.hpp.
//
// The loops are plain and left to the compiler's vectoriser, except F16, whose conversion the vectoriser does not find.
#include <algorithm>

#include "formats/blocks.hpp"
#include "formats/rows.hpp"

namespace brim_cpu {
namespace {

// Eight blocks are unpacked before the first is converted: a wide load right behind the narrow stores that it covers
// would wait for them.
template <class Layout>
void decode_flat(const uint8_t* src, float* dst, int64_t n) {
  FlatBlock blocks[8];
  while (n >= 32) {
    const int count = static_cast<int>(std::min<int64_t>(n / 32, 8));
    for (int b = 0; b < count; ++b, src += Layout::kBytes) Layout::unpack(src, blocks[b]);
    for (int b = 0; b < count; ++b, dst += 32) {
      const FlatBlock& block = blocks[b];
      for (int j = 0; j < 32; ++j) dst[j] = block.d * static_cast<float>(block.code[j] - Layout::kOffset) + block.m;
    }
    n -= 32 * count;
  }
}

template <class Layout>
void decode_super(const uint8_t* src, float* dst, int64_t n) {
  for (int64_t i = 0; i < n; i += 256, src += Layout::kBytes, dst += 256) {
    SuperBlock b;
    Layout::unpack(src, b);
    for (int g = 0; g < 16; ++g) {
      const float d = b.d * static_cast<float>(b.scale[g]);
      const float m = b.dmin * static_cast<float>(b.min[g]);
      for (int j = 0; j < 16; ++j) {
        dst[16 * g + j] = d * static_cast<float>(b.code[16 * g + j] - Layout::kOffset) - m;
      }
    }
  }
}

void decode_half(const uint8_t* src, float* dst, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= n; i += 8) {
    const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + 2 * i));
    _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(h));
  }
#endif
  for (; i < n; ++i) dst[i] = half_to_float(load_u16(src + 2 * i));
}

void decode_bfloat(const uint8_t* src, float* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = bfloat_to_float(load_u16(src + 2 * i));
}

}  // namespace

bool can_decode(uint32_t dtype) {
  switch (dtype) {
    case BRIM_DTYPE_F64:
    case BRIM_DTYPE_I8:
    case BRIM_DTYPE_I16:
    case BRIM_DTYPE_I32:
    case BRIM_DTYPE_I64:
      return false;
    default:
      return brim_dtype_block_elements(dtype) != 0;
  }
}

void decode_row(uint32_t dtype, const void* source, float* dst, int64_t n) {
  const auto* src = static_cast<const uint8_t*>(source);
  switch (dtype) {
    case BRIM_DTYPE_F32:
      std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
      return;
    case BRIM_DTYPE_F16:
      return decode_half(src, dst, n);
    case BRIM_DTYPE_BF16:
      return decode_bfloat(src, dst, n);
    case BRIM_DTYPE_Q4_0:
      return decode_flat<Q4_0Layout>(src, dst, n);
    case BRIM_DTYPE_Q4_1:
      return decode_flat<Q4_1Layout>(src, dst, n);
    case BRIM_DTYPE_Q5_0:
      return decode_flat<Q5_0Layout>(src, dst, n);
    case BRIM_DTYPE_Q5_1:
      return decode_flat<Q5_1Layout>(src, dst, n);
    case BRIM_DTYPE_Q8_0:
      return decode_flat<Q8_0Layout>(src, dst, n);
    case BRIM_DTYPE_IQ4_NL:
      return decode_flat<Iq4NlLayout>(src, dst, n);
    case BRIM_DTYPE_MXFP4:
      return decode_flat<Mxfp4Layout>(src, dst, n);
    case BRIM_DTYPE_Q2_K:
      return decode_super<Q2KLayout>(src, dst, n);
    case BRIM_DTYPE_Q3_K:
      return decode_super<Q3KLayout>(src, dst, n);
    case BRIM_DTYPE_Q4_K:
      return decode_super<Q4KLayout>(src, dst, n);
    case BRIM_DTYPE_Q5_K:
      return decode_super<Q5KLayout>(src, dst, n);
    case BRIM_DTYPE_Q6_K:
      return decode_super<Q6KLayout>(src, dst, n);
    case BRIM_DTYPE_IQ4_XS:
      return decode_super<Iq4XsLayout>(src, dst, n);
    default:
      return;
  }
}

}  // namespace brim_cpu
