// The GGUF reader against files that GgufBuilder writes from the format's description: what a sound file gives, and how
// each kind of damage is refused.
#include <doctest/doctest.h>

#include <limits>
#include <model/gguf.hpp>

#include "../support/failure.hpp"
#include "../support/gguf_builder.hpp"

using brim::model::Gguf;
using brim::model::parse_gguf;
using brim::model::Shape;
using brim::test::GgufBuilder;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

brim::test::Failure refusal(const std::string& bytes) {
  return brim::test::failure_of([&] { parse_gguf(bytes_of(bytes), "m.gguf"); });
}
brim::test::Failure refusal(const GgufBuilder& builder) { return refusal(builder.bytes()); }

#define CHECK_REFUSED(builder, code_, text)                                                                        \
  do {                                                                                                             \
    const auto said = refusal(builder);                                                                            \
    CHECK_MESSAGE(said.code == (code_), "said: '" << said.message << "'");                                         \
    CHECK_MESSAGE(brim::test::contains(said.message, text), "said: '" << said.message << "', expected: " << text); \
    CHECK_MESSAGE(brim::test::contains(said.message, "m.gguf"), "names no file: '" << said.message << "'");        \
  } while (false)

const std::vector<float> k64(64, 1.0f);

std::string le64(uint64_t value) { return {reinterpret_cast<const char*>(&value), 8}; }
std::string le32(uint32_t value) { return {reinterpret_cast<const char*>(&value), 4}; }

}  // namespace

TEST_CASE("every kind of value is read") {
  GgufBuilder b;
  b.set("u8", uint8_t{200}).set("i8", int8_t{-100}).set("u16", uint16_t{60000}).set("i16", int16_t{-30000});
  b.set("u32", uint32_t{4000000000}).set("i32", int32_t{-2000000000});
  b.set("u64", std::numeric_limits<uint64_t>::max()).set("i64", std::numeric_limits<int64_t>::min());
  b.set("f32", 0.1f).set("f64", 0.1).set("yes", true).set("no", false).set("text", "h\xC3\xA9llo").set("empty", "");
  b.set("u8s", std::vector<uint8_t>{1, 255}).set("i8s", std::vector<int8_t>{-1, 127});
  b.set("u16s", std::vector<uint16_t>{65535}).set("i16s", std::vector<int16_t>{-32768});
  b.set("u32s", std::vector<uint32_t>{4294967295}).set("i32s", std::vector<int32_t>{-1, 2});
  b.set("u64s", std::vector<uint64_t>{1}).set("i64s", std::vector<int64_t>{-1});
  b.set("f32s", std::vector<float>{1.5f, -2.f}).set("f64s", std::vector<double>{0.25});
  b.set("bools", std::vector<bool>{true, false, true}).set("texts", std::vector<std::string>{"a", "", "ccc"});
  b.set("nothing", std::vector<std::string>{});

  for (const uint32_t version : {2u, 3u}) {
    b.version = version;
    const std::string bytes = b.bytes();
    const Gguf g = parse_gguf(bytes_of(bytes), "m.gguf");
    const auto& m = g.metadata;
    CHECK(g.version == version);
    CHECK(m.keys().size() == 27);
    CHECK(m.u64("u8") == 200);
    CHECK(m.f64("i8") == -100);
    CHECK(m.u64("u16") == 60000);
    CHECK(m.f64("i16") == -30000);
    CHECK(m.u64("u32") == 4000000000);
    CHECK(m.f64("i32") == -2000000000);
    CHECK(m.u64("u64") == std::numeric_limits<uint64_t>::max());
    CHECK(std::get<int64_t>(*m.find("i64")) == std::numeric_limits<int64_t>::min());
    CHECK(m.f64("f32") == static_cast<double>(0.1f));
    CHECK(m.f64("f64") == 0.1);
    CHECK(m.boolean("yes") == true);
    CHECK(m.boolean("no") == false);
    CHECK(m.string("text") == "h\xC3\xA9llo");
    CHECK(m.string("empty") == "");
    CHECK(*m.u64s("u8s") == std::vector<uint64_t>{1, 255});
    CHECK(std::get<std::vector<int64_t>>(*m.find("i8s")) == std::vector<int64_t>{-1, 127});
    CHECK(*m.u64s("u16s") == std::vector<uint64_t>{65535});
    CHECK(std::get<std::vector<int64_t>>(*m.find("i16s")) == std::vector<int64_t>{-32768});
    CHECK(*m.u64s("u32s") == std::vector<uint64_t>{4294967295});
    CHECK(std::get<std::vector<int64_t>>(*m.find("i32s")) == std::vector<int64_t>{-1, 2});
    CHECK(*m.u64s("u64s") == std::vector<uint64_t>{1});
    CHECK(std::get<std::vector<int64_t>>(*m.find("i64s")) == std::vector<int64_t>{-1});
    CHECK(*m.f32s("f32s") == std::vector<float>{1.5f, -2.f});
    CHECK(*m.f32s("f64s") == std::vector<float>{0.25f});
    CHECK(std::get<std::vector<bool>>(*m.find("bools")) == std::vector<bool>{true, false, true});
    CHECK(*m.strings("texts") == std::vector<std::string_view>{"a", "", "ccc"});
    CHECK(m.strings("nothing")->empty());
  }
}

TEST_CASE("tensors are placed, with their shapes outermost first") {
  GgufBuilder b;
  b.f32("matrix", {2, 32}, k64);
  b.tensor("q8", {3, 1, 64}, 8, std::vector<char>(3 * 2 * 34));
  b.tensor("last", {5}, 26, std::vector<int32_t>(5));
  const std::string bytes = b.bytes();
  const Gguf g = parse_gguf(bytes_of(bytes), "m.gguf");
  REQUIRE(g.tensors.size() == 3);
  CHECK(g.header_bytes == b.header().size());
  CHECK(g.data_begin == (b.header().size() + 31) / 32 * 32);
  CHECK(g.tensors[0].name == "matrix");
  CHECK(g.tensors[0].shape == Shape{{2, 32}, 2});
  CHECK(g.tensors[0].shape.row() == 32);
  CHECK(g.tensors[0].shape.rows() == 2);
  CHECK(g.tensors[0].dtype == BRIM_DTYPE_F32);
  CHECK(g.tensors[0].offset == g.data_begin);
  CHECK(g.tensors[0].bytes == 256);
  CHECK(g.tensors[1].shape == Shape{{3, 1, 64}, 3});
  CHECK(g.tensors[1].dtype == BRIM_DTYPE_Q8_0);
  CHECK(g.tensors[1].offset == g.data_begin + 256);
  CHECK(g.tensors[1].bytes == 204);
  CHECK(to_string(g.tensors[1].shape) == "[3, 1, 64]");
  CHECK(g.tensors[2].dtype == BRIM_DTYPE_I32);
  CHECK(g.tensors[2].offset == g.data_begin + 256 + 224);
}

TEST_CASE("the file's own alignment is heeded") {
  GgufBuilder b;
  b.alignment = 256;
  b.set("general.alignment", uint32_t{256}).f32("a", {1}, {1.f}).f32("b", {1}, {2.f});
  const std::string bytes = b.bytes();
  const Gguf g = parse_gguf(bytes_of(bytes), "m.gguf");
  CHECK(g.alignment == 256);
  CHECK(g.data_begin % 256 == 0);
  CHECK(g.tensors[1].offset == g.data_begin + 256);
  for (const uint32_t wrong : {0u, 24u, 0x80000000u}) {
    CHECK_REFUSED(GgufBuilder().set("general.alignment", wrong), BRIM_DATA_CORRUPT, "key 'general.alignment' is");
  }
  CHECK_REFUSED(GgufBuilder().set("general.alignment", "32"), BRIM_DATA_CORRUPT, "expected an integer");
}

TEST_CASE("a tensor of a type that Brim cannot use stays in the table, with its name") {
  GgufBuilder b;
  b.tensor("iq2", {2, 256}, 16, std::vector<char>(2 * 66));
  b.tensor("future", {7}, 4711, std::vector<char>(100));
  const std::string bytes = b.bytes();
  const Gguf g = parse_gguf(bytes_of(bytes), "m.gguf");
  CHECK(g.tensors[0].dtype == BRIM_DTYPE_NONE);
  CHECK(g.tensors[0].type_name == "iq2_xxs");
  CHECK(g.tensors[0].bytes == 132);
  CHECK(g.tensors[1].dtype == BRIM_DTYPE_NONE);
  CHECK(g.tensors[1].type_name == "ggml type 4711");
  CHECK(g.tensors[1].bytes == 0);
}

TEST_CASE("a file without tensors needs no data section") {
  const std::string header = GgufBuilder().set("general.name", "vocabulary only").header();
  const Gguf g = parse_gguf(bytes_of(header), "m.gguf");
  CHECK(g.tensors.empty());
  CHECK(g.metadata.string("general.name") == "vocabulary only");
}

TEST_CASE("other versions and byte orders are refused by name") {
  GgufBuilder b;
  b.version = 1;
  CHECK_REFUSED(b, BRIM_UNSUPPORTED, "GGUF version 1");
  b.version = 4;
  CHECK_REFUSED(b, BRIM_UNSUPPORTED, "GGUF version 4");
  b.version = 0;
  CHECK_REFUSED(b, BRIM_UNSUPPORTED, "GGUF version 0");
  b.version = 0x03000000;
  CHECK_REFUSED(b, BRIM_UNSUPPORTED, "big-endian");
}

TEST_CASE("counts larger than the file are refused before anything is allocated for them") {
  for (const uint64_t count : {uint64_t{100}, uint64_t{1} << 40, std::numeric_limits<uint64_t>::max()}) {
    GgufBuilder b;
    b.set("a", uint32_t{1});
    b.tensor_count = count;
    CHECK_REFUSED(b, BRIM_DATA_CORRUPT, "the number of tensors says");
    b.tensor_count.reset();
    b.key_count = count;
    CHECK_REFUSED(b, BRIM_DATA_CORRUPT, "the number of keys says");
    for (uint32_t kind : {0u, 4u, 6u, 7u, 8u, 10u, 12u}) {
      CHECK_REFUSED(GgufBuilder().raw("list", 9, le32(kind) + le64(count)), BRIM_DATA_CORRUPT, "key 'list' says");
    }
    CHECK_REFUSED(GgufBuilder().raw("text", 8, le64(count)), BRIM_DATA_CORRUPT, "key 'text'");
  }
}

TEST_CASE("a key's name must be text of a sane length, and there once") {
  CHECK_REFUSED(GgufBuilder().set("", uint8_t{1}), BRIM_DATA_CORRUPT, "expected UTF-8 text");
  CHECK_REFUSED(GgufBuilder().set("a\xFF", uint8_t{1}), BRIM_DATA_CORRUPT, "the name of key 1 of 1 is 'a\\xff'");
  CHECK_REFUSED(GgufBuilder().set(std::string(65536, 'k'), uint8_t{1}), BRIM_DATA_CORRUPT, "expected at most 65535");
  CHECK_REFUSED(GgufBuilder().set("twice", uint8_t{1}).set("twice", "x"), BRIM_DATA_CORRUPT,
                "key 'twice' appears twice");
}

TEST_CASE("values of unknown or impossible kinds are refused") {
  CHECK_REFUSED(GgufBuilder().raw("odd", 13, le64(0)), BRIM_DATA_CORRUPT, "key 'odd' has the value type 13");
  CHECK_REFUSED(GgufBuilder().raw("odd", 0xFFFFFFFF, le64(0)), BRIM_DATA_CORRUPT, "value type 4294967295");
  CHECK_REFUSED(GgufBuilder().raw("odd", 9, le32(99) + le64(0)), BRIM_DATA_CORRUPT, "value type 99");
  CHECK_REFUSED(GgufBuilder().raw("odd", 7, "\x02"), BRIM_DATA_CORRUPT, "truth value of 2");
  CHECK_REFUSED(GgufBuilder().raw("odd", 9, le32(7) + le64(2) + std::string("\x01\x03")), BRIM_DATA_CORRUPT,
                "truth value of 3");
  CHECK_REFUSED(GgufBuilder().raw("nested", 9, le32(9) + le64(1) + le32(4) + le64(0)), BRIM_UNSUPPORTED,
                "key 'nested' is an array of arrays");
}

TEST_CASE("a tensor's description must make sense") {
  const auto one = [](std::vector<uint64_t> shape, uint32_t type, size_t bytes) {
    GgufBuilder b;
    b.tensor("w", std::move(shape), type, std::vector<char>(bytes));
    return b;
  };
  CHECK_REFUSED(one({1, 1, 1, 1, 1}, 0, 4), BRIM_DATA_CORRUPT, "tensor 'w' has 5 dimensions, expected at most 4");
  CHECK_REFUSED(one({4, 0}, 0, 4), BRIM_DATA_CORRUPT, "tensor 'w' has an extent of 0 in dimension 0");
  CHECK_REFUSED(one({uint64_t{1} << 32, uint64_t{1} << 32}, 0, 4), BRIM_DATA_CORRUPT, "below 2^63");
  CHECK_REFUSED(one({uint64_t{1} << 62, 2}, 0, 4), BRIM_DATA_CORRUPT, "below 2^63");
  CHECK_REFUSED(one({uint64_t{1} << 62}, 28, 4), BRIM_DATA_CORRUPT, "more bytes than a file can have");
  CHECK_REFUSED(one({2, 48}, 8, 102), BRIM_DATA_CORRUPT, "rows of 48 elements, but q8_0 stores blocks of 32");
  CHECK_REFUSED(one({2, 128}, 12, 144), BRIM_DATA_CORRUPT, "rows of 128 elements, but q4_K stores blocks of 256");
  GgufBuilder name;
  name.f32(std::string(300, 'n'), {1}, {1.f});
  CHECK_REFUSED(name, BRIM_DATA_CORRUPT, "expected at most 255");
  GgufBuilder empty;
  empty.f32("", {1}, {1.f});
  CHECK_REFUSED(empty, BRIM_DATA_CORRUPT, "the name of tensor 1 of 1");
  GgufBuilder twice;
  twice.f32("w", {1}, {1.f}).f32("w", {1}, {1.f});
  CHECK_REFUSED(twice, BRIM_DATA_CORRUPT, "tensor 'w' appears twice");
}

TEST_CASE("a tensor must lie in the file, aligned, in a place of its own") {
  const auto at = [](uint64_t offset) {
    GgufBuilder b;
    b.f32("first", {16}, std::vector<float>(16)).tensor({"w", {16}, 0, std::string(64, '\0'), offset});
    return b;
  };
  CHECK(refusal(at(64)).code == BRIM_OK);
  CHECK_REFUSED(at(65), BRIM_DATA_CORRUPT,
                "tensor 'w' begins at 65 of the data, expected a multiple of the alignment 32");
  CHECK_REFUSED(at(96), BRIM_DATA_CORRUPT, "tensor 'w' needs 64 bytes at 96 of the data, but the file holds 128");
  CHECK_REFUSED(at(uint64_t{1} << 50), BRIM_DATA_CORRUPT, "tensor 'w' needs 64 bytes");
  CHECK_REFUSED(at(std::numeric_limits<uint64_t>::max() - 31), BRIM_DATA_CORRUPT, "tensor 'w' needs 64 bytes");
  CHECK_REFUSED(at(32), BRIM_DATA_CORRUPT, "tensors 'first' and 'w' overlap");
  CHECK_REFUSED(at(0), BRIM_DATA_CORRUPT, "overlap");
  std::string cut = at(64).bytes();
  cut.pop_back();
  CHECK_REFUSED(cut, BRIM_DATA_CORRUPT, "the file is cut short or damaged, get it again");
}

TEST_CASE("what is no GGUF is called by its name") {
  using namespace std::string_literals;
  const auto check = [](const std::string& bytes, const char* text) {
    CHECK_REFUSED(bytes, BRIM_DATA_CORRUPT, "is no GGUF file");
    CHECK_REFUSED(bytes, BRIM_DATA_CORRUPT, text);
  };
  check("Once upon a time there was a model.\n", "a text file");
  check("GG", "a text file");
  check("<!DOCTYPE html>\n<title>Sign in</title>", "a web page");
  check("  <HTML><body>404", "a web page");
  check("{\"architectures\": [\"LlamaForCausalLM\"]}", "a JSON file");
  check("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a Git LFS pointer");
  check("\x40\0\0\0\0\0\0\0{\"__metadata__\":{}}"s, "a safetensors file");
  check("PK\x03\x04\x14\0"s, "a ZIP archive");
  check("\x80\x02}q\0"s, "a Python pickle");
  check("\x1f\x8b\x08\0"s, "a compressed file");
  check("tjgg\x03\0\0\0"s, "from before GGUF");
  check(std::string(100, '\0'), "filled with zeros");
  check("\x01\x02\xFE\xFF\0rest"s, "a file of an unknown kind");
}
