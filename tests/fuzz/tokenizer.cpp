// Tokenizers: the first byte chooses one of some small vocabularies of every kind, the second the options, the rest is
// a text and, read as numbers, a list of ids. Text of any bytes gives ids of the vocabulary, ids give UTF-8, and where
// the vocabulary spells every byte the text comes back exactly.
#include <text/detokenizer.hpp>
#include <text/pretokenizer.hpp>
#include <text/tokenizer.hpp>
#include <text/unicode.hpp>
#include <vector>

#include "../text/vocabulary_builder.hpp"
#include "fuzz.hpp"

using namespace brim;
using namespace brim::fuzz;
using test::VocabularyBuilder;
using text::Tokenizer;
using text::TokenizerModel;

namespace {

struct Subject {
  Tokenizer tokenizer;
  bool exact;  // every text comes back
};

Subject subject(const VocabularyBuilder& builder, bool exact = true) {
  return {Tokenizer::from_metadata(builder.metadata()), exact};
}

VocabularyBuilder pieces(bool space_prefix) {
  VocabularyBuilder b = test::piece_vocabulary();
  float score = 0;
  for (const char* token :
       {"▁a", "ab", "▁", "a", "b", "aa", "aaaa", "▁▁", "▁the", "th", "he", "é", "日本", "in", "ing"}) {
    b.add(token, score -= 1);
  }
  b.extra = {{"tokenizer.ggml.add_space_prefix", space_prefix}};
  return b;
}

// A token that crosses from a word to the space behind it, and one that text names outright.
VocabularyBuilder crossing_pieces() {
  VocabularyBuilder b = pieces(true);
  b.add("b▁a", -0.5f);
  b.add("<mark>", 0, text::TokenType::kUserDefined);
  return b;
}

VocabularyBuilder bytes(const char* pre) {
  VocabularyBuilder b = test::byte_vocabulary(pre);
  for (const char* token : {"ab", "bc", "abc", "Ġa", "Ġab", "aa", "aaaa", "th", "the", "Ġthe", "00", "ĊĊ"})
    b.add(token);
  b.merges = {"b c", "a b", "ab c", "Ġ a", "a bc", "Ġ ab", "a a", "aa aa", "t h", "th e", "Ġ the", "0 0", "Ċ Ċ", "x y"};
  b.control("<|endoftext|>");
  b.extra = {{"tokenizer.ggml.bos_token_id", uint64_t(b.tokens.size() - 1)},
             {"tokenizer.ggml.eos_token_id", uint64_t(b.tokens.size() - 1)}};
  return b;
}

VocabularyBuilder words() {
  VocabularyBuilder b;
  b.model = "bert";
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) b.control(token);
  for (const char* token : {"▁hello", "▁hel", "lo", "▁,", "▁cafe", "s", "▁日", "▁本", "▁ᄒ", "ᅡ", "ᆫ", "▁a", "b"}) {
    b.add(token);
  }
  b.extra = {{"tokenizer.ggml.unknown_token_id", uint64_t{1}},
             {"tokenizer.ggml.cls_token_id", uint64_t{2}},
             {"tokenizer.ggml.seperator_token_id", uint64_t{3}},
             {"tokenizer.ggml.mask_token_id", uint64_t{0}}};
  return b;
}

const std::vector<Subject>& subjects() {
  static const std::vector<Subject> all = [] {
    std::vector<Subject> out;
    out.push_back(subject(pieces(true)));
    out.push_back(subject(pieces(false)));
    out.push_back(subject(crossing_pieces(), false));
    out.push_back(subject(words(), false));
    for (const char* pre : {"default", "gpt-2", "llama-bpe", "qwen2", "starcoder", "falcon", "deepseek-llm",
                            "deepseek-coder", "deepseek-v3", "tekken", "gpt-4o"}) {
      out.push_back(subject(bytes(pre)));
    }
    return out;
  }();
  return all;
}

// What the tokenizers read: broken parts of the text are U+FFFD.
std::string repaired(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const text::Decoded next = text::decode_utf8(text);
    expect(next.size >= 1 && next.size <= text.size(), "a character takes bytes that are there");
    out += next.valid ? text.substr(0, next.size) : text::kReplacementUtf8;
    text.remove_prefix(next.size);
  }
  return out;
}

// SentencePiece writes spaces as U+2581 and cannot tell the two apart.
std::string without_marks(std::string text) {
  constexpr std::string_view kMark = "\xE2\x96\x81";
  for (size_t at = text.find(kMark); at != text.npos; at = text.find(kMark, at + 1))
    text.replace(at, kMark.size(), " ");
  return text;
}

void check_words(text::PreTokenizer kind, const std::string& text) {
  uint32_t before = 0;
  for (const uint32_t end : text::split_words(kind, text)) {
    expect(end > before && end <= text.size(), "words end one behind the other, within the text");
    expect(end == text.size() || (static_cast<uint8_t>(text[end]) & 0xC0) != 0x80, "words end between characters");
    before = end;
  }
  expect(before == text.size(), "the last word ends where the text does");
}

void check_text(const Subject& s, std::string_view text, bool add_special, bool parse_special) {
  const Tokenizer& t = s.tokenizer;
  std::vector<int32_t> ids;
  expect(accepts([&] { ids = t.encode(text, {.add_special = add_special, .parse_special = parse_special}); }),
         "a vocabulary that spells every byte, or has an unknown token, takes every text");
  for (const int32_t id : ids) expect(t.vocabulary().contains(id), "encoding gives ids of the vocabulary");
  const std::string back = t.decode(ids);
  expect(is_utf8(back), "decoding gives UTF-8", back);
  if (!s.exact || parse_special) return;
  std::string wanted = repaired(text);
  if (t.vocabulary().model == TokenizerModel::kSentencePiece) wanted = without_marks(std::move(wanted));
  expect(back == wanted, "the text comes back exactly", back);
}

void check_ids(const Tokenizer& t, std::string_view bytes) {
  std::vector<int32_t> ids, inside;
  for (; bytes.size() >= 4; bytes.remove_prefix(4)) {
    int32_t id = 0;
    std::memcpy(&id, bytes.data(), 4);
    ids.push_back(id);
    inside.push_back(static_cast<int32_t>(static_cast<uint32_t>(id) % static_cast<uint32_t>(t.vocabulary().size())));
  }
  for (const bool shown : {false, true}) {
    std::string text;
    if (accepts([&] { text = t.decode(ids, {.render_special = shown}); })) {
      expect(is_utf8(text), "decoding gives UTF-8", text);
    }
    expect(accepts([&] { text = t.decode(inside, {.render_special = shown}); }),
           "ids of the vocabulary can be decoded");
    expect(is_utf8(text), "decoding gives UTF-8", text);
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const Subject& s = subjects()[data[0] % subjects().size()];
  const std::string_view text = text_of(data + 2, size - 2);
  check_text(s, text, data[1] & 1, data[1] & 2);
  if (s.tokenizer.vocabulary().model == TokenizerModel::kByteBpe) {
    check_words(s.tokenizer.vocabulary().pre_tokenizer, repaired(text));
  }
  check_ids(s.tokenizer, text);
  return 0;
}
