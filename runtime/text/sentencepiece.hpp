// SentencePiece as the tokenizer model "llama" has it (Kudo & Richardson 2018, the BPE kind): spaces are written
// U+2581, text is its characters, and the neighbouring pair that makes the token of the highest score is merged until
// none does. A character that is no token is spelled by its bytes (<0x00> to <0xFF>).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <text/vocabulary.hpp>
#include <unordered_map>
#include <vector>

namespace brim::text {

class SentencePiece {
 public:
  // Keeps views into the vocabulary's text.
  explicit SentencePiece(const Vocabulary& vocabulary);

  // Appends the ids of text, which must be UTF-8; space_prefix: as if a space stood before it. INVALID_ARGUMENT if a
  // character has neither a token nor byte tokens and the vocabulary no unknown token. Any thread.
  void encode(std::string_view text, bool space_prefix, std::vector<int32_t>& out) const;

 private:
  struct Piece {
    int32_t id;
    float score;
  };

  const Piece* find(std::string_view text) const;
  void encode_word(std::string_view word, struct PieceScratch& scratch, std::vector<int32_t>& out) const;
  void emit(std::string_view symbol, std::vector<int32_t>& out) const;

  std::unordered_map<std::string_view, Piece> pieces_;
  size_t longest_ = 0;  // bytes
  // No token has U+2581 after another character: merges never cross from a word to the space behind it, and words can
  // be merged one by one.
  bool words_are_separate_ = true;
  std::array<int32_t, 256> byte_tokens_;
  int32_t unknown_;
  std::string source_;
};

}  // namespace brim::text
