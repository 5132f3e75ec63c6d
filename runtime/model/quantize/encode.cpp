// encode() itself, and the types of 32 elements with evenly spaced levels: the scale covers the block's range exactly,
// as these formats are commonly written. The K-quants are in encode_k.cpp, the types with a table of levels in
// encode_table.cpp.
#include <base/error.hpp>
#include <cstring>
#include <model/quantize/codec.hpp>
#include <model/quantize/encode.hpp>
#include <model/quantize/fit.hpp>
#include <model/quantize/half.hpp>

namespace brim::model {
namespace {

// Rounds a half up, unlike level(): files of these types agree on that. `value` is at least -0.5.
uint8_t rounded_up(float value, float high) {
  return static_cast<uint8_t>(std::min(high, std::max(0.0f, value + 0.5f)));
}

struct Range {
  float low, high;
};

Range range_of(const float* x) {
  Range range{x[0], x[0]};
  for (int j = 1; j < 32; ++j) {
    range.low = std::min(range.low, x[j]);
    range.high = std::max(range.high, x[j]);
  }
  return range;
}

// Levels 0 ... 2 half - 1 for -half ... half - 1; the extreme element gets -half, the one level without a counterpart.
template <int kHalf>
float levels_about_zero(const float* x, uint8_t (&q)[32]) {
  const float d = extreme(x, 32) / -static_cast<float>(kHalf);
  const float inverse = inverse_or_zero(d);
  for (int j = 0; j < 32; ++j) q[j] = rounded_up(x[j] * inverse + kHalf, 2 * kHalf - 1);
  return d;
}

template <int kMax>
float levels_from_low(const float* x, Range range, uint8_t (&q)[32]) {
  const float d = (range.high - range.low) / kMax;
  const float inverse = inverse_or_zero(d);
  for (int j = 0; j < 32; ++j) q[j] = rounded_up((x[j] - range.low) * inverse, kMax);
  return d;
}

void pack_nibbles(const uint8_t (&q)[32], uint8_t (&qs)[16]) {
  for (int j = 0; j < 16; ++j) qs[j] = static_cast<uint8_t>((q[j] & 0xF) | (q[j + 16] & 0xF) << 4);
}

void pack_fifth_bits(const uint8_t (&q)[32], uint8_t (&qh)[4]) {
  for (int k = 0; k < 4; ++k) {
    qh[k] = 0;
    for (int j = 0; j < 8; ++j) qh[k] = static_cast<uint8_t>(qh[k] | (q[8 * k + j] >> 4) << j);
  }
}

template <class Block>
void blocks(const float* in, std::byte* out, uint64_t elements, uint64_t per_block) {
  for (uint64_t i = 0; i < elements; i += per_block, in += per_block, out += sizeof(Block)) {
    Block block;
    encode_block(in, block);
    std::memcpy(out, &block, sizeof(Block));
  }
}

template <class T, class F>
void numbers(const float* in, std::byte* out, uint64_t elements, F&& from_float) {
  for (uint64_t i = 0; i < elements; ++i) {
    const T value = from_float(in[i]);
    std::memcpy(out + i * sizeof(T), &value, sizeof(T));
  }
}

}  // namespace

void encode_block(const float* x, BlockQ4_0& out) {
  uint8_t q[32];
  out.d = float_to_half_saturating(levels_about_zero<8>(x, q));
  pack_nibbles(q, out.qs);
}

void encode_block(const float* x, BlockQ5_0& out) {
  uint8_t q[32];
  out.d = float_to_half_saturating(levels_about_zero<16>(x, q));
  pack_nibbles(q, out.qs);
  pack_fifth_bits(q, out.qh);
}

void encode_block(const float* x, BlockQ4_1& out) {
  uint8_t q[32];
  const Range range = range_of(x);
  out.d = float_to_half_saturating(levels_from_low<15>(x, range, q));
  out.m = float_to_half_saturating(range.low);
  pack_nibbles(q, out.qs);
}

void encode_block(const float* x, BlockQ5_1& out) {
  uint8_t q[32];
  const Range range = range_of(x);
  out.d = float_to_half_saturating(levels_from_low<31>(x, range, q));
  out.m = float_to_half_saturating(range.low);
  pack_nibbles(q, out.qs);
  pack_fifth_bits(q, out.qh);
}

void encode_block(const float* x, BlockQ8_0& out) {
  const float d = std::fabs(extreme(x, 32)) / 127.0f;
  const float inverse = inverse_or_zero(d);
  out.d = float_to_half_saturating(d);
  for (int j = 0; j < 32; ++j) {
    const float v = std::min(127.0f, std::max(-127.0f, x[j] * inverse));
    out.qs[j] = static_cast<int8_t>(std::lround(v));
  }
}

void encode(uint32_t dtype, const float* in, std::byte* out, uint64_t elements) {
  if (is_weight_dtype(dtype) && elements % brim_dtype_block_elements(dtype) != 0) {
    fail(BRIM_INVALID_ARGUMENT, "cannot encode {} elements as {}, whose blocks have {}", elements,
         brim_dtype_name(dtype), brim_dtype_block_elements(dtype));
  }
  switch (dtype) {
    case BRIM_DTYPE_F32:
      std::memcpy(out, in, elements * sizeof(float));
      return;
    case BRIM_DTYPE_F64:
      return numbers<double>(in, out, elements, [](float v) { return static_cast<double>(v); });
    case BRIM_DTYPE_F16:
      return numbers<uint16_t>(in, out, elements, float_to_half_saturating);
    case BRIM_DTYPE_BF16:
      return numbers<uint16_t>(in, out, elements, float_to_bf16);
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
      fail(BRIM_UNSUPPORTED, "cannot encode weights as data type {} ({}); use a floating-point or block type", dtype,
           brim_dtype_name(dtype));
  }
}

}  // namespace brim::model
