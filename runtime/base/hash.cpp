#include <fmt/format.h>

#include <base/hash.hpp>
#include <bit>
#include <cstring>

namespace brim {

std::string to_string(const Hash128& hash) {
  std::string out;
  for (const uint64_t word : {hash.low, hash.high}) {
    for (int i = 0; i < 8; ++i) out += fmt::format("{:02x}", (word >> (8 * i)) & 0xFF);
  }
  return out;
}

void Hasher::State::round() {
  v0 += v1;
  v1 = std::rotl(v1, 13) ^ v0;
  v0 = std::rotl(v0, 32);
  v2 += v3;
  v3 = std::rotl(v3, 16) ^ v2;
  v0 += v3;
  v3 = std::rotl(v3, 21) ^ v0;
  v2 += v1;
  v1 = std::rotl(v1, 17) ^ v2;
  v2 = std::rotl(v2, 32);
}

void Hasher::State::absorb(uint64_t word) {
  v3 ^= word;
  round();
  round();
  v0 ^= word;
}

// The constants are "somepseudorandomlygeneratedbytes"; 0xee marks the 128-bit output.
Hasher::Hasher(uint64_t key_low, uint64_t key_high)
    : state_{0x736f6d6570736575 ^ key_low, 0x646f72616e646f6d ^ key_high ^ 0xee, 0x6c7967656e657261 ^ key_low,
             0x7465646279746573 ^ key_high} {}

Hasher& Hasher::add(std::span<const std::byte> bytes) {
  size_t i = 0;
  const auto one = [&] {
    pending_ |= std::to_integer<uint64_t>(bytes[i++]) << (8 * (length_ % 8));
    if (++length_ % 8 == 0) {
      state_.absorb(pending_);
      pending_ = 0;
    }
  };
  while (i < bytes.size() && length_ % 8 != 0) one();
  for (; bytes.size() - i >= 8; i += 8, length_ += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
    state_.absorb(word);
  }
  while (i < bytes.size()) one();
  return *this;
}

Hasher& Hasher::add(std::string_view text) {
  add(uint64_t{text.size()});
  return add(std::as_bytes(std::span(text)));
}

Hash128 Hasher::result() const {
  State end = state_;
  end.absorb(pending_ | length_ << 56);
  end.v2 ^= 0xee;
  for (int i = 0; i < 4; ++i) end.round();
  Hash128 out;
  out.low = end.v0 ^ end.v1 ^ end.v2 ^ end.v3;
  end.v1 ^= 0xdd;
  for (int i = 0; i < 4; ++i) end.round();
  out.high = end.v0 ^ end.v1 ^ end.v2 ^ end.v3;
  return out;
}

}  // namespace brim
