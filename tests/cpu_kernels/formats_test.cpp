// What decode_row and encode_row promise.
#include <doctest/doctest.h>

#include <bit>

#include "formats/half.hpp"
#include "formats/rows.hpp"
#include "weights.hpp"

using namespace kernel_test;

TEST_CASE("every format decodes to the values its description gives, at any alignment") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : all_dtypes()) {
    CAPTURE(brim_dtype_name(dtype));
    REQUIRE(brim_cpu::can_decode(dtype));
    const int64_t k = 2048;
    const std::vector<uint8_t> row = random_weights(dtype, 1, k, dtype);
    double largest = 0;
    for (int64_t i = 0; i < k; ++i) largest = std::max(largest, std::fabs(element(dtype, row.data(), i)));
    for (const size_t shift : {0, 1, 2, 7}) {
      std::vector<uint8_t> moved(row.size() + shift);
      std::memcpy(moved.data() + shift, row.data(), row.size());
      std::vector<float> decoded(static_cast<size_t>(k));
      brim_cpu::decode_row(dtype, moved.data() + shift, decoded.data(), k);
      // Exact up to the F32 roundings of one product and one difference of magnitudes near the block's largest weight.
      for (int64_t i = 0; i < k; ++i) {
        const double expected = element(dtype, row.data(), i);
        REQUIRE(std::fabs(decoded[static_cast<size_t>(i)] - expected) <= largest * 0x1p-23);
      }
    }
  }
}

TEST_CASE("formats without minima decode exactly") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_BF16, BRIM_DTYPE_Q4_0, BRIM_DTYPE_Q5_0,
                               BRIM_DTYPE_Q8_0, BRIM_DTYPE_Q3_K, BRIM_DTYPE_IQ4_NL, BRIM_DTYPE_MXFP4}) {
    CAPTURE(brim_dtype_name(dtype));
    const std::vector<uint8_t> row = random_weights(dtype, 1, 1024, dtype + 1);
    std::vector<float> decoded(1024);
    brim_cpu::decode_row(dtype, row.data(), decoded.data(), 1024);
    for (int64_t i = 0; i < 1024; ++i) {
      REQUIRE(static_cast<double>(decoded[static_cast<size_t>(i)]) == element(dtype, row.data(), i));
    }
  }
}

TEST_CASE("MXFP4 decodes at both ends of its exponent") {
  if (!host_runs_variant()) return;
  for (const int exponent : {0, 1, 2, 127, 254, 255}) {
    uint8_t block[17];
    block[0] = static_cast<uint8_t>(exponent);
    for (int i = 0; i < 16; ++i) block[1 + i] = static_cast<uint8_t>(i % 4 * 17);  // magnitudes up to 1.5
    float decoded[32];
    brim_cpu::decode_row(BRIM_DTYPE_MXFP4, block, decoded, 32);
    for (int i = 0; i < 32; ++i) CHECK(decoded[i] == static_cast<float>(element(BRIM_DTYPE_MXFP4, block, i)));
  }
}

TEST_CASE(
    "all 65536 F16 values convert alike in integer arithmetic, in hardware and in rows, and survive a round trip") {
  if (!host_runs_variant()) return;
  for (uint32_t h = 0; h < 65536; ++h) {
    const uint8_t bytes[2] = {static_cast<uint8_t>(h), static_cast<uint8_t>(h >> 8)};
    const double expected = half_at(bytes);
    const float soft = brim_cpu::half_to_float_soft(static_cast<uint16_t>(h));
    float row;
    brim_cpu::decode_row(BRIM_DTYPE_F16, bytes, &row, 1);
    if (std::isnan(expected)) {
      REQUIRE(std::isnan(soft));
      REQUIRE(std::isnan(row));
      const uint16_t back = brim_cpu::float_to_half_soft(soft);
      REQUIRE((back & 0x7fffu) > 0x7c00u);
    } else {
      REQUIRE(static_cast<double>(soft) == expected);
      REQUIRE(std::bit_cast<uint32_t>(row) == std::bit_cast<uint32_t>(soft));
      REQUIRE(brim_cpu::float_to_half_soft(soft) == h);
    }
  }
}

namespace {

// What encode_row makes of x, in the vector part of a row and in its end.
uint16_t stored_half(float x) {
  const std::vector<float> row(9, x);
  uint16_t stored[9];
  brim_cpu::encode_row(BRIM_DTYPE_F16, row.data(), stored, 9);
  REQUIRE(stored[0] == stored[8]);
  return stored[0];
}

}  // namespace

TEST_CASE("F32 to F16 rounds to nearest even at every exponent, in integer arithmetic as in hardware") {
  if (!host_runs_variant()) return;
  for (uint32_t h = 0; h < 0x7c00u; ++h) {  // halfway between neighbours, and one F32 step to either side
    const float low = brim_cpu::half_to_float_soft(static_cast<uint16_t>(h));
    const float high = h == 0x7bffu ? 65536.0f : brim_cpu::half_to_float_soft(static_cast<uint16_t>(h + 1));
    const float middle = 0.5f * (low + high);
    const uint32_t even = h % 2 == 0 ? h : h + 1;
    for (const auto convert : {stored_half, brim_cpu::float_to_half_soft}) {
      REQUIRE(convert(middle) == even);
      REQUIRE(convert(std::nextafter(middle, 0.0f)) == h);
      REQUIRE(convert(std::nextafter(middle, 1e9f)) == h + 1);
      REQUIRE(convert(-middle) == (even | 0x8000u));
    }
  }
  CHECK(brim_cpu::float_to_half_soft(INFINITY) == 0x7c00u);
  CHECK(brim_cpu::float_to_half_soft(1e30f) == 0x7c00u);
}

TEST_CASE("the formats of the KV cache encode to the nearest value they can hold") {
  if (!host_runs_variant()) return;
  std::vector<float> x = random_floats(1024, 5);
  for (size_t i = 0; i < 32; ++i) x[i] = 0;
  for (const uint32_t dtype : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_BF16, BRIM_DTYPE_Q8_0}) {
    CAPTURE(brim_dtype_name(dtype));
    REQUIRE(brim_cpu::can_encode(dtype));
    std::vector<uint8_t> stored(brim_dtype_row_bytes(dtype, x.size()));
    brim_cpu::encode_row(dtype, x.data(), stored.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t block = i / 32 * 32;
      double largest = 0;
      for (size_t j = block; j < block + 32; ++j) largest = std::max(largest, std::fabs(static_cast<double>(x[j])));
      // Half a step, plus for Q8_0 what rounding the scale to F16 moves 127 steps by.
      const double bound = dtype == BRIM_DTYPE_F32    ? 0
                           : dtype == BRIM_DTYPE_F16  ? std::fabs(x[i]) * 0x1p-11 + 0x1p-25
                           : dtype == BRIM_DTYPE_BF16 ? std::fabs(x[i]) * 0x1p-8
                                                      : largest / 127 * 0.5 * 1.001 + largest * 0x1p-11;
      REQUIRE(std::fabs(element(dtype, stored.data(), static_cast<int64_t>(i)) - x[i]) <= bound);
    }
  }
}

TEST_CASE("a NaN or an Inf is still one after encoding") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : {BRIM_DTYPE_F16, BRIM_DTYPE_BF16, BRIM_DTYPE_Q8_0}) {
    CAPTURE(brim_dtype_name(dtype));
    for (const float bad : {std::nanf(""), INFINITY, -INFINITY, std::bit_cast<float>(0x7f800001u)}) {
      std::vector<float> x(64, 1.0f);
      x[40] = bad;
      std::vector<uint8_t> stored(brim_dtype_row_bytes(dtype, 64));
      brim_cpu::encode_row(dtype, x.data(), stored.data(), 64);
      std::vector<float> back(64);
      brim_cpu::decode_row(dtype, stored.data(), back.data(), 64);
      CHECK_FALSE(std::isfinite(back[40]));
      CHECK(std::isnan(bad) <= std::isnan(back[40]));
      CHECK(back[0] == doctest::Approx(1.0f).epsilon(0.01));
    }
  }
}

TEST_CASE("types that hold no weights are refused") {
  for (const uint32_t dtype : {BRIM_DTYPE_NONE, BRIM_DTYPE_F64, BRIM_DTYPE_I8, BRIM_DTYPE_I32, 9999u}) {
    CHECK_FALSE(brim_cpu::can_decode(dtype));
    CHECK_FALSE(brim_cpu::can_encode(dtype));
  }
}
