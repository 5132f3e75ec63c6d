// Decoders against the second decoder of brim-check's op suite on random bytes; encoders by the error they leave.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <model/quantize/codec.hpp>
#include <model/quantize/half.hpp>
#include <random>
#include <string>
#include <vector>

#include "../../sdk/conformance/ops/decode.hpp"
#include "../support/failure.hpp"

using namespace brim::model;

namespace {

constexpr uint32_t kBlockTypes[] = {BRIM_DTYPE_Q4_0, BRIM_DTYPE_Q4_1, BRIM_DTYPE_Q5_0,   BRIM_DTYPE_Q5_1,
                                    BRIM_DTYPE_Q8_0, BRIM_DTYPE_Q2_K, BRIM_DTYPE_Q3_K,   BRIM_DTYPE_Q4_K,
                                    BRIM_DTYPE_Q5_K, BRIM_DTYPE_Q6_K, BRIM_DTYPE_IQ4_NL, BRIM_DTYPE_IQ4_XS,
                                    BRIM_DTYPE_MXFP4};

std::vector<float> gaussian(size_t count, unsigned seed) {
  // Sum of twelve uniform numbers: the same on every platform, unlike std::normal_distribution.
  std::mt19937 random(seed);
  std::vector<float> out(count);
  for (float& x : out) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += static_cast<uint32_t>(random()) * 0x1p-32;
    x = static_cast<float>(sum);
  }
  return out;
}

std::vector<std::byte> encoded(uint32_t dtype, const std::vector<float>& x) {
  std::vector<std::byte> out(brim_dtype_row_bytes(dtype, x.size()));
  encode(dtype, x.data(), out.data(), x.size());
  return out;
}

std::vector<float> decoded(uint32_t dtype, const std::vector<std::byte>& bytes) {
  std::vector<float> out(bytes.size() / brim_dtype_block_bytes(dtype) * brim_dtype_block_elements(dtype));
  decode(dtype, bytes.data(), out.data(), out.size());
  return out;
}

// Root of the mean squared error over the root of the mean square.
double relative_error(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += (double(x[i]) - y[i]) * (double(x[i]) - y[i]);
    size += double(x[i]) * x[i];
  }
  return std::sqrt(error / size);
}

// Where a block's half-precision numbers stand, to keep random bytes from being NaN.
std::vector<size_t> halves_of(uint32_t dtype) {
  switch (dtype) {
    case BRIM_DTYPE_Q4_1:
    case BRIM_DTYPE_Q5_1:
    case BRIM_DTYPE_Q4_K:
    case BRIM_DTYPE_Q5_K:
      return {0, 2};
    case BRIM_DTYPE_Q2_K:
      return {80, 82};
    case BRIM_DTYPE_Q3_K:
      return {108};
    case BRIM_DTYPE_Q6_K:
      return {208};
    case BRIM_DTYPE_MXFP4:
      return {};
    default:
      return {0};
  }
}

}  // namespace

TEST_CASE("every block type decodes random bytes as the format says") {
  std::mt19937 random(7);
  for (const uint32_t dtype : kBlockTypes) {
    CAPTURE(std::string(brim_dtype_name(dtype)));
    const size_t block = brim_dtype_block_bytes(dtype);
    std::vector<std::byte> bytes(block * 500);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random() & 255);
    for (size_t at = 0; at < bytes.size(); at += block) {
      for (const size_t half : halves_of(dtype)) bytes[at + half + 1] &= std::byte{0xBB};     // exponent below 31
      if (dtype == BRIM_DTYPE_MXFP4 && bytes[at] > std::byte{250}) bytes[at] = std::byte{0};  // within F32's range
    }
    const auto ours = decoded(dtype, bytes);
    const auto expected = check::decode_by_format(dtype, bytes);
    REQUIRE(ours.size() == expected.size());
    size_t wrong = 0;
    for (size_t i = 0; i < ours.size(); ++i) {
      // A few roundings of F32; where a minimum is taken away, relative to the larger term, which is below 2^28.
      const double allowed = dtype == BRIM_DTYPE_MXFP4 ? 0 : 4e-7 * std::fabs(expected[i]);
      const double slack = halves_of(dtype).size() == 2 ? 1e-6 * 65504 * 63 : 0;
      wrong += !(std::fabs(ours[i] - expected[i]) <= allowed + slack);
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("types with a minimum decode to F32 precision at the scale of weights") {
  for (const uint32_t dtype : {BRIM_DTYPE_Q4_1, BRIM_DTYPE_Q5_1, BRIM_DTYPE_Q2_K, BRIM_DTYPE_Q4_K, BRIM_DTYPE_Q5_K}) {
    CAPTURE(std::string(brim_dtype_name(dtype)));
    const auto bytes = encoded(dtype, gaussian(256 * 200, 3));
    const auto ours = decoded(dtype, bytes);
    const auto expected = check::decode_by_format(dtype, bytes);
    double worst = 0;
    for (size_t i = 0; i < ours.size(); ++i) worst = std::max(worst, std::fabs(ours[i] - expected[i]));
    CHECK(worst < 2e-6);
  }
}

TEST_CASE("all 65536 halves and bfloats decode exactly, and encode back to themselves") {
  for (const uint32_t dtype : {BRIM_DTYPE_F16, BRIM_DTYPE_BF16}) {
    std::vector<std::byte> bytes;
    for (unsigned bits = 0; bits < 65536; ++bits) {
      const bool finite = dtype == BRIM_DTYPE_F16 ? (bits & 0x7C00) != 0x7C00 : (bits & 0x7F80) != 0x7F80;
      if (!finite) continue;
      bytes.push_back(static_cast<std::byte>(bits & 255));
      bytes.push_back(static_cast<std::byte>(bits >> 8));
    }
    const auto values = decoded(dtype, bytes);
    const auto expected = check::decode_by_format(dtype, bytes);
    size_t wrong = 0;
    for (size_t i = 0; i < values.size(); ++i) wrong += double(values[i]) != expected[i];
    CHECK(wrong == 0);
    CHECK(encoded(dtype, values) == bytes);
  }
}

TEST_CASE("halves round to the nearest, ties to even, and leave their range at 65520") {
  CHECK(float_to_half(1.0f + 0x1p-11f) == 0x3C00);      // halfway, down to even
  CHECK(float_to_half(1.0f + 3 * 0x1p-11f) == 0x3C02);  // halfway, up to even
  CHECK(float_to_half(1.0f + 0x1.02p-11f) == 0x3C01);   // above halfway
  CHECK(float_to_half(0x1p-25f) == 0x0000);             // half of the smallest: to even
  CHECK(float_to_half(0x1.02p-25f) == 0x0001);
  CHECK(float_to_half(-0x1.FF8p-15f) == 0x83FF);  // the largest subnormal
  CHECK(float_to_half(65519.0f) == 0x7BFF);
  CHECK(float_to_half(65520.0f) == 0x7C00);
  CHECK(float_to_half_saturating(-1e10f) == 0xFBFF);
  CHECK(std::isnan(half_to_float(float_to_half(std::numeric_limits<float>::quiet_NaN()))));
  CHECK(std::isinf(half_to_float(0x7C00)));
  CHECK(float_to_bf16(1.0f + 0x1p-8f) == 0x3F80);
  CHECK(float_to_bf16(1.0f + 3 * 0x1p-8f) == 0x3F82);
  CHECK(std::isnan(bf16_to_float(float_to_bf16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST_CASE("on Gaussian weights every type's error is at most 3 % above the common encoders'") {
  // Relative RMS error of the encoders that such files are commonly made by (libggml-base of llama.cpp, September 2026,
  // no importance matrix), measured on 2^20 Gaussian numbers.
  struct Expectation {
    uint32_t dtype;
    double error;
  };
  const Expectation expectations[] = {
      {BRIM_DTYPE_F16, 0.00021},    {BRIM_DTYPE_BF16, 0.00166},   {BRIM_DTYPE_Q4_0, 0.08574},
      {BRIM_DTYPE_Q4_1, 0.07812},   {BRIM_DTYPE_Q5_0, 0.04261},   {BRIM_DTYPE_Q5_1, 0.03779},
      {BRIM_DTYPE_Q8_0, 0.00534},   {BRIM_DTYPE_Q2_K, 0.29581},   {BRIM_DTYPE_Q3_K, 0.15052},
      {BRIM_DTYPE_Q4_K, 0.07120},   {BRIM_DTYPE_Q5_K, 0.03604},   {BRIM_DTYPE_Q6_K, 0.01771},
      {BRIM_DTYPE_IQ4_NL, 0.07604}, {BRIM_DTYPE_IQ4_XS, 0.07662}, {BRIM_DTYPE_MXFP4, 0.11505}};
  const auto x = gaussian(256 * 512, 1);
  for (const auto& [dtype, expected] : expectations) {
    CAPTURE(std::string(brim_dtype_name(dtype)));
    const double error = relative_error(x, decoded(dtype, encoded(dtype, x)));
    CHECK(error < expected * 1.03);
    CHECK(error > expected * 0.8);  // less would mean that more bits are read than there are
  }
}

TEST_CASE("one large weight in a block costs the others no more than its step") {
  for (const uint32_t dtype : kBlockTypes) {
    CAPTURE(std::string(brim_dtype_name(dtype)));
    auto x = gaussian(256 * 16, 5);
    for (size_t i = 0; i < x.size(); i += 256) x[i + i / 256 * 7] = 30.0f * (i % 512 ? 1.0f : -1.0f);
    const auto y = decoded(dtype, encoded(dtype, x));
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::fabs(double(x[i]) - y[i]));
    // 2 bits: four levels over a range of about 34, and the minimum's own 4 bits.
    const double step = dtype == BRIM_DTYPE_Q2_K ? 34.0 / 3 : dtype == BRIM_DTYPE_Q3_K ? 34.0 / 4 : 34.0 / 7;
    CHECK(worst < step);
  }
}

TEST_CASE("encoding what was decoded changes nothing where the levels include the block's extreme") {
  for (const uint32_t dtype : {BRIM_DTYPE_Q8_0, BRIM_DTYPE_Q4_0, BRIM_DTYPE_Q5_0, BRIM_DTYPE_MXFP4}) {
    CAPTURE(std::string(brim_dtype_name(dtype)));
    const auto once = decoded(dtype, encoded(dtype, gaussian(256 * 64, 9)));
    CHECK(decoded(dtype, encoded(dtype, once)) == once);
  }
}

TEST_CASE("zeros stay zeros, and a row's blocks do not see each other") {
  for (const uint32_t dtype : kBlockTypes) {
    CAPTURE(std::string(brim_dtype_name(dtype)));
    const std::vector<float> zeros(512, 0.0f);
    CHECK(decoded(dtype, encoded(dtype, zeros)) == zeros);
    const auto x = gaussian(512, 11);
    auto changed = x;
    for (size_t i = 0; i < 256; ++i) changed[i] *= 3;
    const auto a = decoded(dtype, encoded(dtype, x)), b = decoded(dtype, encoded(dtype, changed));
    CHECK(std::equal(a.begin() + 256, a.end(), b.begin() + 256));
  }
}

TEST_CASE("constant, tiny, huge and one-sided blocks stay near what they were") {
  for (const uint32_t dtype : kBlockTypes) {
    CAPTURE(std::string(brim_dtype_name(dtype)));
    const bool is_coarse = dtype == BRIM_DTYPE_Q2_K || dtype == BRIM_DTYPE_Q3_K || dtype == BRIM_DTYPE_MXFP4;
    for (const float value : {1.0f, -1.0f, 1e-3f, -5e3f}) {
      CAPTURE(value);
      const std::vector<float> x(256, value);
      // 1e-3 makes super-block scales of 2^-22, where halves have but two bits.
      const double allowed = is_coarse ? 0.26 : value == 1e-3f ? 0.04 : 0.02;
      CHECK(relative_error(x, decoded(dtype, encoded(dtype, x))) < allowed);
    }
    auto positive = gaussian(256, 2);
    for (float& v : positive) v = std::fabs(v) + 1.0f;
    CHECK(relative_error(positive, decoded(dtype, encoded(dtype, positive))) < (is_coarse ? 0.25 : 0.1));
    // Beyond what a half-precision scale can say: anything but NaN.
    for (const float extreme : {1e-30f, 1e30f, 3e38f}) {
      CAPTURE(extreme);
      std::vector<float> x = gaussian(256, 4);
      for (float& v : x) v = std::clamp(v, -1.0f, 1.0f) * extreme;
      for (const float v : decoded(dtype, encoded(dtype, x))) CHECK_FALSE(std::isnan(v));
    }
  }
}

TEST_CASE("types that hold no weights and parts of blocks are refused") {
  std::byte bytes[64] = {};
  float values[64] = {};
  CHECK_FAILS(BRIM_UNSUPPORTED, "i32", decode(BRIM_DTYPE_I32, bytes, values, 1));
  CHECK_FAILS(BRIM_UNSUPPORTED, "data type 999", encode(999, values, bytes, 1));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "31 elements of q8_0, whose blocks have 32",
              decode(BRIM_DTYPE_Q8_0, bytes, values, 31));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "whose blocks have 256", encode(BRIM_DTYPE_Q4_K, values, bytes, 32));
}
