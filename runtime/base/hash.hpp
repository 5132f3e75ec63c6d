// A 128-bit content hash, equal on every platform: SipHash-2-4 with 128 bits of output (Aumasson and Bernstein 2012),
// about 1 GB/s. Names graphs, model files and token blocks. With a fixed key it is no defence against somebody who
// builds collisions on purpose; a caller who needs that gives a secret key.
#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace brim {

struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  auto operator<=>(const Hash128&) const = default;
};

// 32 hexadecimal digits, the bytes in the order in which SipHash's authors print them.
std::string to_string(const Hash128& hash);

// Feeds any number of pieces; how a message is cut into pieces does not matter.
class Hasher {
 public:
  explicit Hasher(uint64_t key_low = 0, uint64_t key_high = 0);

  Hasher& add(std::span<const std::byte> bytes);
  // The text's length goes in first, so that "ab", "c" differs from "a", "bc".
  Hasher& add(std::string_view text);
  // Little-endian, as wide as the type.
  template <std::integral T>
  Hasher& add(T value) {
    std::byte bytes[sizeof(T)];
    for (size_t i = 0; i < sizeof(T); ++i) {
      bytes[i] = static_cast<std::byte>(static_cast<std::make_unsigned_t<T>>(value) >> (8 * i));
    }
    return add(std::span<const std::byte>(bytes));
  }

  // Of everything added so far; more may be added afterwards.
  Hash128 result() const;

 private:
  struct State {
    uint64_t v0, v1, v2, v3;
    void round();
    void absorb(uint64_t word);
  };
  State state_;
  uint64_t length_ = 0;
  uint64_t pending_ = 0;  // the last length_ % 8 bytes
};

}  // namespace brim

template <>
struct std::hash<brim::Hash128> {
  size_t operator()(const brim::Hash128& hash) const noexcept { return static_cast<size_t>(hash.low); }
};
