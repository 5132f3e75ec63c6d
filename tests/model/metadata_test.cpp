#include <doctest/doctest.h>

#include <model/metadata.hpp>

#include "../support/failure.hpp"

using brim::model::Metadata;
using brim::model::Value;

namespace {

Metadata sample() {
  Metadata m;
  m.source = "sample.gguf";
  m.set("u", uint64_t{7});
  m.set("i", int64_t{5});
  m.set("negative", int64_t{-5});
  m.set("f", 1.5);
  m.set("b", true);
  m.set("s", std::string_view("text"));
  m.set("us", std::vector<uint64_t>{1, 2});
  m.set("is", std::vector<int64_t>{3, 4});
  m.set("negatives", std::vector<int64_t>{3, -4});
  m.set("fs", std::vector<float>{0.5f});
  m.set("ss", std::vector<std::string_view>{"a", "b"});
  m.set("none", std::vector<uint64_t>{});
  return m;
}

}  // namespace

TEST_CASE("numbers convert between kinds where the value fits") {
  const Metadata m = sample();
  CHECK(m.u64("u") == 7);
  CHECK(m.u64("i") == 5);
  CHECK(m.f64("u") == 7.0);
  CHECK(m.f64("negative") == -5.0);
  CHECK(m.f64("f") == 1.5);
  CHECK(*m.u64s("us") == std::vector<uint64_t>{1, 2});
  CHECK(*m.u64s("is") == std::vector<uint64_t>{3, 4});
  CHECK_FAILS(BRIM_DATA_CORRUPT, "key 'negative' is -5", m.u64("negative"));
  CHECK_FAILS(BRIM_DATA_CORRUPT, "key 'negatives' has -4 at index 1", m.u64s("negatives"));
}

TEST_CASE("what is absent is no error until it is required") {
  const Metadata m = sample();
  CHECK_FALSE(m.u64("x").has_value());
  CHECK_FALSE(m.f64("x").has_value());
  CHECK_FALSE(m.boolean("x").has_value());
  CHECK_FALSE(m.string("x").has_value());
  CHECK(m.strings("x") == nullptr);
  CHECK(m.f32s("x") == nullptr);
  CHECK_FALSE(m.u64s("x").has_value());
  CHECK_FAILS(BRIM_NOT_FOUND, "sample.gguf: key 'x' is missing", m.require_u64("x"));
  CHECK_FAILS(BRIM_NOT_FOUND, "key 'x'", m.require_string("x"));
  CHECK_FAILS(BRIM_NOT_FOUND, "key 'x'", m.require_strings("x"));
  CHECK(m.require_u64("u") == 7);
  CHECK(m.require_string("s") == "text");
  CHECK(m.require_strings("ss").size() == 2);
}

TEST_CASE("a value of another type is named with what was found and expected") {
  const Metadata m = sample();
  CHECK_FAILS(BRIM_DATA_CORRUPT, "sample.gguf: key 's' is a string, expected an integer", m.u64("s"));
  CHECK_FAILS(BRIM_DATA_CORRUPT, "key 'f' is a floating-point number, expected an integer", m.u64("f"));
  CHECK_FAILS(BRIM_DATA_CORRUPT, "key 'b' is a truth value, expected a number", m.f64("b"));
  CHECK_FAILS(BRIM_DATA_CORRUPT, "key 'u' is an unsigned integer, expected a truth value", m.boolean("u"));
  CHECK_FAILS(BRIM_DATA_CORRUPT, "key 'ss' is an array of strings, expected a string", m.string("ss"));
  CHECK_FAILS(BRIM_DATA_CORRUPT, "key 's' is a string, expected an array of strings", m.strings("s"));
  CHECK_FAILS(BRIM_DATA_CORRUPT, "an array of floating-point numbers", m.f32s("us"));
  CHECK_FAILS(BRIM_DATA_CORRUPT, "key 'u' is an unsigned integer, expected an array of integers", m.u64s("u"));
}

TEST_CASE("an empty array has every element type") {
  const Metadata m = sample();
  CHECK(m.strings("none")->empty());
  CHECK(m.f32s("none")->empty());
  CHECK(m.u64s("none")->empty());
}

TEST_CASE("keys keep their order and appear once") {
  Metadata m = sample();
  CHECK(m.keys().front() == "u");
  CHECK(m.keys().back() == "none");
  CHECK_FAILS(BRIM_DATA_CORRUPT, "key 'u' appears twice", m.set("u", uint64_t{8}));
  CHECK(m.u64("u") == 7);
  CHECK(m.keys().size() == 12);
}

TEST_CASE("interned text lives as long as the metadata, wherever that moves") {
  Metadata m;
  for (int i = 0; i < 1000; ++i) {
    const std::string_view key = m.intern(fmt::format("k{}", i));
    m.set(key, m.intern(fmt::format("v{}", i)));
  }
  const Metadata moved = std::move(m);
  for (int i = 0; i < 1000; ++i) CHECK(moved.string(fmt::format("k{}", i)) == fmt::format("v{}", i));
}
