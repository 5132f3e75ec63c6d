// Packed weights: nothing is lost in them, whatever ranges they are packed in, and products have the bits of the
// file's.
#include "matmul/packed.hpp"

#include <doctest/doctest.h>

#include <bit>

#include "formats/rows.hpp"
#include "matmul/matmul.hpp"
#include "weights.hpp"

using namespace kernel_test;

namespace {

constexpr int64_t kRows = 48, kColumns = 5632;  // six groups; ranges of k with many tokens

std::vector<uint32_t> packed_dtypes() {
  std::vector<uint32_t> dtypes = quantised_dtypes();
  dtypes.push_back(BRIM_DTYPE_BF16);
  return dtypes;
}

std::vector<uint8_t> packed(uint32_t dtype, const std::vector<uint8_t>& weights, int64_t per_call) {
  const size_t row_bytes = brim_dtype_row_bytes(dtype, kColumns);
  std::vector<uint8_t> out(weights.size());
  for (int64_t r = 0; r < kRows; r += per_call) {
    brim_cpu::pack_rows(dtype, weights.data() + static_cast<size_t>(r) * row_bytes, row_bytes, r,
                        std::min(per_call, kRows - r), out.data());
  }
  return out;
}

}  // namespace

TEST_CASE("a packed row comes back byte for byte, whatever ranges it was packed in") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : packed_dtypes()) {
    CAPTURE(brim_dtype_name(dtype));
    REQUIRE(brim_cpu::packed_block(dtype) != 0);
    REQUIRE(kColumns % brim_cpu::packed_block(dtype) == 0);
    const size_t row_bytes = brim_dtype_row_bytes(dtype, kColumns);
    const std::vector<uint8_t> weights = random_weights(dtype, kRows, kColumns, 70 + dtype);
    const std::vector<uint8_t> whole = packed(dtype, weights, kRows);
    CHECK(whole != weights);
    CHECK(packed(dtype, weights, 13) == whole);
    for (const int64_t r : {0, 7, 8, 45}) {
      const uint8_t* row = weights.data() + static_cast<size_t>(r) * row_bytes;
      std::vector<uint8_t> back(row_bytes);
      brim_cpu::unpack_row(dtype, whole.data(), row_bytes, r, 0, kColumns, back.data());
      CHECK(std::equal(back.begin(), back.end(), row));
      brim_cpu::unpack_row(dtype, whole.data(), row_bytes, r, 512, 256, back.data());
      const size_t from = brim_dtype_row_bytes(dtype, 512);
      CHECK(std::equal(back.begin(), back.begin() + static_cast<std::ptrdiff_t>(from / 2),
                       row + static_cast<std::ptrdiff_t>(from)));
      std::vector<float> expected(kColumns), got(kColumns);
      brim_cpu::decode_row(dtype, row, expected.data(), kColumns);
      brim_cpu::decode_packed_row(dtype, whole.data(), row_bytes, r, 0, kColumns, got.data());
      CHECK(got == expected);
    }
  }
  CHECK(brim_cpu::packed_block(BRIM_DTYPE_F32) == 0);
  CHECK(brim_cpu::packed_block(BRIM_DTYPE_F16) == 0);
}

TEST_CASE("products with packed weights have the bits of those with the file's") {
  if (!host_runs_variant()) return;
  constexpr int64_t kTokens = 131;
  const std::vector<float> x = random_floats(static_cast<size_t>(kTokens * kColumns), 71);
  for (const uint32_t dtype : packed_dtypes()) {
    const size_t row_bytes = brim_dtype_row_bytes(dtype, kColumns);
    const std::vector<uint8_t> weights = random_weights(dtype, kRows, kColumns, 80 + dtype);
    const std::vector<uint8_t> same = packed(dtype, weights, kRows);
    for (const uint32_t numerics : {BRIM_NUMERICS_FAST, BRIM_NUMERICS_STRICT}) {
      const brim_cpu::MatmulKernel& kernel = *brim_cpu::find_matmul(dtype, numerics, kColumns);
      REQUIRE((kernel.multiply_packed != nullptr));
      const size_t stride = kernel.activation_bytes(kColumns);
      std::vector<std::byte> prepared(stride * kTokens);
      for (int64_t t = 0; t < kTokens; ++t) {
        kernel.prepare(x.data() + t * kColumns, prepared.data() + static_cast<size_t>(t) * stride, kColumns);
      }
      for (const int64_t tokens : {int64_t{1}, int64_t{2}, int64_t{7}, kTokens}) {
        // One token takes two streams of three groups, of two and a group more, none and one.
        for (const auto& [begin, end] : {std::pair{0, 48}, std::pair{0, 40}, std::pair{40, 48}}) {
          CAPTURE(brim_dtype_name(dtype));
          CAPTURE(tokens);
          CAPTURE(begin);
          std::vector<float> expected(static_cast<size_t>(tokens * kRows), 99.0f), got = expected;
          kernel.multiply(weights.data(), row_bytes, begin, end, prepared.data(), stride, tokens, expected.data(),
                          kRows, kColumns);
          kernel.multiply_packed(same.data(), row_bytes, begin, end, prepared.data(), stride, tokens, got.data(), kRows,
                                 kColumns);
          CHECK(std::equal(got.begin(), got.end(), expected.begin(),
                           [](float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }));
        }
      }
    }
  }
}
