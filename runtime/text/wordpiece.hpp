// WordPiece (tokenizer model "bert"): text is put in lower case without accents and cut at white space, punctuation and
// Chinese characters; each word is the longest token that begins it, then the longest that goes on, and so forth. A
// word that cannot be spelled to its end is the unknown token. Tokens that begin a word are spelled with U+2581 before
// them in the file, those that go on with nothing.
//
// Accents go as BERT's own tokenizer drops them: canonical decomposition, less the nonspacing marks. The reference GGUF
// runtime keeps only the first code point of a decomposition, which loses Hangul vowels and keeps free-standing marks.
#pragma once

#include <cstdint>
#include <string_view>
#include <text/vocabulary.hpp>
#include <unordered_map>
#include <vector>

namespace brim::text {

class WordPiece {
 public:
  // Keeps views into the vocabulary's text.
  explicit WordPiece(const Vocabulary& vocabulary);

  // Appends the ids of text, which must be UTF-8. Any thread.
  void encode(std::string_view text, std::vector<int32_t>& out) const;

 private:
  void encode_word(std::string_view word, std::vector<int32_t>& out) const;

  std::unordered_map<std::string_view, int32_t> first_;  // without their U+2581
  std::unordered_map<std::string_view, int32_t> next_;
  size_t longest_ = 0;  // bytes
  int32_t unknown_;
};

}  // namespace brim::text
