#include "decode.hpp"

#include <brim/types.h>

#include <cmath>
#include <cstring>
#include <stdexcept>

namespace check {
namespace {

class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool done() const { return at_ == bytes_.size(); }
  unsigned u8() { return std::to_integer<unsigned>(bytes_[at_++]); }
  int i8() { return static_cast<signed char>(u8()); }
  unsigned u16() {
    const unsigned low = u8();
    return low | u8() << 8;
  }
  uint64_t u32() {
    const uint64_t low = u16();
    return low | uint64_t{u16()} << 16;
  }
  double f16() {
    const unsigned h = u16();
    const double sign = h & 0x8000 ? -1 : 1;
    const int exponent = static_cast<int>(h >> 10 & 31);
    const double fraction = h & 1023;
    if (exponent == 31) return fraction != 0 ? std::nan("") : sign * HUGE_VAL;
    return exponent == 0 ? sign * std::ldexp(fraction, -24) : sign * std::ldexp(1024 + fraction, exponent - 25);
  }
  std::vector<unsigned> array(size_t count) {
    std::vector<unsigned> out;
    while (out.size() < count) out.push_back(u8());
    return out;
  }

 private:
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
};

using Out = std::vector<double>;

// 16 bytes: the low nibbles are the first 16 elements, the high nibbles the others.
std::vector<int> nibbles(const std::vector<unsigned>& bytes, size_t from = 0) {
  std::vector<int> out;
  for (size_t j = 0; j < 16; ++j) out.push_back(static_cast<int>(bytes[from + j] % 16));
  for (size_t j = 0; j < 16; ++j) out.push_back(static_cast<int>(bytes[from + j] / 16));
  return out;
}

const double kIq4[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// OCP Microscaling: FP4 E2M1.
const double kE2m1[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6};

void legacy(uint32_t dtype, Cursor& c, Out& out) {
  const bool has_min = dtype == BRIM_DTYPE_Q4_1 || dtype == BRIM_DTYPE_Q5_1;
  const bool has_fifth = dtype == BRIM_DTYPE_Q5_0 || dtype == BRIM_DTYPE_Q5_1;
  const double d = c.f16();
  const double min = has_min ? c.f16() : 0;
  const uint64_t high = has_fifth ? c.u32() : 0;
  auto q = nibbles(c.array(16));
  for (size_t j = 0; j < 32; ++j) {
    if (has_fifth && (high >> j & 1)) q[j] += 16;
    out.push_back(has_min ? q[j] * d + min : (q[j] - (has_fifth ? 16 : 8)) * d);
  }
}

void q2_k(Cursor& c, Out& out) {
  const auto scales = c.array(16), qs = c.array(64);
  const double d = c.f16(), dmin = c.f16();
  size_t group = 0;
  for (size_t half = 0; half < 2; ++half) {
    for (unsigned shift = 0; shift < 8; shift += 2) {
      for (size_t part = 0; part < 2; ++part, ++group) {
        for (size_t l = 0; l < 16; ++l) {
          const unsigned q = qs[32 * half + 16 * part + l] >> shift & 3;
          out.push_back(d * (scales[group] % 16) * q - dmin * (scales[group] / 16));
        }
      }
    }
  }
}

void q3_k(Cursor& c, Out& out) {
  const auto hmask = c.array(32), qs = c.array(64), packed = c.array(12);
  const double d = c.f16();
  int scales[16];
  for (unsigned s = 0; s < 4; ++s) {  // four scales a row, as the 12 bytes are three rows of four
    const unsigned high = packed[8 + s];
    scales[s] = static_cast<int>((packed[s] & 15) + ((high & 3) << 4)) - 32;
    scales[s + 4] = static_cast<int>((packed[s + 4] & 15) + ((high >> 2 & 3) << 4)) - 32;
    scales[s + 8] = static_cast<int>((packed[s] >> 4) + ((high >> 4 & 3) << 4)) - 32;
    scales[s + 12] = static_cast<int>((packed[s + 4] >> 4) + ((high >> 6) << 4)) - 32;
  }
  unsigned mask = 1;
  size_t group = 0;
  for (size_t half = 0; half < 2; ++half) {
    for (unsigned shift = 0; shift < 8; shift += 2, mask <<= 1) {
      for (size_t l = 0; l < 32; ++l) {
        const int q = static_cast<int>(qs[32 * half + l] >> shift & 3) - (hmask[l] & mask ? 0 : 4);
        out.push_back(d * scales[group + l / 16] * q);
      }
      group += 2;
    }
  }
}

void q4_or_q5_k(bool five, Cursor& c, Out& out) {
  const double d = c.f16(), dmin = c.f16();
  const auto packed = c.array(12);
  const auto qh = five ? c.array(32) : std::vector<unsigned>(32);
  const auto qs = c.array(128);
  unsigned scales[8], mins[8];
  for (unsigned s = 0; s < 4; ++s) {
    scales[s] = packed[s] % 64;
    mins[s] = packed[s + 4] % 64;
    scales[s + 4] = packed[s + 8] % 16 + packed[s] / 64 * 16;
    mins[s + 4] = packed[s + 8] / 16 + packed[s + 4] / 64 * 16;
  }
  for (size_t pair = 0; pair < 4; ++pair) {
    for (size_t high = 0; high < 2; ++high) {
      const size_t s = 2 * pair + high;
      for (size_t l = 0; l < 32; ++l) {
        unsigned q = high ? qs[32 * pair + l] / 16 : qs[32 * pair + l] % 16;
        if (qh[l] & (1u << s)) q += 16;
        out.push_back(d * scales[s] * q - dmin * mins[s]);
      }
    }
  }
}

void q6_k(Cursor& c, Out& out) {
  const auto ql = c.array(128), qh = c.array(64);
  int scales[16];
  for (int& scale : scales) scale = c.i8();
  const double d = c.f16();
  for (size_t half = 0; half < 2; ++half) {
    const unsigned *low = &ql[64 * half], *high = &qh[32 * half];
    double y[128];
    for (size_t l = 0; l < 32; ++l) {
      const int* scale = scales + 8 * half + l / 16;
      y[l] = d * scale[0] * (static_cast<int>((low[l] & 15) | (high[l] & 3) << 4) - 32);
      y[l + 32] = d * scale[2] * (static_cast<int>((low[l + 32] & 15) | (high[l] >> 2 & 3) << 4) - 32);
      y[l + 64] = d * scale[4] * (static_cast<int>(low[l] >> 4 | (high[l] >> 4 & 3) << 4) - 32);
      y[l + 96] = d * scale[6] * (static_cast<int>(low[l + 32] >> 4 | (high[l] >> 6 & 3) << 4) - 32);
    }
    out.insert(out.end(), y, y + 128);
  }
}

void iq4_xs(Cursor& c, Out& out) {
  const double d = c.f16();
  const unsigned high = c.u16();
  const auto low = c.array(4), qs = c.array(128);
  for (size_t s = 0; s < 8; ++s) {
    const unsigned four = s % 2 ? low[s / 2] / 16 : low[s / 2] % 16;
    const double scale = d * (static_cast<int>(four + 16 * (high >> (2 * s) & 3)) - 32);
    for (const int q : nibbles(qs, 16 * s)) out.push_back(scale * kIq4[q]);
  }
}

}  // namespace

std::vector<double> decode_by_format(uint32_t dtype, std::span<const std::byte> bytes) {
  Cursor c(bytes);
  Out out;
  while (!c.done()) {
    switch (dtype) {
      case BRIM_DTYPE_F32: {
        const auto bits = static_cast<uint32_t>(c.u32());
        float value;
        std::memcpy(&value, &bits, 4);
        out.push_back(value);
        break;
      }
      case BRIM_DTYPE_F16:
        out.push_back(c.f16());
        break;
      case BRIM_DTYPE_BF16: {
        const uint32_t bits = uint32_t{c.u16()} << 16;
        float value;
        std::memcpy(&value, &bits, 4);
        out.push_back(value);
        break;
      }
      case BRIM_DTYPE_Q4_0:
      case BRIM_DTYPE_Q4_1:
      case BRIM_DTYPE_Q5_0:
      case BRIM_DTYPE_Q5_1:
        legacy(dtype, c, out);
        break;
      case BRIM_DTYPE_Q8_0: {
        const double d = c.f16();
        for (int j = 0; j < 32; ++j) out.push_back(d * c.i8());
        break;
      }
      case BRIM_DTYPE_Q2_K:
        q2_k(c, out);
        break;
      case BRIM_DTYPE_Q3_K:
        q3_k(c, out);
        break;
      case BRIM_DTYPE_Q4_K:
      case BRIM_DTYPE_Q5_K:
        q4_or_q5_k(dtype == BRIM_DTYPE_Q5_K, c, out);
        break;
      case BRIM_DTYPE_Q6_K:
        q6_k(c, out);
        break;
      case BRIM_DTYPE_IQ4_NL: {
        const double d = c.f16();
        for (const int q : nibbles(c.array(16))) out.push_back(d * kIq4[q]);
        break;
      }
      case BRIM_DTYPE_IQ4_XS:
        iq4_xs(c, out);
        break;
      case BRIM_DTYPE_MXFP4: {
        const double scale = std::ldexp(1.0, static_cast<int>(c.u8()) - 127);
        for (const int q : nibbles(c.array(16))) out.push_back(scale * kE2m1[q]);
        break;
      }
      default:
        throw std::invalid_argument("no such weight type");
    }
  }
  return out;
}

}  // namespace check
