// Text to token ids and back, for the three tokenizer models that GGUF files carry: SentencePiece ("llama"), byte-level
// BPE ("gpt2") and WordPiece ("bert"). Built once from a model's metadata and immutable from then on: every function is
// for any thread, at the same time, and takes no lock.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <text/byte_bpe.hpp>
#include <text/sentencepiece.hpp>
#include <text/special_splitter.hpp>
#include <text/vocabulary.hpp>
#include <text/wordpiece.hpp>
#include <variant>
#include <vector>

namespace brim::text {

struct EncodeOptions {
  // Add what the vocabulary says begins and ends a text (BOS, EOS; [CLS], [SEP]).
  bool add_special = true;
  // Text that spells a control token means that token. Only for text that the host wrote, such as a rendered chat
  // template: a user could otherwise end the turn.
  bool parse_special = false;
};

struct DecodeOptions {
  // Show control and unknown tokens by their names; otherwise they give no text.
  bool render_special = false;
  // The ids begin a text: the space that SentencePiece and WordPiece put before its first word is dropped. Not so for
  // ids that go on after others.
  bool text_start = true;
};

class Tokenizer {
 public:
  // Fails as Vocabulary::from_metadata does.
  static Tokenizer from_metadata(const model::Metadata& metadata);
  explicit Tokenizer(Vocabulary vocabulary);

  const Vocabulary& vocabulary() const { return *vocabulary_; }

  // Each broken part of text that is no UTF-8 is read as U+FFFD. INVALID_ARGUMENT for text of 1 GiB or more, and for a
  // character that the vocabulary cannot spell.
  std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const;

  // Valid UTF-8 always: bytes that do not come together to characters are U+FFFD. INVALID_ARGUMENT for an id outside
  // the vocabulary.
  std::string decode(std::span<const int32_t> ids, DecodeOptions options = {}) const;

  // The bytes that one token adds to a text, perhaps part of a character; a control or unknown token's is its name.
  // INVALID_ARGUMENT for an id outside the vocabulary.
  std::string_view bytes(int32_t id) const;
  // Shown only if asked for: a control or unknown token. id must be in the vocabulary.
  bool is_special(int32_t id) const;
  bool is_end_of_generation(int32_t id) const { return vocabulary_->is_end_of_generation(id); }
  // A text's first word carries a space that is not in the text.
  bool has_leading_space() const;

 private:
  void fill_bytes();

  // On the heap, so that the views into it hold when the Tokenizer moves.
  std::unique_ptr<const Vocabulary> vocabulary_;
  SpecialSplitter splitter_;
  std::variant<SentencePiece, ByteBpe, WordPiece> algorithm_;
  // The bytes of all tokens; token id's are [ends_[id], ends_[id + 1]).
  std::vector<char> bytes_;
  std::vector<size_t> ends_;
};

}  // namespace brim::text
