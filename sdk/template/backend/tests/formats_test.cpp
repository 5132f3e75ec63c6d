// Stored formats against values worked out by hand: a wrong nibble order or rounding would show here by name, before it
// makes a model talk nonsense.
#include "../formats.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>

namespace {

int failures = 0;

void expect(bool holds, const char* statement) {
  if (holds) return;
  std::printf("does not hold: %s\n", statement);
  ++failures;
}

void halves() {
  using plain::float_to_half, plain::half_to_float;
  expect(half_to_float(0x3c00) == 1 && half_to_float(0xc000) == -2, "0x3c00 is 1, 0xc000 is -2");
  expect(half_to_float(0x7bff) == 65504, "0x7bff is the largest number, 65504");
  expect(half_to_float(0x0001) == 0x1p-24f && half_to_float(0x03ff) == 1023 * 0x1p-24f, "subnormals count 2^-24");
  expect(std::isinf(half_to_float(0x7c00)) && std::isnan(half_to_float(0x7e00)), "infinity and NaN are kept");
  expect(float_to_half(1 + 0x1p-11f) == 0x3c00, "halfway between 0x3c00 and 0x3c01 goes to the even one below");
  expect(float_to_half(1 + 3 * 0x1p-11f) == 0x3c02, "halfway between 0x3c01 and 0x3c02 goes to the even one above");
  expect(float_to_half(65519) == 0x7bff && float_to_half(65520) == 0x7c00, "65520 rounds to infinity, 65519 does not");
  expect(float_to_half(0x1p-25f) == 0 && float_to_half(0x1.8p-25f) == 1, "below half of 2^-24 nothing is left");
  expect(float_to_half(-0.0f) == 0x8000 && (float_to_half(NAN) & 0x7fff) > 0x7c00, "the sign of zero and NaN are kept");
  bool all = true;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    all = all && (std::isnan(value) || float_to_half(value) == bits);
  }
  expect(all, "every half is itself after a way through F32");
}

void brain_floats() {
  const uint16_t stored[] = {0x3f80, 0xc000, 0x4049};
  float values[3];
  plain::decoder(BRIM_DTYPE_BF16)(reinterpret_cast<const std::byte*>(stored), values, 3);
  expect(values[0] == 1 && values[1] == -2 && values[2] == 3.140625f, "bf16 is the upper half of f32");
}

// Two blocks of 32: scale 0.5, then -2.
template <size_t kBytes, class Put>
void blocks(uint32_t dtype, const char* statement, Put&& put, float (*value)(int)) {
  std::byte stored[2 * kBytes];
  const uint16_t scales[] = {0x3800, 0xc000};
  for (int b = 0; b < 2; ++b) {
    std::memcpy(stored + b * kBytes, &scales[b], 2);
    put(stored + b * kBytes + 2);
  }
  float values[64];
  plain::decoder(dtype)(stored, values, 64);
  bool all = true;
  for (int i = 0; i < 64; ++i) all = all && values[i] == (i < 32 ? 0.5f : -2.0f) * value(i % 32);
  expect(all, statement);
}

void block_formats() {
  blocks<18>(
      BRIM_DTYPE_Q4_0, "q4_0: byte i is value i in its lower and value i + 16 in its upper half, both + 8",
      [](std::byte* codes) {
        for (int i = 0; i < 16; ++i) codes[i] = static_cast<std::byte>(i | (15 - i) << 4);
      },
      [](int i) { return static_cast<float>(i < 16 ? i - 8 : 15 - (i - 16) - 8); });
  blocks<34>(
      BRIM_DTYPE_Q8_0, "q8_0: signed bytes in order",
      [](std::byte* codes) {
        for (int i = 0; i < 32; ++i) codes[i] = static_cast<std::byte>(static_cast<int8_t>(i * 8 - 128));
      },
      [](int i) { return static_cast<float>(i * 8 - 128); });
  expect(plain::decoder(BRIM_DTYPE_Q4_K) == nullptr && plain::decoder(4711) == nullptr,
         "other formats are not claimed");
}

}  // namespace

int main() {
  halves();
  brain_floats();
  block_formats();
  return failures == 0 ? 0 : 1;
}
