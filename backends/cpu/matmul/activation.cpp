// Preparing activation rows. Every operation rounds the same way in every variant, so that prepared rows are equal bit
// for bit across processors.
//
// Maxima and sums lie in neighbouring lanes, those of a block (or of sixteen elements) side by side; the vectors are
// then joined two and two, neighbour with neighbour, until one holds them all: sixteen blocks have their scales divided
// at once.
#include "matmul/activation.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "formats/rounding.hpp"
#include "formats/simd.hpp"

namespace brim_cpu {
namespace {

constexpr size_t round_up_64(size_t n) { return (n + 63) / 64 * 64; }

constexpr auto kLarger = [](IntVec a, IntVec b) { return a > b ? a : b; };
constexpr auto kAdded = [](IntVec a, IntVec b) { return a + b; };

// f of each two neighbours: of a's, then of b's.
template <class F>
IntVec join_neighbours(IntVec a, IntVec b, F&& f) {
  return [&]<int... I>(std::integer_sequence<int, I...>) {
    return f(__builtin_shufflevector(a, b, (2 * I)...), __builtin_shufflevector(a, b, (2 * I + 1)...));
  }
  (std::make_integer_sequence<int, kWidth>{});
}

// The lanes of all N vectors, in order, joined N at a time: lane i is f of lanes [N * i, N * i + N).
template <size_t N, class F>
IntVec join_lanes(const std::array<IntVec, N>& v, F&& f) {
  if constexpr (N == 1) {
    return v[0];
  } else {
    std::array<IntVec, N / 2> half;
    for (size_t i = 0; i < N / 2; ++i) half[i] = join_neighbours(v[2 * i], v[2 * i + 1], f);
    return join_lanes(half, f);
  }
}

// What blocks of N elements are multiplied with and the scales that remain, a lane each. Where the largest magnitude is
// zero, not finite, or so small (below 4e-37) that the inverse overflows, all codes shall be zero: `keep` is then 0,
// else -1.
template <int N>
struct Scales {
  Vec inverse, d;
  IntVec keep;

  // Of up to kWidth blocks.
  Scales(const float* x, int64_t blocks) {
    std::array<IntVec, kWidth> most{};
    for (int64_t b = 0; b < blocks; ++b) {
      for (int i = 0; i < N; i += kWidth) most[b] = kLarger(most[b], (IntVec)magnitude(load(x + N * b + i)));
    }
    const IntVec bits = join_lanes(most, kLarger);
    const Vec largest = (Vec)bits, quotient = 127.0f / largest;
    const IntVec infinite = bits >= IntVec{} + static_cast<int32_t>(kNotFinite);
    keep = (quotient <= splat(std::numeric_limits<float>::max())) & ~infinite;
    inverse = (Vec)((IntVec)quotient & keep);
    d = (Vec)(((IntVec)(largest / 127.0f) & keep) |
              ((IntVec)splat(std::numeric_limits<float>::quiet_NaN()) & infinite));
  }
};

template <int N>
void quantise(const float* x, float inverse, int32_t keep, int8_t* q) {
  for (int i = 0; i < N; ++i) q[i] = static_cast<int8_t>(round_to_int(x[i] * inverse) & keep);
}

// Lane i is the sum of the four codes from q + 4 * i.
IntVec sum_quads(const int8_t* q) {
  IntVec v;
  std::memcpy(&v, q, sizeof v);
  v ^= 0x80808080;  // codes plus 128, which are not negative
  const IntVec pairs = (v & 0x00ff00ff) + ((v >> 8) & 0x00ff00ff);
  return (pairs & 0xffff) + (pairs >> 16) - 512;
}

}  // namespace

// An odd number of lines, so that rows side by side do not share the sets of a first cache.
size_t f32_activation_bytes(int64_t k) { return round_up_64(static_cast<size_t>(k) * sizeof(float)) | 64; }
size_t flat_activation_bytes(int64_t k) { return round_up_64(static_cast<size_t>(k / 32) * sizeof(FlatActivation)); }
size_t super_activation_bytes(int64_t k) { return round_up_64(static_cast<size_t>(k / 256) * sizeof(SuperActivation)); }

void prepare_f32(const float* x, void* prepared, int64_t k) {
  const size_t bytes = static_cast<size_t>(k) * sizeof(float);
  std::memcpy(prepared, x, bytes);
  std::memset(static_cast<char*>(prepared) + bytes, 0, f32_activation_bytes(k) - bytes);
}

void prepare_flat(const float* x, void* prepared, int64_t k) {
  auto* block = static_cast<FlatActivation*>(prepared);
  for (int64_t left = k / 32; left > 0; left -= kWidth, x += 32 * kWidth, block += kWidth) {
    const int64_t blocks = std::min<int64_t>(left, kWidth);
    const Scales<32> scales(x, blocks);
    int8_t q[32 * kWidth] = {};
    for (int64_t b = 0; b < blocks; ++b) quantise<32>(x + 32 * b, scales.inverse[b], scales.keep[b], q + 32 * b);
    std::array<IntVec, 8> quads;
    for (int i = 0; i < 8; ++i) quads[i] = sum_quads(q + 4 * kWidth * i);
    const IntVec sums = join_lanes(quads, kAdded);
    const Vec scaled = scales.d * to_float(sums);
    const IntVec starts = sums * -kStartOffset;
    for (int64_t b = 0; b < blocks; ++b) {
      block[b].d = scales.d[b];
      block[b].sum = scaled[b];
      block[b].start = starts[b];
      std::memcpy(block[b].q, q + 32 * b, 32);
    }
  }
}

void prepare_super(const float* x, void* prepared, int64_t k) {
  auto* block = static_cast<SuperActivation*>(prepared);
  for (int64_t left = k / 256; left > 0; left -= kWidth, x += 256 * kWidth, block += kWidth) {
    const int64_t blocks = std::min<int64_t>(left, kWidth);
    const Scales<256> scales(x, blocks);
    for (int64_t b = 0; b < blocks; ++b) {
      SuperActivation& to = block[b];
      to.d = scales.d[b];
      quantise<256>(x + 256 * b, scales.inverse[b], scales.keep[b], to.q);
      int32_t sums[16];
      for (int g = 0; g < 16; g += kWidth) {
        std::array<IntVec, 4> quads;
        for (int j = 0; j < 4; ++j) quads[j] = sum_quads(to.q + 16 * g + 4 * kWidth * j);
        const IntVec joined = join_lanes(quads, kAdded);
        std::memcpy(sums + g, &joined, sizeof joined);
      }
      for (int g = 0; g < 16; ++g) to.sums[g] = static_cast<int16_t>(sums[g]);
      for (int g = 0; g < 8; ++g) to.sums32[g] = static_cast<int16_t>(sums[2 * g] + sums[2 * g + 1]);
    }
  }
}

}  // namespace brim_cpu
