#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <text/tokenizer.hpp>
#include <text/vocabulary.hpp>

#include "../support/failure.hpp"
#include "vocabulary_builder.hpp"

using namespace brim;
using brim::test::VocabularyBuilder;
using brim::text::kNoToken;
using brim::text::TokenType;
using brim::text::Vocabulary;

namespace {

Vocabulary read(const VocabularyBuilder& builder) { return Vocabulary::from_metadata(builder.metadata()); }

}  // namespace

TEST_CASE("SentencePiece files get their defaults where keys are absent") {
  const Vocabulary vocabulary = read(test::piece_vocabulary());
  CHECK(vocabulary.special.bos == 1);
  CHECK(vocabulary.special.eos == 2);
  CHECK(vocabulary.special.unk == 0);
  CHECK(vocabulary.special.pad == kNoToken);
  CHECK(vocabulary.add_bos);
  CHECK_FALSE(vocabulary.add_eos);
  CHECK(vocabulary.add_space_prefix);
  CHECK(vocabulary.is_end_of_generation(2));
  CHECK_FALSE(vocabulary.is_end_of_generation(1));
}

TEST_CASE("keys override the defaults") {
  VocabularyBuilder builder = test::piece_vocabulary();
  builder.extra = {{"tokenizer.ggml.bos_token_id", uint64_t{2}},
                   {"tokenizer.ggml.add_bos_token", false},
                   {"tokenizer.ggml.add_eos_token", true},
                   {"tokenizer.ggml.add_space_prefix", false}};
  const Vocabulary vocabulary = read(builder);
  CHECK(vocabulary.special.bos == 2);
  CHECK_FALSE(vocabulary.add_bos);
  CHECK(vocabulary.add_eos);
  CHECK_FALSE(vocabulary.add_space_prefix);
}

TEST_CASE("byte-level BPE has no end token by default: id 11 is an ordinary word") {
  VocabularyBuilder builder = test::byte_vocabulary("gpt-2");
  builder.merges = {"a b"};
  const Vocabulary vocabulary = read(builder);
  CHECK(vocabulary.special.eos == kNoToken);
  CHECK_FALSE(vocabulary.is_end_of_generation(11));
  CHECK_FALSE(vocabulary.add_bos);
}

TEST_CASE("end-of-turn tokens are known by their spelling and end the generation") {
  VocabularyBuilder builder = test::byte_vocabulary("llama-bpe");
  builder.merges = {"a b"};
  const int32_t begin = builder.control("<|begin_of_text|>");
  const int32_t end = builder.control("<|end_of_text|>");
  const int32_t eot = builder.add("<|eot_id|>");  // as files have it that forget the type
  const int32_t eom = builder.control("<|eom_id|>");
  builder.extra = {{"tokenizer.ggml.bos_token_id", static_cast<uint64_t>(begin)},
                   {"tokenizer.ggml.eos_token_id", static_cast<uint64_t>(end)}};
  const Vocabulary vocabulary = read(builder);
  CHECK(vocabulary.special.eot == eot);
  CHECK(vocabulary.special.eom == eom);
  CHECK(vocabulary.type(eot) == TokenType::kControl);
  for (const int32_t id : {end, eot, eom}) CHECK(vocabulary.is_end_of_generation(id));
  CHECK_FALSE(vocabulary.is_end_of_generation(begin));
  CHECK(vocabulary.add_bos);
  CHECK(vocabulary.ignore_merges);
}

TEST_CASE("an unknown tokenizer model or pre-tokenizer is an error that lists the known ones") {
  VocabularyBuilder builder = test::piece_vocabulary();
  builder.model = "t5";
  CHECK_FAILS(BRIM_UNSUPPORTED, "tokenizer.ggml.model is 't5'; known tokenizer models: llama, gpt2, bert",
              read(builder));
  builder = test::byte_vocabulary("brand-new");
  builder.merges = {"a b"};
  CHECK_FAILS(BRIM_UNSUPPORTED, "tokenizer.ggml.pre is 'brand-new'", read(builder));
  CHECK_FAILS(BRIM_UNSUPPORTED, "qwen2", read(builder));
}

TEST_CASE("a file without a vocabulary says what to do") {
  model::Metadata empty;
  empty.source = "bare.gguf";
  CHECK_FAILS(BRIM_NOT_FOUND, "bare.gguf: key 'tokenizer.ggml.model' is missing", Vocabulary::from_metadata(empty));
}

TEST_CASE("keys that contradict each other are errors that name them") {
  VocabularyBuilder builder = test::piece_vocabulary();
  builder.add("<s>");
  CHECK_FAILS(BRIM_DATA_CORRUPT, "tokenizer.ggml.tokens spells '<s>' twice, as tokens 1 and 259", read(builder));

  builder = test::piece_vocabulary();
  builder.extra = {{"tokenizer.ggml.eos_token_id", uint64_t{259}}};
  CHECK_FAILS(BRIM_DATA_CORRUPT, "tokenizer.ggml.eos_token_id is 259, but tokenizer.ggml.tokens holds 259",
              read(builder));

  builder.extra = {{"tokenizer.ggml.eos_token_id", uint64_t{4294967295}}};
  CHECK_FAILS(BRIM_DATA_CORRUPT, "tokenizer.ggml.eos_token_id is 4294967295", read(builder));

  builder = test::piece_vocabulary();
  builder.add("x", std::numeric_limits<float>::quiet_NaN());
  CHECK_FAILS(BRIM_DATA_CORRUPT, "tokenizer.ggml.scores is not a number at token 259", read(builder));

  builder = test::piece_vocabulary();
  builder.add("x", 0, static_cast<TokenType>(9));
  CHECK_FAILS(BRIM_DATA_CORRUPT, "tokenizer.ggml.token_type is 9 at token 259", read(builder));

  for (const char* merge : {"ab", "a ", " a", ""}) {
    CAPTURE(merge);
    builder = test::byte_vocabulary("gpt-2");
    builder.merges = {"a b", merge};
    CHECK_FAILS(BRIM_DATA_CORRUPT, "tokenizer.ggml.merges has '" + std::string(merge) + "' at index 1", read(builder));
  }

  builder = test::byte_vocabulary("gpt-2");
  CHECK_FAILS(BRIM_NOT_FOUND, "tokenizer.ggml.merges", read(builder));

  builder.merges = {"a b"};
  builder.extra = {{"tokenizer.ggml.add_bos_token", true}};
  CHECK_FAILS(BRIM_DATA_CORRUPT, "tokenizer.ggml.bos_token_id", read(builder));
}

TEST_CASE("lists of different lengths are errors") {
  for (const char* key : {"tokenizer.ggml.scores", "tokenizer.ggml.token_type"}) {
    CAPTURE(key);
    model::Metadata metadata;
    metadata.source = "test.gguf";
    metadata.set("tokenizer.ggml.model", std::string_view("llama"));
    metadata.set("tokenizer.ggml.tokens", std::vector<std::string_view>{"<unk>", "<s>", "</s>"});
    const bool scores = key == std::string_view("tokenizer.ggml.scores");
    metadata.set("tokenizer.ggml.scores", std::vector<float>(scores ? 2 : 3));
    metadata.set("tokenizer.ggml.token_type", std::vector<int64_t>(scores ? 3 : 4, 1));
    CHECK_FAILS(BRIM_DATA_CORRUPT, key, Vocabulary::from_metadata(metadata));
  }
}

TEST_CASE("a byte token that spells no byte is an error") {
  VocabularyBuilder builder = test::piece_vocabulary();
  builder.add("<0xGG>", 0, TokenType::kByte);
  CHECK_FAILS(BRIM_DATA_CORRUPT, "<0xGG>", text::Tokenizer::from_metadata(builder.metadata()));
}
