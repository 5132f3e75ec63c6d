// nvcc's PTX of sample.cu on the machine, against the same sums in C++.
#include <algorithm>
#include <cmath>
#include <random>

#include "device.hpp"

using namespace ptx_test;

namespace {

const std::string& sample() {
  static const std::string text = text_of(BRIM_SAMPLE_PTX);
  return text;
}

std::vector<uint32_t> words(uint32_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint32_t> all = {0, 1, 7, 0x7fffffff, 0x80000000, 0xffffffff};
  while (all.size() < n) all.push_back(static_cast<uint32_t>(random() >> (random() % 32)));
  return all;
}

float sum_of(const std::vector<float>& x, uint32_t block) {
  double sum = 0;
  for (uint32_t i = 0; i < x.size(); ++i) {
    for (uint32_t j = 0; j <= i % 5; ++j) sum += double(x[i]) * (j + block);
  }
  return static_cast<float>(sum);
}

}  // namespace

TEST_CASE("whole numbers come out as C++ has them") {
  Device device(sample());
  constexpr uint32_t kN = 500;
  auto a = words(kN, 1), b = words(kN, 2);
  std::shuffle(b.begin(), b.end(), std::mt19937(3));
  for (uint32_t& v : b) v += v == 0 ? 1 : 0;
  const uint64_t out = device.allocate(kN * 12 * 8);
  device.run("whole_numbers", {(kN + 95) / 96}, {96}, device.upload(a), device.upload(b), out, uint64_t{kN});
  const auto got = device.download<uint64_t>(out, kN * 12);
  for (uint32_t i = 0; i < kN; ++i) {
    const uint32_t x = a[i], y = b[i];
    const auto sx = static_cast<int32_t>(x), sy = static_cast<int32_t>(y);
    const uint64_t wide = uint64_t{x} << 32 | y;
    uint32_t reversed = 0;
    for (int j = 0; j < 32; ++j) reversed |= (x >> j & 1) << (31 - j);
    const uint8_t bytes[] = {uint8_t(x), uint8_t(x >> 8), uint8_t(x >> 16), uint8_t(x >> 24),
                             uint8_t(y), uint8_t(y >> 8), uint8_t(y >> 16), uint8_t(y >> 24)};
    const uint32_t picked =
        uint32_t{bytes[5]} | uint32_t{bytes[1]} << 8 | uint32_t{bytes[7]} << 16 | uint32_t{bytes[3]} << 24;
    int32_t dot = 1000;
    for (int j = 0; j < 4; ++j) dot += int8_t(x >> (8 * j)) * int8_t(y >> (8 * j));
    const uint64_t wanted[12] = {x / y,
                                 uint64_t(int64_t(sx % (sy == 0 || sy == -1 ? 7 : sy))),
                                 uint64_t{x} * y + 3,
                                 uint64_t{x} * y >> 32,
                                 wide / (uint64_t{y} + 3),
                                 uint64_t(int64_t(wide) >> (y & 63)),
                                 reversed ^ uint32_t(std::popcount(y)) ^ uint32_t(std::countl_zero(x)),
                                 picked + uint64_t(int64_t(int8_t(x))) + uint16_t(y),
                                 uint32_t((uint64_t{y} << 32 | x) << (x & 31) >> 32) |
                                     uint64_t{uint32_t((uint64_t{y} << 32 | x) >> (y & 31))} << 32,
                                 uint64_t(int64_t(dot)),
                                 uint32_t(std::max(sx, sy)) - std::min(x, y),
                                 (x & 0xff00) >> 8 | (y & 0x7f000) << 3};
    for (uint32_t j = 0; j < 12; ++j)
      CHECK_MESSAGE(got[12 * i + j] == wanted[j], "result " << j << " of " << x << ", " << y);
  }
}

TEST_CASE("functions of the compiler's library come out within its few units") {
  Device device(sample());
  std::vector<float> x;
  for (int i = -400; i <= 400; ++i) x.push_back(static_cast<float>(i) * 0.0217f + 0.001f);
  const auto n = static_cast<uint32_t>(x.size());
  const uint64_t out = device.allocate(n * 13 * 4);
  device.run("functions", {2}, {64}, device.upload(x), out, uint64_t{n});
  const auto got = device.download<float>(out, n * 13);
  double worst[13] = {};
  for (uint32_t i = 0; i < n; ++i) {
    const double v = x[i], a = std::fabs(v);
    const double wanted[13] = {std::exp(v),
                               std::log(a),
                               std::sin(double(x[i] * 1000)),
                               std::cos(double(x[i] * 1e7f)),
                               std::tanh(v),
                               std::erf(v),
                               std::pow(a, double(1.7f)),
                               std::sqrt(a) / 3,
                               std::floor(v) + std::nearbyint(v),
                               double(float(int(x[i] * 100)) + float(uint64_t(std::fabs(x[i]) * 1e6f))),
                               std::log1p(std::exp(-a)),
                               double(float(v * 1.1)),
                               0.5 * std::erfc(-v / std::sqrt(2.0))};
    for (uint32_t j = 0; j < 13; ++j) {
      // The least unit counts where a sine passes zero.
      const double unit = std::max(std::fabs(wanted[j]), j == 2 || j == 3 ? 1e-3 : 1e-30) * 0x1p-23;
      worst[j] = std::max(worst[j], std::fabs(got[13 * i + j] - wanted[j]) / unit);
    }
  }
  for (uint32_t j = 0; j < 13; ++j)
    CHECK_MESSAGE(worst[j] <= 6, "function " << j << " is " << worst[j] << " units off");
}

TEST_CASE("sums over a block do not depend on the order of warps") {
  std::vector<float> x;
  for (int i = 0; i < 777; ++i) x.push_back(std::sin(static_cast<float>(i)));
  std::vector<float> first;
  for (const bool reversed : {false, true}) {
    Device device(sample());
    device.options.reversed = reversed;
    const uint64_t out = device.allocate(3 * 4);
    device.run("sums", {3}, {256}, device.upload(x), out, uint64_t{x.size()});
    const auto got = device.download<float>(out, 3);
    for (uint32_t b = 0; b < 3; ++b) CHECK(got[b] == doctest::Approx(sum_of(x, b)).epsilon(1e-4));
    if (first.empty()) first = got;
    CHECK(got == first);
  }
}

TEST_CASE("lanes that branch apart meet again") {
  Device device(sample());
  const auto a = words(32, 5), b = words(32, 6);
  const uint64_t out = device.allocate(32 * 8);
  device.run("branches", {}, {32}, device.upload(a), device.upload(b), out, uint64_t{32});
  const auto got = device.download<uint64_t>(out, 32);
  uint32_t odd = 0;
  for (uint32_t i = 0; i < 32; ++i) odd |= (a[i] & 1) << i;
  for (uint32_t i = 0; i < 32; ++i) {
    const uint32_t v = a[i], table[] = {7, 11, 13, 17};
    uint32_t counted = 0, history[6];
    while (counted < v % 100) counted += 9;
    for (uint32_t j = 0; j < 6; ++j) history[(v + j) % 6] = v * j;
    const uint32_t by_case[] = {v + 1, v * 3, v ^ 0x55, v / 7, counted, uint32_t(std::popcount(v)) + 100, ~v};
    CHECK(got[i] == uint64_t{by_case[v % 7]} + history[b[i] % 6] + table[v % 4] + (uint64_t{odd} << 32));
  }
}
