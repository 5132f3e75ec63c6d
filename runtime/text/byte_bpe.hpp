// Byte-level byte-pair encoding (Radford et al. 2019; tokenizer model "gpt2"): text is cut into words, a word is its
// bytes, and the best-ranked neighbouring pair is merged until no pair is left to merge. Tokens are spelled in an
// alphabet that gives every byte a printable character; spaces stand as U+0120.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <text/vocabulary.hpp>
#include <text/word_cache.hpp>
#include <unordered_map>
#include <vector>

namespace brim::text {

// The bytes that a token spelled in the byte alphabet stands for; characters outside it stand for themselves.
std::string bytes_of_spelling(std::string_view spelling);

// What one caller's encode calls share; it holds views into their texts.
struct BpeScratch {
  // Neighbours are indices into symbols, -1 at the ends; a symbol that was merged away has id -1.
  struct Symbol {
    int32_t id;
    int32_t previous;
    int32_t next;
  };
  std::vector<Symbol> symbols;
  std::vector<uint64_t> heap;  // rank << 32 | index of the left symbol
  WordCache cache;
};

class ByteBpe {
 public:
  explicit ByteBpe(const Vocabulary& vocabulary);

  // Appends the ids of text, which must be UTF-8 shorter than 4 GiB. INVALID_ARGUMENT if a byte has no token and the
  // vocabulary no unknown token. Any thread.
  void encode(std::string_view text, BpeScratch& scratch, std::vector<int32_t>& out) const;

 private:
  // What two neighbours become. Symbols below the vocabulary's size are tokens; those above are halves and results of
  // merges that are no tokens themselves, and end as the bytes in spelled_.
  struct Merge {
    uint64_t pair;  // left << 32 | right, kNoPair if the slot is free
    uint32_t rank;
    int32_t result;
  };

  int32_t symbol_of(const Vocabulary& vocabulary, std::string_view spelling);
  void insert(int32_t left, int32_t right, uint32_t rank, int32_t result);
  const Merge* find(int32_t left, int32_t right) const;
  void encode_word(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;
  void emit(int32_t symbol, std::vector<int32_t>& out) const;

  PreTokenizer pre_tokenizer_;
  int32_t token_count_;
  int32_t unknown_;
  std::string source_;
  std::array<int32_t, 256> byte_symbols_;
  // Open addressing, a power of two of slots, at most half full.
  std::vector<Merge> merges_;
  std::vector<std::string> spelled_;
  std::unordered_map<std::string, int32_t> extra_symbols_;
  // Whole words by their bytes; filled if a word that is a token needs no merges.
  std::unordered_map<std::string_view, int32_t> words_;
  std::vector<std::string> word_bytes_;
};

}  // namespace brim::text
