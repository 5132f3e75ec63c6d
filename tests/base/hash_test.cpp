// SipHash-2-4-128 against its authors' vectors (vectors.h of the reference code: key 00..0f, message 00, 01, 02, ...).
#include <doctest/doctest.h>

#include <algorithm>
#include <base/hash.hpp>
#include <cstddef>
#include <string>
#include <vector>

using brim::Hash128;
using brim::Hasher;

namespace {

std::vector<std::byte> counting(size_t length) {
  std::vector<std::byte> out(length);
  for (size_t i = 0; i < length; ++i) out[i] = static_cast<std::byte>(i);
  return out;
}

Hasher reference_key() { return Hasher(0x0706050403020100, 0x0f0e0d0c0b0a0908); }

}  // namespace

TEST_CASE("the hash is SipHash-2-4 with 128 bits") {
  struct Vector {
    size_t length;
    const char* hash;
  };
  const Vector vectors[] = {{0, "a3817f04ba25a8e66df67214c7550293"},  {1, "da87c1d86b99af44347659119b22fc45"},
                            {7, "a1f1ebbed8dbc153c0b84aa61ff08239"},  {8, "3b62a9ba6258f5610f83e264f31497b4"},
                            {9, "264499060ad9baabc47f8b02bb6d71ed"},  {15, "5493e99933b0a8117e08ec0f97cfc3d9"},
                            {16, "6ee2a4ca67b054bbfd3315bf85230577"}, {31, "2939b0183223fafc1723de4f52c43d35"},
                            {32, "7c3956ca5eeafc3e363e9d556546eb68"}, {63, "5150d1772f50834a503e069a973fbd7c"}};
  for (const Vector& v : vectors) {
    CAPTURE(v.length);
    CHECK(to_string(reference_key().add(counting(v.length)).result()) == v.hash);
  }
}

TEST_CASE("cutting a message into pieces does not change its hash") {
  const auto message = counting(100);
  const Hash128 whole = Hasher().add(message).result();
  for (size_t step = 1; step <= message.size(); ++step) {
    Hasher pieces;
    for (size_t i = 0; i < message.size(); i += step) {
      pieces.add(std::span(message).subspan(i, std::min(step, message.size() - i)));
    }
    CHECK(pieces.result() == whole);
  }
}

TEST_CASE("numbers are hashed little-endian, texts with their length") {
  const auto bytes = counting(8);
  CHECK(Hasher().add(uint64_t{0x0706050403020100}).result() == Hasher().add(bytes).result());
  CHECK(Hasher().add(int16_t{-2}).result() == Hasher().add(uint16_t{0xFFFE}).result());
  using std::literals::operator""sv;
  CHECK(Hasher().add("ab"sv).add("c"sv).result() != Hasher().add("a"sv).add("bc"sv).result());
}

TEST_CASE("asking for the result does not end the message") {
  const auto message = counting(20);
  Hasher hasher;
  hasher.add(std::span(message).first(7));
  const Hash128 early = hasher.result();
  CHECK(early == hasher.result());
  hasher.add(std::span(message).subspan(7));
  CHECK(hasher.result() == Hasher().add(message).result());
}
