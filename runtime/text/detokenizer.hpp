// Turns ids into text as they come. A token may end inside a UTF-8 character; what it begins waits for the tokens that
// complete it, so every piece handed out is whole characters. Bytes that no character can begin with, or that turn out
// not to go on, are U+FFFD as soon as that is certain. The pieces, one after another, are what Tokenizer::decode gives.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <text/tokenizer.hpp>

namespace brim::text {

// One session's; not for two threads at once. Allocates nothing once its buffer has held the longest token.
class Detokenizer {
 public:
  // The tokenizer must outlive it.
  explicit Detokenizer(const Tokenizer& tokenizer, DecodeOptions options = {});

  // The text that is complete with this id, often empty; valid until the next call. INVALID_ARGUMENT for an id outside
  // the vocabulary, with nothing changed.
  std::string_view push(int32_t id);
  // The end: what still waits is U+FFFD. The next push begins a new text.
  std::string_view flush();

 private:
  const Tokenizer& tokenizer_;
  DecodeOptions options_;
  bool at_start_;
  std::string waiting_;  // the first bytes of a character, at most 3
  std::string out_;
};

}  // namespace brim::text
