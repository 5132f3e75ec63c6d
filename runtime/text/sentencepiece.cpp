#include <algorithm>
#include <base/error.hpp>
#include <text/sentencepiece.hpp>
#include <text/unicode.hpp>
#include <text/word_cache.hpp>

namespace brim::text {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

// Where U+2581 follows another character, from `from` on; npos if nowhere.
size_t next_word(std::string_view text, size_t from) {
  for (size_t at = text.find(kSpace, from); at != std::string_view::npos; at = text.find(kSpace, at + kSpace.size())) {
    if (at >= kSpace.size() && text.substr(at - kSpace.size(), kSpace.size()) == kSpace) continue;
    if (at > 0) return at;
  }
  return std::string_view::npos;
}

}  // namespace

// Reused from word to word. A symbol is a part of the word; one that was merged away has size 0.
struct PieceScratch {
  struct Symbol {
    uint32_t begin;
    uint32_t size;
    int32_t previous;
    int32_t next;
  };
  struct Candidate {
    float score;
    int32_t left;
    uint32_t size;  // of both symbols together
    // std heaps keep the largest on top: the highest score, of equals the leftmost.
    bool operator<(const Candidate& other) const {
      return score != other.score ? score < other.score : left > other.left;
    }
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

SentencePiece::SentencePiece(const Vocabulary& vocabulary)
    : unknown_(vocabulary.special.unk), source_(vocabulary.source) {
  byte_tokens_.fill(kNoToken);
  pieces_.reserve(static_cast<size_t>(vocabulary.size()));
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view text = vocabulary.text(id);
    switch (vocabulary.type(id)) {
      case TokenType::kNormal:
      case TokenType::kUserDefined:
      case TokenType::kUnused:
        if (text.empty()) break;
        pieces_.emplace(text, Piece{id, vocabulary.score(id)});
        longest_ = std::max(longest_, text.size());
        if (next_word(text, 0) != std::string_view::npos) words_are_separate_ = false;
        break;
      case TokenType::kByte: {
        const auto byte = byte_of_token(text);
        if (!byte) {
          fail(BRIM_DATA_CORRUPT, "{}: tokenizer.ggml.tokens spells byte token {} as '{}', expected <0x00> to <0xFF>",
               source_, id, text);
        }
        byte_tokens_[*byte] = id;
        break;
      }
      case TokenType::kUnknown:
      case TokenType::kControl:
        break;  // reached by name only (special_splitter.hpp)
    }
  }
}

const SentencePiece::Piece* SentencePiece::find(std::string_view text) const {
  if (text.size() > longest_) return nullptr;
  const auto found = pieces_.find(text);
  return found == pieces_.end() ? nullptr : &found->second;
}

void SentencePiece::encode(std::string_view text, bool space_prefix, std::vector<int32_t>& out) const {
  std::string marked;
  marked.reserve(text.size() + text.size() / 2 + kSpace.size());
  if (space_prefix) marked += kSpace;
  for (const char c : text) {
    if (c == ' ') {
      marked += kSpace;
    } else {
      marked.push_back(c);
    }
  }
  PieceScratch scratch;
  const auto encode_one = [&](std::string_view word, std::vector<int32_t>& ids) { encode_word(word, scratch, ids); };
  if (!words_are_separate_) return encode_one(marked, out);
  WordCache cache;
  const std::string_view all = marked;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(next_word(all, begin + 1), all.size());
    cache.append(all.substr(begin, end - begin), out, encode_one);
    begin = end;
  }
}

void SentencePiece::encode_word(std::string_view word, PieceScratch& scratch, std::vector<int32_t>& out) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  symbols.clear();
  heap.clear();
  for (size_t begin = 0; begin < word.size();) {
    const uint32_t size = decode_utf8(word.substr(begin)).size;
    const auto index = static_cast<int32_t>(symbols.size());
    symbols.push_back({static_cast<uint32_t>(begin), size, index - 1, index + 1});
    begin += size;
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
  const auto at = [&](int32_t i) -> PieceScratch::Symbol& { return symbols[static_cast<size_t>(i)]; };
  const auto consider = [&](int32_t left, int32_t right) {
    const uint32_t size = at(left).size + at(right).size;
    const Piece* piece = find(word.substr(at(left).begin, size));
    if (!piece) return false;
    heap.push_back({piece->score, left, size});
    return true;
  };
  for (int32_t i = 0; at(i).next >= 0; ++i) consider(i, i + 1);
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const PieceScratch::Candidate best = heap.back();
    heap.pop_back();
    const int32_t left = best.left;
    const int32_t right = at(left).next;
    // Either side may have been merged with another neighbour since.
    if (at(left).size == 0 || right < 0 || at(left).size + at(right).size != best.size) continue;
    at(left).size = best.size;
    at(right).size = 0;
    at(left).next = at(right).next;
    if (at(left).next >= 0) at(at(left).next).previous = left;
    if (at(left).previous >= 0 && consider(at(left).previous, left)) std::push_heap(heap.begin(), heap.end());
    if (at(left).next >= 0 && consider(left, at(left).next)) std::push_heap(heap.begin(), heap.end());
  }
  for (int32_t i = 0; i >= 0; i = at(i).next) emit(word.substr(at(i).begin, at(i).size), out);
}

void SentencePiece::emit(std::string_view symbol, std::vector<int32_t>& out) const {
  if (const Piece* piece = find(symbol)) {
    out.push_back(piece->id);
    return;
  }
  const bool spelled = std::all_of(symbol.begin(), symbol.end(),
                                   [&](char c) { return byte_tokens_[static_cast<uint8_t>(c)] != kNoToken; });
  if (spelled) {
    for (const char c : symbol) out.push_back(byte_tokens_[static_cast<uint8_t>(c)]);
  } else if (unknown_ != kNoToken) {
    out.push_back(unknown_);
  } else {
    fail(BRIM_INVALID_ARGUMENT,
         "the text holds '{}', for which the vocabulary of {} has no token, no byte tokens and no unknown token; leave "
         "that character out",
         symbol, source_);
  }
}

}  // namespace brim::text
