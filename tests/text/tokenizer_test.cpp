#include <doctest/doctest.h>

#include <ctime>
#include <limits>
#include <string>
#include <text/tokenizer.hpp>
#include <vector>

#include "../support/failure.hpp"
#include "vocabulary_builder.hpp"

using namespace brim;
using brim::test::VocabularyBuilder;
using brim::text::Tokenizer;
using brim::text::TokenType;

namespace {

using Ids = std::vector<int32_t>;

Tokenizer build(const VocabularyBuilder& builder) { return Tokenizer::from_metadata(builder.metadata()); }

// The spellings of the ids, with bars between them.
std::string spell(const Tokenizer& tokenizer, const Ids& ids) {
  std::string out;
  for (const int32_t id : ids) {
    if (!out.empty()) out += '|';
    out += tokenizer.vocabulary().text(id);
  }
  return out;
}

std::string pieces(const Tokenizer& tokenizer, std::string_view text, bool parse_special = false) {
  return spell(tokenizer, tokenizer.encode(text, {.add_special = false, .parse_special = parse_special}));
}

VocabularyBuilder small_bpe(std::string pre = "gpt-2") {
  VocabularyBuilder builder = test::byte_vocabulary(std::move(pre));
  for (const char* token : {"ab", "bc", "abc", "Ġa", "Ġab", "aa", "aaaa"}) builder.add(token);
  builder.merges = {"b c", "a b", "ab c", "Ġ a", "a bc", "Ġ ab", "a a", "aa aa"};
  return builder;
}

VocabularyBuilder small_pieces() {
  VocabularyBuilder builder = test::piece_vocabulary();
  float score = 0;
  for (const char* token : {"▁a", "ab", "▁", "a", "b", "aa", "aaaa"}) builder.add(token, score -= 1);
  return builder;
}

VocabularyBuilder small_words() {
  VocabularyBuilder builder;
  builder.model = "bert";
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) builder.control(token);
  for (const char* token : {"▁hello", "▁hel", "lo", "▁,", "▁cafe", "s", "▁日", "▁本", "▁ᄒ", "ᅡ", "ᆫ"})
    builder.add(token);
  builder.extra = {{"tokenizer.ggml.unknown_token_id", uint64_t{1}},
                   {"tokenizer.ggml.cls_token_id", uint64_t{2}},
                   {"tokenizer.ggml.seperator_token_id", uint64_t{3}},
                   {"tokenizer.ggml.mask_token_id", uint64_t{0}}};
  return builder;
}

// Of the processor, not of the wall: other programs' load is no fault of ours.
double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text) {
  const std::clock_t begin = std::clock();
  const Ids ids = tokenizer.encode(text, {.add_special = false});
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  CHECK(!ids.empty());
  return seconds;
}

}  // namespace

TEST_CASE("BPE merges the best-ranked pair first, the leftmost of equals") {
  const Tokenizer tokenizer = build(small_bpe());
  CHECK(pieces(tokenizer, "abc") == "abc");  // b c, then a bc: not ab, then ab c
  CHECK(pieces(tokenizer, "aab") == "a|ab");
  CHECK(pieces(tokenizer, "aaaaa") == "aaaa|a");
  CHECK(pieces(tokenizer, "x ab") == "x|Ġab");
}

TEST_CASE("BPE spells every byte, and decodes it back") {
  const Tokenizer tokenizer = build(small_bpe());
  const std::string text("caf\xC3\xA9 \x00\x7F \xF0\x9F\xA6\x99", 13);
  CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
}

TEST_CASE("a merge whose result is no token ends as bytes") {
  VocabularyBuilder builder = test::byte_vocabulary("gpt-2");
  builder.merges = {"x y", "xy z"};
  CHECK(pieces(build(builder), "xyz") == "x|y|z");
}

TEST_CASE("with ignore_merges a word that is a token needs no merges") {
  VocabularyBuilder builder = small_bpe("llama-bpe");
  builder.extra = {{"tokenizer.ggml.bos_token_id", static_cast<uint64_t>(builder.control("<s>"))}};
  const int32_t whole = builder.add("Ġwhole");
  CHECK(build(builder).encode("a whole", {.add_special = false}).back() == whole);
  builder.pre = "dbrx";
  CHECK(build(builder).encode("a whole", {.add_special = false}).back() != whole);
}

TEST_CASE("a byte without a token is the unknown token, or an error where there is none") {
  VocabularyBuilder builder;
  builder.model = "gpt2";
  builder.pre = "gpt-2";
  builder.add("a");
  builder.add("b");
  builder.merges = {"a b"};
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "byte 0x7a", build(builder).encode("abz"));
  builder.extra = {{"tokenizer.ggml.unknown_token_id", static_cast<uint64_t>(builder.control("<unk>"))}};
  CHECK(pieces(build(builder), "abz") == "a|b|<unk>");
}

TEST_CASE("SentencePiece merges by score and puts a space in front") {
  const Tokenizer tokenizer = build(small_pieces());
  CHECK(pieces(tokenizer, "ab") == "▁a|b");  // ▁a scores above ab
  CHECK(pieces(tokenizer, "bab ab") == "▁|b|ab|▁a|b");
  CHECK(tokenizer.encode("a") == Ids{1, 259});
  CHECK(tokenizer.encode("") == Ids{1});
  CHECK(tokenizer.encode("", {.add_special = false}).empty());
}

TEST_CASE("SentencePiece spells unknown characters by their bytes") {
  const Tokenizer tokenizer = build(small_pieces());
  CHECK(pieces(tokenizer, "a\xC3\xA9") == "▁a|<0xC3>|<0xA9>");
  CHECK(tokenizer.decode(tokenizer.encode("a\xC3\xA9 \n")) == "a\xC3\xA9 \n");
}

TEST_CASE("decoding drops the space that encoding put in front, and no other") {
  const Tokenizer tokenizer = build(small_pieces());
  for (const char* text : {"ab", " ab", "  ab", " ", "a  b "}) CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
  CHECK(tokenizer.decode(Ids{259}, {.text_start = false}) == " a");
  CHECK(tokenizer.decode(Ids{259, 259}) == "a a");
}

TEST_CASE("merges across a space count where the vocabulary has such tokens") {
  VocabularyBuilder builder = small_pieces();
  builder.add("b▁a", 5);
  CHECK(pieces(build(builder), "ab ab") == "▁a|b▁a|b");
}

TEST_CASE("huge and infinite scores order like others") {
  VocabularyBuilder builder = test::piece_vocabulary();
  for (const char* token : {"▁", "a", "b", "c"}) builder.add(token, -1);
  builder.add("ab", 3.0e38f);
  builder.add("bc", std::numeric_limits<float>::infinity());
  CHECK(pieces(build(builder), "abc") == "▁|a|bc");
}

TEST_CASE("WordPiece takes the longest tokens of plain lower-case words") {
  const Tokenizer tokenizer = build(small_words());
  CHECK(pieces(tokenizer, "Hello,\thelLO") == "▁hello|▁,|▁hello");
  CHECK(pieces(tokenizer, "HELS") == "▁hel|s");
  CHECK(pieces(tokenizer, "Cafés CAFE\u0301S") == "▁cafe|s|▁cafe|s");
  CHECK(pieces(tokenizer, "日本") == "▁日|▁本");
  CHECK(pieces(tokenizer, "한") == "▁ᄒ|ᅡ|ᆫ");
  CHECK(pieces(tokenizer, "hellox hello") == "[UNK]|▁hello");
  CHECK(tokenizer.encode("hello") == Ids{2, 4, 3});
  CHECK(tokenizer.decode(tokenizer.encode("Hello, CAFÉS")) == "hello , cafes");
}

TEST_CASE("text names control tokens only where that is allowed, user-defined ones always") {
  VocabularyBuilder builder = small_bpe();
  builder.control("<|im_end|>");
  builder.add("<tool>", 0, TokenType::kUserDefined);
  const Tokenizer tokenizer = build(builder);
  CHECK(pieces(tokenizer, "ab<|im_end|>ab", true) == "ab|<|im_end|>|ab");
  CHECK(pieces(tokenizer, "<|im_end|>", false) == "<|||i|m|_|e|n|d|||>");
  CHECK(pieces(tokenizer, "ab<tool>ab", false) == "ab|<tool>|ab");
  CHECK(tokenizer.decode(tokenizer.encode("ab<tool>ab")) == "ab<tool>ab");
}

TEST_CASE("control tokens are silent when decoded, unless asked for") {
  VocabularyBuilder builder = small_bpe();
  const int32_t end = builder.control("<|im_end|>");
  const Tokenizer tokenizer = build(builder);
  const Ids ids = {64, end};
  CHECK(tokenizer.decode(ids) == "a");
  CHECK(tokenizer.decode(ids, {.render_special = true}) == "a<|im_end|>");
  CHECK(tokenizer.is_special(end));
  CHECK(tokenizer.is_end_of_generation(end));
}

TEST_CASE("the longest special token wins, wherever it stands") {
  VocabularyBuilder builder = small_bpe();
  for (const char* token : {"<a>", "<a><b>", "b><c><"}) builder.add(token, 0, TokenType::kUserDefined);
  CHECK(pieces(build(builder), "<a><b>") == "<a><b>");
  CHECK(pieces(build(builder), "<a><a>") == "<a>|<a>");
  // "b><c><" and "<a><b>" are equally long: the smaller id goes first.
  CHECK(pieces(build(builder), "<a><b><c><") == "<a><b>|<|c|>|<");
}

TEST_CASE("Phi-3's control tokens swallow the white space behind them") {
  VocabularyBuilder builder = small_pieces();
  builder.control("<|user|>");
  builder.extra = {{"general.architecture", std::string_view("phi3")}};
  CHECK(pieces(build(builder), "<|user|> \n a<s> a", true) == "<|user|>|▁a|<s>|▁|▁a");
  builder.extra.clear();
  CHECK(pieces(build(builder), "<|user|>\na", true) == "<|user|>|▁|<0x0A>|a");
}

TEST_CASE("text that is no UTF-8 is read with U+FFFD for each broken part") {
  for (const VocabularyBuilder& builder : {small_bpe(), small_pieces()}) {
    const Tokenizer tokenizer = build(builder);
    CHECK(tokenizer.decode(tokenizer.encode("a\xFF\xC3 \xE2\x96z")) == "a\uFFFD\uFFFD \uFFFDz");
    const std::string nul("a\0b", 3);
    CHECK(tokenizer.decode(tokenizer.encode(nul)) == nul);
  }
}

TEST_CASE("ids outside the vocabulary are errors") {
  const Tokenizer tokenizer = build(small_pieces());
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "token id 266 is outside the vocabulary of test.gguf, which has ids 0 to 265",
              tokenizer.decode(Ids{266}));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "token id -1", tokenizer.decode(Ids{-1}));
}

// A sanitizer's build and an emulated processor are some ten times slower; the bound there still tells n log n from n squared.
TEST_CASE("a megabyte without a word's end takes less than a second") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(BRIM_TEST_EMULATED)
  constexpr double kSeconds = 20;
#else
  constexpr double kSeconds = 1;
#endif
  VocabularyBuilder special = small_bpe();
  for (int i = 0; i < 300; ++i) special.control("<<" + std::to_string(i) + ">>");
  for (const VocabularyBuilder& builder :
       {small_bpe(), small_bpe("deepseek-llm"), small_pieces(), small_words(), special}) {
    const Tokenizer tokenizer = build(builder);
    for (const char* unit : {"a", " ", "\n", "<", "\xE6\xBC\xA2", " \xE6\xBC\xA2", "\xF0"}) {
      CAPTURE(builder.model);
      CAPTURE(std::string(unit));
      std::string text = "a";
      while (text.size() < 1u << 20) text += unit;
      CHECK(seconds_to_encode(tokenizer, text) < kSeconds);
    }
  }
}
