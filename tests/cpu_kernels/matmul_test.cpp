// What the matmul kernels promise: exactness in strict numerics, a bounded error in fast numerics, and bits that depend
// on nothing but the weight row and the activation row.
#include "matmul/matmul.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

#include "matmul/activation.hpp"
#include "weights.hpp"

using namespace kernel_test;
using brim_cpu::MatmulKernel;

namespace {

// Activation rows prepared for a kernel, 64-byte aligned.
class Prepared {
 public:
  Prepared(const MatmulKernel& kernel, const std::vector<float>& x, int64_t k)
      : stride_(kernel.activation_bytes(k)), bytes_(stride_ * (x.size() / static_cast<size_t>(k)) + 64, 0xff) {
    for (size_t t = 0; t * static_cast<size_t>(k) < x.size(); ++t) {
      kernel.prepare(x.data() + t * static_cast<size_t>(k), mutable_data() + t * stride_, k);
    }
  }
  const uint8_t* row(int64_t t) const { return const_cast<Prepared*>(this)->mutable_data() + t * stride_; }
  size_t stride() const { return stride_; }

 private:
  uint8_t* mutable_data() { return bytes_.data() + (64 - reinterpret_cast<uintptr_t>(bytes_.data()) % 64) % 64; }
  size_t stride_;
  std::vector<uint8_t> bytes_;
};

std::vector<float> multiply(const MatmulKernel& kernel, const std::vector<uint8_t>& weights, int64_t rows,
                            const Prepared& a, int64_t tokens, int64_t k, bool reference = false) {
  std::vector<float> out(static_cast<size_t>(rows * tokens), 99.0f);
  const size_t row_bytes = brim_dtype_row_bytes(kernel.dtype, static_cast<uint64_t>(k));
  (reference ? kernel.reference : kernel.multiply)(weights.data(), row_bytes, 0, rows, a.row(0), a.stride(), tokens,
                                                   out.data(), rows, k);
  return out;
}

std::vector<double> exact(uint32_t dtype, const std::vector<uint8_t>& weights, int64_t rows,
                          const std::vector<float>& x, int64_t k) {
  const size_t row_bytes = brim_dtype_row_bytes(dtype, static_cast<uint64_t>(k));
  std::vector<double> decoded(static_cast<size_t>(rows * k));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < k; ++i) {
      decoded[static_cast<size_t>(r * k + i)] = element(dtype, weights.data() + static_cast<size_t>(r) * row_bytes, i);
    }
  }
  std::vector<double> out;
  for (size_t t = 0; t < x.size() / static_cast<size_t>(k); ++t) {
    for (int64_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (int64_t i = 0; i < k; ++i) {
        sum += decoded[static_cast<size_t>(r * k + i)] * x[t * static_cast<size_t>(k) + static_cast<size_t>(i)];
      }
      out.push_back(sum);
    }
  }
  return out;
}

double rms(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum / static_cast<double>(v.size()));
}

// Root mean square of (got - expected), relative to that of expected.
double relative_error(const std::vector<float>& got, const std::vector<double>& expected) {
  std::vector<double> difference(expected.size());
  for (size_t i = 0; i < expected.size(); ++i) difference[i] = got[i] - expected[i];
  return rms(difference) / rms(expected);
}

// The kernel for rows of whole blocks.
const MatmulKernel* kernel_of(uint32_t dtype, uint32_t numerics) {
  return brim_cpu::find_matmul(dtype, numerics, 1024);
}

bool same_bits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

}  // namespace

TEST_CASE("every format has a kernel in both numerics, and other types have none") {
  for (const uint32_t dtype : all_dtypes()) {
    CAPTURE(brim_dtype_name(dtype));
    for (const uint32_t numerics : {BRIM_NUMERICS_FAST, BRIM_NUMERICS_STRICT}) {
      const MatmulKernel* kernel = kernel_of(dtype, numerics);
      REQUIRE(kernel != nullptr);
      CHECK(kernel->dtype == dtype);
      CHECK(kernel->activation_bytes(1024) % 64 == 0);
    }
    CHECK(kernel_of(dtype, BRIM_NUMERICS_STRICT)->activation == brim_cpu::Activation::kF32);
  }
  CHECK(kernel_of(BRIM_DTYPE_I32, BRIM_NUMERICS_FAST) == nullptr);
}

TEST_CASE("strict products equal the float64 dot product to F32 precision") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : all_dtypes()) {
    CAPTURE(brim_dtype_name(dtype));
    const MatmulKernel& kernel = *kernel_of(dtype, BRIM_NUMERICS_STRICT);
    const int64_t k = 2048, rows = 21, tokens = 5;
    const std::vector<uint8_t> weights = random_weights(dtype, rows, k, 10 + dtype);
    const std::vector<float> x = random_floats(static_cast<size_t>(tokens * k), 11);
    const std::vector<double> expected = exact(dtype, weights, rows, x, k);
    CHECK(relative_error(multiply(kernel, weights, rows, Prepared(kernel, x, k), tokens, k), expected) < 1e-6);
  }
}

// Rows of `blocks` blocks of `n` elements, each scaled differently; block 1 is zero, 2 too small to be scaled, 3 and 4
// have a NaN and an Inf.
std::vector<float> rows_of_blocks(int64_t blocks, int64_t n) {
  std::vector<float> x = random_floats(static_cast<size_t>(blocks * n), 23);
  for (int64_t b = 0; b < blocks; ++b) {
    for (int64_t i = 0; i < n; ++i) {
      float& v = x[static_cast<size_t>(b * n + i)];
      v = b == 1 ? 0.0f : std::ldexp(v, b == 2 ? -140 : static_cast<int>(b) - 8);
    }
  }
  x[static_cast<size_t>(3 * n + 5)] = std::nanf("");
  x[static_cast<size_t>(4 * n + 31)] = -INFINITY;
  return x;
}

// The definition of a block's codes: x * (127 / largest), rounded to nearest even; its scale is returned.
float expect_codes(const float* x, int n, const int8_t* q) {
  float largest = 0;
  bool finite = true;
  for (int i = 0; i < n; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
    finite = finite && std::isfinite(x[i]);
  }
  const bool scaled = finite && 127.0f / largest <= std::numeric_limits<float>::max();
  for (int i = 0; i < n; ++i) {
    CHECK(static_cast<float>(q[i]) == (scaled ? std::nearbyint(x[i] * (127.0f / largest)) : 0.0f));
  }
  return !finite ? std::nanf("") : scaled ? largest / 127.0f : 0.0f;
}

int sum_codes(const int8_t* q, int n) { return std::accumulate(q, q + n, 0); }

bool same_scale(float a, float b) { return (std::isnan(a) && std::isnan(b)) || same_bits(a, b); }

TEST_CASE("8-bit activations are the nearest codes, with their sums") {
  if (!host_runs_variant()) return;
  constexpr int64_t kBlocks = 19;  // not a multiple of any vector's lanes
  const std::vector<float> flat = rows_of_blocks(kBlocks, 32), super = rows_of_blocks(kBlocks, 256);
  std::vector<brim_cpu::FlatActivation> a(kBlocks + 2);
  brim_cpu::prepare_flat(flat.data(), a.data(), kBlocks * 32);
  std::vector<brim_cpu::SuperActivation> b(kBlocks + 1);
  brim_cpu::prepare_super(super.data(), b.data(), kBlocks * 256);
  for (int64_t i = 0; i < kBlocks; ++i) {
    CAPTURE(i);
    const auto& f = a[static_cast<size_t>(i)];
    const float d = expect_codes(flat.data() + i * 32, 32, f.q);
    CHECK(same_scale(f.d, d));
    CHECK(f.start == -128 * sum_codes(f.q, 32));
    CHECK(same_scale(f.sum, d * static_cast<float>(sum_codes(f.q, 32))));
    const auto& s = b[static_cast<size_t>(i)];
    CHECK(same_scale(s.d, expect_codes(super.data() + i * 256, 256, s.q)));
    for (int g = 0; g < 16; ++g) CHECK(s.sums[g] == sum_codes(s.q + 16 * g, 16));
    for (int g = 0; g < 8; ++g) CHECK(s.sums32[g] == sum_codes(s.q + 32 * g, 32));
  }
}

TEST_CASE("fast products stay within the rounding of 8-bit activations") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : quantised_dtypes()) {
    CAPTURE(brim_dtype_name(dtype));
    const MatmulKernel& kernel = *kernel_of(dtype, BRIM_NUMERICS_FAST);
    const int64_t k = 2048, rows = 24, tokens = 8;
    const std::vector<uint8_t> weights = random_weights(dtype, rows, k, 20 + dtype);
    const std::vector<float> x = random_floats(static_cast<size_t>(tokens * k), 21);
    const std::vector<double> expected = exact(dtype, weights, rows, x, k);
    // A normal block's largest value is about 2.1 (of 32) or 2.8 (of 256) sigma; rounding to 1/127 of it leaves an rms
    // error of 0.5 to 0.65 % per product.
    const double error = relative_error(multiply(kernel, weights, rows, Prepared(kernel, x, k), tokens, k), expected);
    CHECK(error < 0.009);
    CHECK(error > 1e-5);
  }
}

TEST_CASE("integer kernels give exactly the bits of their scalar definition") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : quantised_dtypes()) {
    CAPTURE(brim_dtype_name(dtype));
    const MatmulKernel& kernel = *kernel_of(dtype, BRIM_NUMERICS_FAST);
    for (const int64_t blocks : {1, 3, 9}) {
      const int64_t k = blocks * brim_dtype_block_elements(dtype), rows = 13, tokens = 7;
      const std::vector<uint8_t> weights = random_weights(dtype, rows, k, 30 + dtype);
      const Prepared a(kernel, random_floats(static_cast<size_t>(tokens * k), 31), k);
      const std::vector<float> fast = multiply(kernel, weights, rows, a, tokens, k);
      const std::vector<float> plain = multiply(kernel, weights, rows, a, tokens, k, true);
      for (size_t i = 0; i < fast.size(); ++i) REQUIRE(same_bits(fast[i], plain[i]));
    }
  }
}

TEST_CASE("extreme codes do not saturate a sum") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : quantised_dtypes()) {
    CAPTURE(brim_dtype_name(dtype));
    const MatmulKernel& kernel = *kernel_of(dtype, BRIM_NUMERICS_FAST);
    for (const int fill : {0x00, 0x7f, 0x80, 0xff, 0x0f, 0xf0}) {
      const int64_t k = 512, rows = 8;
      std::vector<uint8_t> weights = random_weights(dtype, rows, k, 40);
      const size_t step = brim_dtype_block_bytes(dtype);
      for (size_t at = 0; at < weights.size(); at += step) {
        std::vector<uint8_t> block(step, static_cast<uint8_t>(fill));
        for (const int offset : scale_offsets(dtype))
          std::memcpy(block.data() + offset, weights.data() + at + offset, 2);
        if (dtype == BRIM_DTYPE_MXFP4) block[0] = 124;
        std::memcpy(weights.data() + at, block.data(), step);
      }
      std::vector<float> x(static_cast<size_t>(2 * k), 1.0f);
      for (size_t i = static_cast<size_t>(k); i < x.size(); ++i) x[i] = -1.0f;
      const Prepared a(kernel, x, k);
      const std::vector<float> fast = multiply(kernel, weights, rows, a, 2, k);
      const std::vector<float> plain = multiply(kernel, weights, rows, a, 2, k, true);
      for (size_t i = 0; i < fast.size(); ++i) REQUIRE(same_bits(fast[i], plain[i]));
    }
  }
}

TEST_CASE("a product's bits do not depend on the token count, the batch, the row range or the alignment") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : all_dtypes()) {
    for (const uint32_t numerics : {BRIM_NUMERICS_FAST, BRIM_NUMERICS_STRICT}) {
      CAPTURE(brim_dtype_name(dtype));
      CAPTURE(numerics);
      const MatmulKernel& kernel = *kernel_of(dtype, numerics);
      const int64_t k = 768, rows = 29, all = 17;
      const size_t row_bytes = brim_dtype_row_bytes(dtype, k);
      const std::vector<uint8_t> weights = random_weights(dtype, rows, k, 50 + dtype);
      const Prepared a(kernel, random_floats(static_cast<size_t>(all * k), 51), k);
      std::vector<float> alone(static_cast<size_t>(rows * all));
      for (int64_t t = 0; t < all; ++t) {
        kernel.multiply(weights.data(), row_bytes, 0, rows, a.row(t), a.stride(), 1, alone.data() + t * rows, rows, k);
      }
      for (int64_t tokens = 1; tokens <= all; ++tokens) {
        const int64_t first = all - tokens;
        const size_t shift = static_cast<size_t>(tokens % 4);
        std::vector<uint8_t> moved(weights.size() + shift);
        std::memcpy(moved.data() + shift, weights.data(), weights.size());
        for (const auto& [begin, end] :
             {std::pair<int64_t, int64_t>{0, rows}, {3, 4}, {5, 22}, {7, 15}, {28, 29}, {6, 6}}) {
          const int64_t stride = rows + 3;
          std::vector<float> out(static_cast<size_t>(stride * tokens), 77.0f);
          kernel.multiply(moved.data() + shift, row_bytes, begin, end, a.row(first), a.stride(), tokens, out.data(),
                          stride, k);
          for (int64_t t = 0; t < tokens; ++t) {
            for (int64_t r = 0; r < stride; ++r) {
              const bool inside = r >= begin && r < end;
              const float expected = inside ? alone[static_cast<size_t>((first + t) * rows + r)] : 77.0f;
              REQUIRE(same_bits(out[static_cast<size_t>(t * stride + r)], expected));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("a long batch of long rows gives the bits of single tokens across token blocks and ranges of k") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : {BRIM_DTYPE_F16, BRIM_DTYPE_BF16, BRIM_DTYPE_Q4_0, BRIM_DTYPE_Q4_K}) {
    CAPTURE(brim_dtype_name(dtype));
    const MatmulKernel& kernel = *kernel_of(dtype, BRIM_NUMERICS_FAST);
    const int64_t k = 5632, rows = 9, tokens = 300;
    const std::vector<uint8_t> weights = random_weights(dtype, rows, k, 60);
    const Prepared a(kernel, random_floats(static_cast<size_t>(tokens * k), 61), k);
    const std::vector<float> together = multiply(kernel, weights, rows, a, tokens, k);
    std::vector<float> alone(static_cast<size_t>(rows));
    for (int64_t t = 0; t < tokens; ++t) {
      kernel.multiply(weights.data(), brim_dtype_row_bytes(dtype, k), 0, rows, a.row(t), a.stride(), 1, alone.data(),
                      rows, k);
      for (int64_t r = 0; r < rows; ++r) {
        REQUIRE(same_bits(together[static_cast<size_t>(t * rows + r)], alone[static_cast<size_t>(r)]));
      }
    }
  }
}

TEST_CASE("rows of unquantised weights may have any length") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_BF16}) {
    CAPTURE(brim_dtype_name(dtype));
    for (const int64_t k : {1, 2, 7, 8, 9, 17, 32, 255, 256, 257, 263, 511, 513}) {
      CAPTURE(k);
      const MatmulKernel& kernel = *brim_cpu::find_matmul(dtype, BRIM_NUMERICS_FAST, k);
      const int64_t rows = 10, tokens = 4;
      const std::vector<uint8_t> weights = random_weights(dtype, rows, k, 70 + static_cast<uint32_t>(k));
      const std::vector<float> x = random_floats(static_cast<size_t>(tokens * k), 71);
      const std::vector<double> expected = exact(dtype, weights, rows, x, k);
      // Half a unit in the last of eight bits is 2^-9 at the most, in the mean about half of it.
      const double most = kernel.activation == brim_cpu::Activation::kBfloat ? 0.003 : 1e-6;
      CHECK(relative_error(multiply(kernel, weights, rows, Prepared(kernel, x, k), tokens, k), expected) < most);
    }
  }
}

TEST_CASE("BF16 activations are those nearest, and their products are summed to F32 precision") {
  if (!host_runs_variant()) return;
  const MatmulKernel& kernel = *kernel_of(BRIM_DTYPE_BF16, BRIM_NUMERICS_FAST);
  if (kernel.activation != brim_cpu::Activation::kBfloat) return;
  const int64_t k = 2048, rows = 43, tokens = 13;
  const std::vector<uint8_t> weights = random_weights(BRIM_DTYPE_BF16, rows, k, 72);
  const std::vector<float> x = random_floats(static_cast<size_t>(tokens * k), 73);
  // Rounded here by arithmetic: to a multiple of 2^-7 of its binade, ties to even.
  std::vector<float> rounded(x.size());
  std::transform(x.begin(), x.end(), rounded.begin(), [](float v) {
    int exponent = 0;
    const double fraction = std::frexp(v, &exponent);
    return static_cast<float>(std::ldexp(std::nearbyint(fraction * 256), exponent - 8));
  });
  const std::vector<double> expected = exact(BRIM_DTYPE_BF16, weights, rows, rounded, k);
  const Prepared a(kernel, x, k);
  CHECK(relative_error(multiply(kernel, weights, rows, a, tokens, k), expected) < 1e-6);
  CHECK(relative_error(multiply(kernel, weights, rows, a, tokens, k, true), expected) < 1e-6);
}

TEST_CASE("in strict numerics a NaN or an Inf shows in every product it belongs to and in no other") {
  if (!host_runs_variant()) return;
  const float bads[] = {std::nanf(""), INFINITY};
  for (const uint32_t dtype : all_dtypes()) {
    CAPTURE(brim_dtype_name(dtype));
    const MatmulKernel& kernel = *kernel_of(dtype, BRIM_NUMERICS_STRICT);
    const int64_t k = 512, rows = 10, tokens = 5;
    const std::vector<uint8_t> weights = random_weights(dtype, rows, k, 80);
    for (const float bad : bads) {
      std::vector<float> x = random_floats(static_cast<size_t>(tokens * k), 81);
      x[static_cast<size_t>(2 * k + 300)] = bad;
      const std::vector<float> out = multiply(kernel, weights, rows, Prepared(kernel, x, k), tokens, k);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t r = 0; r < rows; ++r) REQUIRE(std::isfinite(out[static_cast<size_t>(t * rows + r)]) == (t != 2));
      }
    }
  }
  for (const float bad : bads) {  // a bad weight in the ragged end of a row
    const int64_t k = 261, rows = 10, tokens = 5;
    std::vector<uint8_t> weights = random_weights(BRIM_DTYPE_F32, rows, k, 82);
    std::memcpy(weights.data() + (4 * k + 260) * 4, &bad, 4);
    const MatmulKernel& kernel = *kernel_of(BRIM_DTYPE_F32, BRIM_NUMERICS_STRICT);
    const std::vector<float> x = random_floats(static_cast<size_t>(tokens * k), 83);
    const std::vector<float> out = multiply(kernel, weights, rows, Prepared(kernel, x, k), tokens, k);
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t r = 0; r < rows; ++r) REQUIRE(std::isfinite(out[static_cast<size_t>(t * rows + r)]) == (r != 4));
    }
  }
}

TEST_CASE("in fast numerics a NaN or an Inf makes every product of its token NaN") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : quantised_dtypes()) {
    CAPTURE(brim_dtype_name(dtype));
    const MatmulKernel& kernel = *kernel_of(dtype, BRIM_NUMERICS_FAST);
    const int64_t k = 512, rows = 10, tokens = 5;
    const std::vector<uint8_t> weights = random_weights(dtype, rows, k, 90);
    for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
      std::vector<float> x = random_floats(static_cast<size_t>(tokens * k), 91);
      x[static_cast<size_t>(2 * k + 300)] = bad;
      const std::vector<float> out = multiply(kernel, weights, rows, Prepared(kernel, x, k), tokens, k);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t r = 0; r < rows; ++r) REQUIRE(std::isnan(out[static_cast<size_t>(t * rows + r)]) == (t == 2));
      }
    }
  }
}

TEST_CASE("activations of zero, and too small for an 8-bit scale, give finite products") {
  if (!host_runs_variant()) return;
  for (const uint32_t dtype : quantised_dtypes()) {
    CAPTURE(brim_dtype_name(dtype));
    const MatmulKernel& kernel = *kernel_of(dtype, BRIM_NUMERICS_FAST);
    const std::vector<uint8_t> weights = random_weights(dtype, 8, 256, 95);
    for (const float value : {0.0f, 1e-45f, 1e-38f, 1e-36f}) {
      const std::vector<float> x(256, value);
      for (const float y : multiply(kernel, weights, 8, Prepared(kernel, x, 256), 1, 256)) {
        CHECK(std::fabs(y) <= 256 * 100 * value);
      }
    }
  }
}

TEST_CASE("kernels read nothing past the last weight") {
  if (!host_runs_variant()) return;
  const size_t page = 65536;
  auto* memory = static_cast<uint8_t*>(
      mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  REQUIRE(memory != MAP_FAILED);
  REQUIRE(mprotect(memory + page, page, PROT_NONE) == 0);
  for (const uint32_t dtype : all_dtypes()) {
    for (const uint32_t numerics : {BRIM_NUMERICS_FAST, BRIM_NUMERICS_STRICT}) {
      CAPTURE(brim_dtype_name(dtype));
      const MatmulKernel& kernel = *kernel_of(dtype, numerics);
      const int64_t k = 256, rows = 11;
      const std::vector<uint8_t> weights = random_weights(dtype, rows, k, 97);
      uint8_t* end = memory + page - weights.size();
      std::memcpy(end, weights.data(), weights.size());
      const Prepared a(kernel, random_floats(static_cast<size_t>(5 * k), 98), k);
      for (const int64_t tokens : {1, 5}) {
        std::vector<float> out(static_cast<size_t>(rows * tokens));
        kernel.multiply(end, weights.size() / static_cast<size_t>(rows), 0, rows, a.row(0), a.stride(), tokens,
                        out.data(), rows, k);
        const std::vector<float> expected = multiply(kernel, weights, rows, a, tokens, k);
        for (size_t i = 0; i < out.size(); ++i) REQUIRE(same_bits(out[i], expected[i]));
      }
    }
  }
  munmap(memory, 2 * page);
}

TEST_CASE("a matrix beyond 2^31 elements and 2^32 bytes is addressed to its last row") {
  if (!host_runs_variant()) return;
  const int64_t k = 8192, rows = int64_t{1} << 20, live = 11;
  const size_t row_bytes = brim_dtype_row_bytes(BRIM_DTYPE_Q4_0, k);
  const size_t size = row_bytes * static_cast<size_t>(rows);
  static_assert(sizeof(void*) == 8);
  REQUIRE(size > (size_t{1} << 32));
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    MESSAGE("skipped: no address space for ", size, " bytes");
    return;
  }
  const std::vector<uint8_t> weights = random_weights(BRIM_DTYPE_Q4_0, live, k, 99);
  std::memcpy(static_cast<uint8_t*>(memory) + size - weights.size(), weights.data(), weights.size());
  for (const uint32_t numerics : {BRIM_NUMERICS_FAST, BRIM_NUMERICS_STRICT}) {
    const MatmulKernel& kernel = *kernel_of(BRIM_DTYPE_Q4_0, numerics);
    const Prepared a(kernel, random_floats(static_cast<size_t>(4 * k), 100), k);
    for (const int64_t tokens : {1, 4}) {
      std::vector<float> out(static_cast<size_t>(rows * tokens));
      kernel.multiply(memory, row_bytes, rows - live, rows, a.row(0), a.stride(), tokens, out.data(), rows, k);
      const std::vector<float> expected = multiply(kernel, weights, live, a, tokens, k);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t r = 0; r < live; ++r) {
          REQUIRE(same_bits(out[static_cast<size_t>(t * rows + rows - live + r)],
                            expected[static_cast<size_t>(t * live + r)]));
        }
      }
    }
  }
  munmap(memory, size);
}
