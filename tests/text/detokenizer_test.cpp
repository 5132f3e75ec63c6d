#include <doctest/doctest.h>

#include <base/utf8.hpp>
#include <random>
#include <string>
#include <text/detokenizer.hpp>

#include "../support/failure.hpp"
#include "vocabulary_builder.hpp"

using namespace brim;
using brim::text::Detokenizer;
using brim::text::Tokenizer;

namespace {

Tokenizer pieces() {
  test::VocabularyBuilder builder = test::piece_vocabulary();
  for (const char* token : {"▁", "▁a", "é", "▁日本"}) builder.add(token);
  return Tokenizer::from_metadata(builder.metadata());
}

Tokenizer bytes() {
  test::VocabularyBuilder builder = test::byte_vocabulary("gpt-2");
  builder.add("Ġa");
  builder.control("<|im_end|>");
  builder.add("<user é>", 0, text::TokenType::kUserDefined);
  builder.merges = {"Ġ a"};
  return Tokenizer::from_metadata(builder.metadata());
}

int32_t byte(int value) { return 3 + value; }

}  // namespace

TEST_CASE("a character comes when its last byte does") {
  const Tokenizer tokenizer = pieces();
  Detokenizer detokenizer(tokenizer);
  CHECK(detokenizer.push(byte(0xF0)) == "");
  CHECK(detokenizer.push(byte(0x9F)) == "");
  CHECK(detokenizer.push(byte(0xA6)) == "");
  CHECK(detokenizer.push(byte(0x99)) == "\xF0\x9F\xA6\x99");
  CHECK(detokenizer.flush() == "");
}

TEST_CASE("a broken character is U+FFFD as soon as it cannot be completed, not before") {
  const Tokenizer tokenizer = pieces();
  Detokenizer detokenizer(tokenizer);
  CHECK(detokenizer.push(byte(0xE2)) == "");
  CHECK(detokenizer.push(byte('z')) == "\uFFFDz");
  CHECK(detokenizer.push(byte(0xFF)) == "\uFFFD");
  CHECK(detokenizer.push(byte(0xC3)) == "");
  CHECK(detokenizer.flush() == "\uFFFD");
  CHECK(detokenizer.flush() == "");
}

TEST_CASE("only the space in front of the text is dropped") {
  const Tokenizer tokenizer = pieces();
  const int32_t a = tokenizer.vocabulary().find("▁a");
  Detokenizer start(tokenizer);
  CHECK(start.push(1) == "");  // BOS says nothing
  CHECK(start.push(a) == "a");
  CHECK(start.push(a) == " a");
  Detokenizer middle(tokenizer, {.text_start = false});
  CHECK(middle.push(a) == " a");
}

TEST_CASE("an id outside the vocabulary changes nothing") {
  const Tokenizer tokenizer = pieces();
  Detokenizer detokenizer(tokenizer);
  detokenizer.push(byte(0xC3));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "outside the vocabulary", detokenizer.push(1 << 20));
  CHECK(detokenizer.push(byte(0xA9)) == "é");
}

TEST_CASE("whatever the ids, every piece is whole UTF-8 and all of them together are what decode gives") {
  std::mt19937 random(20260101);
  for (const bool sentence_piece : {true, false}) {
    const Tokenizer tokenizer = sentence_piece ? pieces() : bytes();
    for (int round = 0; round < 2000; ++round) {
      const text::DecodeOptions options{.render_special = round % 2 == 0, .text_start = round % 3 == 0};
      std::vector<int32_t> ids(random() % 24);
      for (int32_t& id : ids)
        id = static_cast<int32_t>(random() % static_cast<uint32_t>(tokenizer.vocabulary().size()));
      Detokenizer detokenizer(tokenizer, options);
      std::string all, raw;
      for (const int32_t id : ids) {
        const std::string piece(detokenizer.push(id));
        REQUIRE(is_utf8(piece));
        all += piece;
        if (options.render_special || !tokenizer.is_special(id)) raw += tokenizer.bytes(id);
      }
      all += detokenizer.flush();
      REQUIRE(all == tokenizer.decode(ids, options));
      if (!options.text_start && is_utf8(raw)) REQUIRE(all == raw);
    }
  }
}
