#include <base/error.hpp>
#include <cmath>
#include <cstring>
#include <model/quantize/blocks.hpp>
#include <model/quantize/codec.hpp>
#include <model/quantize/half.hpp>
#include <model/quantize/k_scales.hpp>

namespace brim::model {
namespace {

void block(const BlockQ4_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>((b.qs[j] & 0xF) - 8) * d;
    y[j + 16] = static_cast<float>((b.qs[j] >> 4) - 8) * d;
  }
}

void block(const BlockQ4_1& b, float* y) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(b.qs[j] & 0xF) * d + m;
    y[j + 16] = static_cast<float>(b.qs[j] >> 4) * d + m;
  }
}

// The fifth bit of element j, in its place.
int fifth(const uint8_t (&qh)[4], int j) { return (qh[j / 8] >> (j % 8) & 1) << 4; }

void block(const BlockQ5_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(((b.qs[j] & 0xF) | fifth(b.qh, j)) - 16) * d;
    y[j + 16] = static_cast<float>(((b.qs[j] >> 4) | fifth(b.qh, j + 16)) - 16) * d;
  }
}

void block(const BlockQ5_1& b, float* y) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>((b.qs[j] & 0xF) | fifth(b.qh, j)) * d + m;
    y[j + 16] = static_cast<float>((b.qs[j] >> 4) | fifth(b.qh, j + 16)) * d + m;
  }
}

void block(const BlockQ8_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 32; ++j) y[j] = static_cast<float>(b.qs[j]) * d;
}

void block(const BlockIq4Nl& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(kIq4Values[b.qs[j] & 0xF]);
    y[j + 16] = d * static_cast<float>(kIq4Values[b.qs[j] >> 4]);
  }
}

void block(const BlockMxfp4& b, float* y) {
  const float d = std::ldexp(1.0f, b.e - 128);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(kMxfp4Values[b.qs[j] & 0xF]);
    y[j + 16] = d * static_cast<float>(kMxfp4Values[b.qs[j] >> 4]);
  }
}

// Elements 128 h + 32 p + l lie in bits 2p of qs[32 h + l].
void block(const BlockQ2K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int i = 0; i < 256; ++i) {
    const uint8_t scale = b.scales[i / 16];
    const int q = b.qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    y[i] = d * static_cast<float>(scale & 0xF) * static_cast<float>(q) - dmin * static_cast<float>(scale >> 4);
  }
}

// As Q2_K, with a third bit for element i in bit i / 32 of hmask[i % 32]; a clear bit takes 4 away.
void block(const BlockQ3K& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 256; ++i) {
    const int low = b.qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    const int q = low - ((b.hmask[i % 32] >> (i / 32) & 1) ? 0 : 4);
    y[i] = d * static_cast<float>(q3k_scale(b.scales, i / 16)) * static_cast<float>(q);
  }
}

// Sub-blocks of 32: number 2 c in the low nibbles of qs[32 c ...], number 2 c + 1 in the high ones.
void block(const BlockQ4K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int s = 0; s < 8; ++s) {
    const ScaleMin sm = q4k_scale_min(b.scales, s);
    const float scale = d * static_cast<float>(sm.scale), min = dmin * static_cast<float>(sm.min);
    for (int l = 0; l < 32; ++l) {
      y[s * 32 + l] = scale * static_cast<float>(b.qs[s / 2 * 32 + l] >> (s % 2 * 4) & 0xF) - min;
    }
  }
}

// As Q4_K, with the fifth bit of sub-block s in bit s of qh.
void block(const BlockQ5K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int s = 0; s < 8; ++s) {
    const ScaleMin sm = q4k_scale_min(b.scales, s);
    const float scale = d * static_cast<float>(sm.scale), min = dmin * static_cast<float>(sm.min);
    for (int l = 0; l < 32; ++l) {
      const int q = (b.qs[s / 2 * 32 + l] >> (s % 2 * 4) & 0xF) | (b.qh[l] >> s & 1) << 4;
      y[s * 32 + l] = scale * static_cast<float>(q) - min;
    }
  }
}

// Element 128 h + 32 p + l: four bits in ql[64 h + 32 (p % 2) + l], low nibble for p < 2, and two in bits 2p of
// qh[32 h + l].
void block(const BlockQ6K& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 256; ++i) {
    const int h = i / 128, p = i % 128 / 32, l = i % 32;
    const int low = b.ql[h * 64 + p % 2 * 32 + l] >> (p / 2 * 4) & 0xF;
    const int q = (low | (b.qh[h * 32 + l] >> (p * 2) & 3) << 4) - 32;
    y[i] = d * static_cast<float>(b.scales[i / 16]) * static_cast<float>(q);
  }
}

void block(const BlockIq4Xs& b, float* y) {
  const float d = half_to_float(b.d);
  for (int s = 0; s < 8; ++s) {
    const int scale = ((b.scales_l[s / 2] >> (s % 2 * 4) & 0xF) | (b.scales_h >> (s * 2) & 3) << 4) - 32;
    const float ds = d * static_cast<float>(scale);
    for (int j = 0; j < 16; ++j) {
      y[s * 32 + j] = ds * static_cast<float>(kIq4Values[b.qs[s * 16 + j] & 0xF]);
      y[s * 32 + j + 16] = ds * static_cast<float>(kIq4Values[b.qs[s * 16 + j] >> 4]);
    }
  }
}

template <class Block>
void blocks(const std::byte* in, float* out, uint64_t elements, uint64_t per_block) {
  for (uint64_t i = 0; i < elements; i += per_block, in += sizeof(Block), out += per_block) {
    Block b;
    std::memcpy(&b, in, sizeof(Block));
    block(b, out);
  }
}

template <class T, class F>
void numbers(const std::byte* in, float* out, uint64_t elements, F&& to_float) {
  for (uint64_t i = 0; i < elements; ++i) {
    T value;
    std::memcpy(&value, in + i * sizeof(T), sizeof(T));
    out[i] = to_float(value);
  }
}

}  // namespace

bool is_weight_dtype(uint32_t dtype) {
  switch (dtype) {
    case BRIM_DTYPE_NONE:
    case BRIM_DTYPE_I8:
    case BRIM_DTYPE_I16:
    case BRIM_DTYPE_I32:
    case BRIM_DTYPE_I64:
      return false;
    default:
      return brim_dtype_block_elements(dtype) != 0;
  }
}

void decode(uint32_t dtype, const std::byte* in, float* out, uint64_t elements) {
  if (is_weight_dtype(dtype) && elements % brim_dtype_block_elements(dtype) != 0) {
    fail(BRIM_INVALID_ARGUMENT, "cannot decode {} elements of {}, whose blocks have {}", elements,
         brim_dtype_name(dtype), brim_dtype_block_elements(dtype));
  }
  switch (dtype) {
    case BRIM_DTYPE_F32:
      std::memcpy(out, in, elements * sizeof(float));
      return;
    case BRIM_DTYPE_F64:
      return numbers<double>(in, out, elements, [](double v) { return static_cast<float>(v); });
    case BRIM_DTYPE_F16:
      return numbers<uint16_t>(in, out, elements, half_to_float);
    case BRIM_DTYPE_BF16:
      return numbers<uint16_t>(in, out, elements, bf16_to_float);
    case BRIM_DTYPE_Q4_0:
      return blocks<BlockQ4_0>(in, out, elements, 32);
    case BRIM_DTYPE_Q4_1:
      return blocks<BlockQ4_1>(in, out, elements, 32);
    case BRIM_DTYPE_Q5_0:
      return blocks<BlockQ5_0>(in, out, elements, 32);
    case BRIM_DTYPE_Q5_1:
      return blocks<BlockQ5_1>(in, out, elements, 32);
    case BRIM_DTYPE_Q8_0:
      return blocks<BlockQ8_0>(in, out, elements, 32);
    case BRIM_DTYPE_IQ4_NL:
      return blocks<BlockIq4Nl>(in, out, elements, 32);
    case BRIM_DTYPE_MXFP4:
      return blocks<BlockMxfp4>(in, out, elements, 32);
    case BRIM_DTYPE_Q2_K:
      return blocks<BlockQ2K>(in, out, elements, 256);
    case BRIM_DTYPE_Q3_K:
      return blocks<BlockQ3K>(in, out, elements, 256);
    case BRIM_DTYPE_Q4_K:
      return blocks<BlockQ4K>(in, out, elements, 256);
    case BRIM_DTYPE_Q5_K:
      return blocks<BlockQ5K>(in, out, elements, 256);
    case BRIM_DTYPE_Q6_K:
      return blocks<BlockQ6K>(in, out, elements, 256);
    case BRIM_DTYPE_IQ4_XS:
      return blocks<BlockIq4Xs>(in, out, elements, 256);
    default:
      fail(BRIM_UNSUPPORTED, "cannot decode data type {} ({}); weights are stored in a floating-point or block type",
           dtype, brim_dtype_name(dtype));
  }
}

}  // namespace brim::model
