// What the lanes of a warp do together: shuffles, votes, sums, and products of matrices whose elements lie spread over
// the lanes.
//
// Where an element of a fragment lies is the PTX ISA's (9.7.14.5, "Matrix Fragments for mma.m16n8k16" with floating
// point and with integer types, "... for mma.m16n8k32", and ldmatrix), compared with the layouts of CuTe's
// MMA_Traits<SM80_16x8x16_F32F16F16F32_TN>, <SM80_16x8x16_S32S8S8S32_TN> and <SM80_16x8x32_S32S8S8S32_TN>
// (cute/atom/mma_traits_sm80.hpp): both say what multiply() does.
#include <cmath>

#include "memory.hpp"

namespace ptx {

// variant: 0 idx, 1 up, 2 down, 3 bfly.
void shuffle(Warp& w, const Instruction& in, uint32_t mask) {
  uint32_t result[32], inside = 0;
  each_lane(mask, [&](uint32_t lane) {
    const uint32_t value = w.row<uint32_t>(in.from[0])[lane];
    const uint32_t b = w.row<uint32_t>(in.from[1])[lane] & 31u, c = w.row<uint32_t>(in.from[2])[lane];
    const uint32_t clamp = c & 31u, segment = c >> 8 & 31u;
    const uint32_t most = (lane & segment) | (clamp & ~segment), least = lane & segment;
    int64_t from = 0;
    bool in_range = false;
    switch (in.variant) {
      case 0:
        from = least | (b & ~segment);
        in_range = from <= int64_t{most};
        break;
      case 1:
        from = int64_t{lane} - b;
        in_range = from >= int64_t{most};
        break;
      case 2:
        from = int64_t{lane} + b;
        in_range = from <= int64_t{most};
        break;
      default:
        from = lane ^ b;
        in_range = from <= int64_t{most};
    }
    if (!in_range) from = lane;
    if ((mask >> from & 1) == 0)
      fail_in(w, in, lane, "shuffles from lane " + std::to_string(from) + ", which does not take part");
    result[lane] = static_cast<uint32_t>(from) == lane ? value : w.row<uint32_t>(in.from[0])[from];
    inside |= uint32_t{in_range} << lane;
  });
  each_lane(mask, [&](uint32_t lane) { w.row<uint32_t>(in.to[0])[lane] = result[lane]; });
  if (in.n_to > 1) set_truth(w, in.to[1], mask, inside);
}

// variant: 0 ballot, 1 any, 2 all; bit 2: the predicate is negated.
void vote(Warp& w, const Instruction& in, uint32_t mask) {
  uint32_t values = w.truth[in.from[0].index];
  if ((in.variant & 4) != 0) values = ~values;
  values &= mask;
  const uint32_t how = in.variant & 3;
  if (how == 0) {
    each_lane(mask, [&](uint32_t lane) { w.row<uint32_t>(in.to[0])[lane] = values; });
  } else {
    set_truth(w, in.to[0], mask, (how == 1 ? values != 0 : values == mask) ? ~0u : 0u);
  }
}

namespace {

template <class T, class F>
Step reduce(F) {
  return [](Warp& w, const Instruction& in, uint32_t mask) {
    const T* a = w.row<T>(in.from[0]);
    T all = a[std::countr_zero(mask)];
    each_lane(mask & (mask - 1), [&](uint32_t lane) { all = F{}(all, a[lane]); });
    each_lane(mask, [&](uint32_t lane) { w.row<T>(in.to[0])[lane] = all; });
  };
}

float bfloat_to_float(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// Element j of a register, whose elements are of T.
template <class T>
T element(uint32_t word, uint32_t j) {
  return static_cast<T>(word >> (8 * sizeof(T) * j));
}

// D = A B + C with 16 x kK of A and kK x 8 of B. T: an element's bits; Value: how it is read; Sum: of the accumulators.
// A lane is (group g = lane / 4, member t = lane % 4). Each register of A and B has 4 bytes of neighbours along K from
// t times as many on; register r of A: row g + 8 (r % 2), in the half r / 2 of K; of B: column g, in the half r; of C
// and D: row g + 8 (r / 2), column 2 t + r % 2. Products are summed in one order and rounded at the end: a device's
// order is its own.
template <class T, class Sum, auto kValue, uint32_t kK>
void multiply(Warp& w, const Instruction& in, uint32_t mask) {
  if (mask != ~0u) fail_in(w, in, static_cast<uint32_t>(std::countr_zero(~mask)), "does not take part in mma");
  constexpr uint32_t kEach = 4 / sizeof(T), kHalves = kK / (4 * kEach);  // halves of K: 1 or 2
  constexpr uint32_t kA = 2 * kHalves, kB = kHalves;
  using Wide = std::conditional_t<std::is_floating_point_v<Sum>, double, uint32_t>;
  static thread_local Wide a[16][kK], b[8][kK];
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const uint32_t g = lane / 4, t = lane % 4;
    for (uint32_t j = 0; j < kEach; ++j) {
      const uint32_t k = kEach * t + j;
      for (uint32_t r = 0; r < kA; ++r) {
        a[g + 8 * (r % 2)][k + 4 * kEach * (r / 2)] =
            static_cast<Wide>(kValue(element<T>(w.row<uint32_t>(in.from[r])[lane], j)));
      }
      for (uint32_t r = 0; r < kB; ++r) {
        b[g][k + 4 * kEach * r] = static_cast<Wide>(kValue(element<T>(w.row<uint32_t>(in.from[kA + r])[lane], j)));
      }
    }
  }
  Sum sums[4][32];
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t r = 0; r < 4; ++r) {
      const uint32_t row = lane / 4 + 8 * (r / 2), column = 2 * (lane % 4) + r % 2;
      Wide sum = static_cast<Wide>(w.row<Sum>(in.from[kA + kB + r])[lane]);
      for (uint32_t k = 0; k < kK; ++k) sum += a[row][k] * b[column][k];
      sums[r][lane] = static_cast<Sum>(sum);
    }
  }
  for (uint32_t r = 0; r < 4; ++r) std::memcpy(w.row<Sum>(in.to[r]), sums[r], sizeof sums[r]);
}

}  // namespace

Step reduce_step(const std::string& how, const std::string& type) {
  if (how == "add") return reduce<uint32_t>([](uint32_t a, uint32_t b) { return a + b; });
  if (how == "max" && type == "u32") return reduce<uint32_t>([](uint32_t a, uint32_t b) { return std::max(a, b); });
  if (how == "max" && type == "s32") return reduce<int32_t>([](int32_t a, int32_t b) { return std::max(a, b); });
  if (how == "min" && type == "u32") return reduce<uint32_t>([](uint32_t a, uint32_t b) { return std::min(a, b); });
  return nullptr;
}

// types: of D, A, B, C. Sets how many registers of 32 bits A and B have.
Step mma_step(const std::string& shape, const std::string& types, uint32_t* a, uint32_t* b) {
  constexpr auto kByte = [](uint8_t v) { return int32_t{static_cast<int8_t>(v)}; };
  *a = 4;
  *b = 2;
  if (shape == "m16n8k32" && types == "s32.s8.s8.s32") return multiply<uint8_t, uint32_t, kByte, 32>;
  if (shape == "m16n8k16" && types == "f32.f16.f16.f32") return multiply<uint16_t, float, half_to_float, 16>;
  if (shape == "m16n8k16" && types == "f32.bf16.bf16.f32") return multiply<uint16_t, float, bfloat_to_float, 16>;
  *a = 2;
  *b = 1;
  if (shape == "m16n8k16" && types == "s32.s8.s8.s32") return multiply<uint8_t, uint32_t, kByte, 16>;
  return nullptr;
}

// ldmatrix: lanes 8 i to 8 i + 7 say where the rows of matrix i lie, 8 elements of 2 bytes each; of every matrix a lane
// gets elements 2 (lane % 4) and the next of row lane / 4, or, where variant is 1 (.trans), of column lane / 4.
void load_matrices(Warp& w, const Instruction& in, uint32_t mask) {
  if (mask != ~0u) fail_in(w, in, static_cast<uint32_t>(std::countr_zero(~mask)), "does not take part in ldmatrix");
  const std::byte* row[32];
  for (uint32_t lane = 0; lane < 8u * in.n_to; ++lane) {
    row[lane] = place(w, in, Space::kShared, lane, address_of(w, in, in.from[0], lane), 16, 4, false);
  }
  for (uint32_t i = 0; i < in.n_to; ++i) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const uint32_t pair = 2 * (lane % 4), other = lane / 4;
      uint16_t v[2];
      for (uint32_t j = 0; j < 2; ++j) {
        const uint32_t r = in.variant == 0 ? other : pair + j, column = in.variant == 0 ? pair + j : other;
        std::memcpy(&v[j], row[8 * i + r] + 2 * column, 2);
      }
      w.row<uint32_t>(in.to[i])[lane] = v[0] | uint32_t{v[1]} << 16;
    }
  }
}

}  // namespace ptx
