// A file damaged in any one place opens or is refused with an Error; nothing else happens. The sanitizer build gives
// this test its teeth: a read outside the file is seen there, because the bytes stand in a block of their exact size.
#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <model/gguf.hpp>

#include "../support/failure.hpp"
#include "../support/gguf_builder.hpp"

using brim::test::GgufBuilder;

namespace {

GgufBuilder small_model() {
  GgufBuilder b;
  b.set("general.architecture", "llama").set("general.alignment", uint32_t{32}).set("flag", true);
  b.set("tokens", std::vector<std::string>{"<s>", "a", ""}).set("scores", std::vector<float>{0.f, -1.f});
  b.set("types", std::vector<int32_t>{1, 3}).set("flags", std::vector<bool>{true, false}).set("half", 0.5);
  b.f32("norm", {8}, std::vector<float>(8)).tensor("weight", {2, 32}, 8, std::vector<char>(68));
  return b;
}

// Parses a copy of exactly these bytes and touches all that came of it. True if it opened.
bool opens(std::string_view bytes) {
  const auto copy = std::make_unique<std::byte[]>(bytes.size());
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  try {
    const auto g = brim::model::parse_gguf({copy.get(), bytes.size()}, "damaged.gguf");
    uint64_t sum = 0;
    for (const std::string_view key : g.metadata.keys()) {
      for (const char c : key) sum += static_cast<unsigned char>(c);
      if (const auto* text = std::get_if<std::string_view>(g.metadata.find(key))) sum += text->size();
      if (const auto* texts = std::get_if<std::vector<std::string_view>>(g.metadata.find(key))) {
        for (const std::string_view text : *texts) sum += text.empty() ? 0 : static_cast<unsigned char>(text.back());
      }
    }
    for (const auto& tensor : g.tensors) {
      for (const char c : tensor.name) sum += static_cast<unsigned char>(c);
      for (uint64_t i = 0; i < tensor.bytes; ++i) sum += std::to_integer<uint64_t>(copy[tensor.offset + i]);
    }
    volatile uint64_t kept = sum;
    static_cast<void>(kept);
    return true;
  } catch (const brim::Error& error) {
    CHECK(brim::test::contains(error.what(), "damaged.gguf"));
    return false;
  }
}

}  // namespace

TEST_CASE("no length to which a file is cut does harm, and none within the tensors' bytes opens") {
  const GgufBuilder model = small_model();
  const std::string bytes = model.bytes();
  REQUIRE(opens(bytes));
  // 68 bytes of the last tensor are followed by padding, which nobody needs.
  const size_t needed = bytes.size() - (96 - 68);
  for (size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    CHECK(opens(std::string_view(bytes).substr(0, length)) == (length >= needed));
  }
}

TEST_CASE("no single changed byte of the header does harm") {
  const GgufBuilder model = small_model();
  const std::string bytes = model.bytes();
  const size_t header = model.header().size();
  size_t opened = 0;
  for (size_t at = 0; at < header; ++at) {
    for (int value = 0; value < 256; ++value) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(value);
      opened += opens(damaged);
    }
  }
  // Letters of names and values of numbers may change; lengths, counts, kinds and places may not.
  CHECK(opened > header);
  CHECK(opened < header * 256);
}

TEST_CASE("no 64-bit field of the header does harm with an extreme value") {
  const GgufBuilder model = small_model();
  const std::string bytes = model.bytes();
  const size_t header = model.header().size();
  for (size_t at = 0; at + 8 <= header; ++at) {
    for (const uint64_t value : {uint64_t{0}, UINT64_MAX, UINT64_MAX - 31, uint64_t{1} << 63, uint64_t{INT64_MAX},
                                 uint64_t{1} << 61, uint64_t{UINT32_MAX}, uint64_t{bytes.size()}}) {
      std::string damaged = bytes;
      std::memcpy(damaged.data() + at, &value, 8);
      static_cast<void>(opens(damaged));
    }
  }
}
