#include <algorithm>
#include <base/error.hpp>
#include <bit>
#include <functional>
#include <limits>
#include <text/byte_bpe.hpp>
#include <text/pretokenizer.hpp>
#include <text/unicode.hpp>

namespace brim::text {
namespace {

constexpr uint64_t kNoPair = std::numeric_limits<uint64_t>::max();

uint64_t pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

size_t slot_of(uint64_t pair, size_t mask) {
  pair *= 0x9E3779B97F4A7C15u;  // Fibonacci hashing
  return (pair ^ pair >> 32) & mask;
}

// The alphabet: bytes that are printable Latin-1 stand for themselves, the others for U+0100 on, in order.
constexpr bool is_own_character(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr std::array<char32_t, 256> make_alphabet() {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) alphabet[byte] = is_own_character(byte) ? byte : next++;
  return alphabet;
}

constexpr std::array<char32_t, 256> kAlphabet = make_alphabet();
constexpr char32_t kAlphabetEnd = 0x100 + 68;

constexpr std::array<int16_t, kAlphabetEnd> make_bytes() {
  std::array<int16_t, kAlphabetEnd> bytes{};
  for (int16_t& byte : bytes) byte = -1;
  for (uint32_t byte = 0; byte < 256; ++byte) bytes[kAlphabet[byte]] = static_cast<int16_t>(byte);
  return bytes;
}

constexpr std::array<int16_t, kAlphabetEnd> kBytes = make_bytes();

// Text may lead to these; control and unknown tokens are reached by name only (special_splitter.hpp).
bool spells_text(TokenType type) { return type == TokenType::kNormal || type == TokenType::kUnused; }

}  // namespace

std::string bytes_of_spelling(std::string_view spelling) {
  std::string out;
  out.reserve(spelling.size());
  while (!spelling.empty()) {
    const Decoded next = decode_utf8(spelling);
    if (next.valid && next.code_point < kAlphabetEnd && kBytes[next.code_point] >= 0) {
      out.push_back(static_cast<char>(static_cast<uint8_t>(kBytes[next.code_point])));
    } else {
      out.append(spelling.substr(0, next.size));
    }
    spelling.remove_prefix(next.size);
  }
  return out;
}

ByteBpe::ByteBpe(const Vocabulary& vocabulary)
    : pre_tokenizer_(vocabulary.pre_tokenizer),
      token_count_(vocabulary.size()),
      unknown_(vocabulary.special.unk),
      source_(vocabulary.source) {
  const size_t count = vocabulary.merges().size();
  merges_.assign(std::bit_ceil(std::max<size_t>(2 * count, 2)), Merge{kNoPair, 0, 0});
  std::string joined;
  for (size_t rank = 0; rank < count; ++rank) {
    const auto& [left, right] = vocabulary.merges()[rank];
    joined.assign(left).append(right);
    const int32_t first = symbol_of(vocabulary, left);
    const int32_t second = symbol_of(vocabulary, right);
    insert(first, second, static_cast<uint32_t>(rank), symbol_of(vocabulary, joined));
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    std::string spelling;
    append_utf8(spelling, kAlphabet[byte]);
    byte_symbols_[byte] = symbol_of(vocabulary, spelling);
  }
  if (!vocabulary.ignore_merges) return;
  word_bytes_.reserve(static_cast<size_t>(token_count_));
  words_.reserve(static_cast<size_t>(token_count_));
  for (int32_t id = 0; id < token_count_; ++id) {
    if (!spells_text(vocabulary.type(id)) || vocabulary.text(id).empty()) continue;
    words_.emplace(word_bytes_.emplace_back(bytes_of_spelling(vocabulary.text(id))), id);
  }
}

int32_t ByteBpe::symbol_of(const Vocabulary& vocabulary, std::string_view spelling) {
  const int32_t id = vocabulary.find(spelling);
  if (id != kNoToken && spells_text(vocabulary.type(id))) return id;
  if (spelled_.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max() - token_count_)) {
    fail(BRIM_DATA_CORRUPT, "{}: tokenizer.ggml.merges spells too many parts that are no tokens", source_);
  }
  const int32_t next = token_count_ + static_cast<int32_t>(spelled_.size());
  const auto [entry, fresh] = extra_symbols_.try_emplace(std::string(spelling), next);
  if (fresh) spelled_.push_back(bytes_of_spelling(spelling));
  return entry->second;
}

void ByteBpe::insert(int32_t left, int32_t right, uint32_t rank, int32_t result) {
  const uint64_t pair = pair_of(left, right);
  const size_t mask = merges_.size() - 1;
  size_t slot = slot_of(pair, mask);
  while (merges_[slot].pair != kNoPair) {
    if (merges_[slot].pair == pair) return;  // the first of two equal merges has the better rank
    slot = (slot + 1) & mask;
  }
  merges_[slot] = {pair, rank, result};
}

const ByteBpe::Merge* ByteBpe::find(int32_t left, int32_t right) const {
  const uint64_t pair = pair_of(left, right);
  const size_t mask = merges_.size() - 1;
  for (size_t slot = slot_of(pair, mask);; slot = (slot + 1) & mask) {
    if (merges_[slot].pair == pair) return &merges_[slot];
    if (merges_[slot].pair == kNoPair) return nullptr;
  }
}

void ByteBpe::encode(std::string_view text, BpeScratch& scratch, std::vector<int32_t>& out) const {
  size_t begin = 0;
  for (const uint32_t end : split_words(pre_tokenizer_, text)) {
    scratch.cache.append(text.substr(begin, end - begin), out,
                         [&](std::string_view word, std::vector<int32_t>& ids) { encode_word(word, scratch, ids); });
    begin = end;
  }
}

void ByteBpe::encode_word(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  if (const auto whole = words_.find(word); whole != words_.end()) {
    out.push_back(whole->second);
    return;
  }
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  symbols.clear();
  heap.clear();
  const auto count = static_cast<int32_t>(word.size());
  for (int32_t i = 0; i < count; ++i) {
    const auto byte = static_cast<uint8_t>(word[static_cast<size_t>(i)]);
    symbols.push_back({byte_symbols_[byte], i - 1, i + 1 < count ? i + 1 : -1});
  }
  const auto at = [&](int32_t i) -> BpeScratch::Symbol& { return symbols[static_cast<size_t>(i)]; };
  // The smallest on top: the best rank, of equal ranks the leftmost.
  constexpr std::greater<> kSmallestFirst;
  const auto consider = [&](int32_t left, int32_t right) {
    const Merge* merge = find(at(left).id, at(right).id);
    if (merge) heap.push_back(static_cast<uint64_t>(merge->rank) << 32 | static_cast<uint32_t>(left));
    return merge != nullptr;
  };
  for (int32_t i = 0; i + 1 < count; ++i) consider(i, i + 1);
  std::make_heap(heap.begin(), heap.end(), kSmallestFirst);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), kSmallestFirst);
    const auto rank = static_cast<uint32_t>(heap.back() >> 32);
    const auto left = static_cast<int32_t>(heap.back() & 0xFFFFFFFF);
    heap.pop_back();
    const int32_t right = at(left).next;
    if (at(left).id < 0 || right < 0) continue;
    // Either side may have been merged with another neighbour since.
    const Merge* merge = find(at(left).id, at(right).id);
    if (!merge || merge->rank != rank) continue;
    at(left).id = merge->result;
    at(right).id = -1;
    at(left).next = at(right).next;
    const int32_t before = at(left).previous;
    const int32_t after = at(left).next;
    if (after >= 0) at(after).previous = left;
    if (before >= 0 && consider(before, left)) std::push_heap(heap.begin(), heap.end(), kSmallestFirst);
    if (after >= 0 && consider(left, after)) std::push_heap(heap.begin(), heap.end(), kSmallestFirst);
  }
  for (int32_t i = 0; i >= 0; i = at(i).next) emit(at(i).id, out);
}

void ByteBpe::emit(int32_t symbol, std::vector<int32_t>& out) const {
  if (symbol < token_count_) {
    out.push_back(symbol);
    return;
  }
  for (const char c : spelled_[static_cast<size_t>(symbol - token_count_)]) {
    const int32_t byte = byte_symbols_[static_cast<uint8_t>(c)];
    if (byte < token_count_) {
      out.push_back(byte);
    } else if (unknown_ != kNoToken) {
      out.push_back(unknown_);
    } else {
      fail(BRIM_INVALID_ARGUMENT,
           "the text holds byte {:#04x}, for which the vocabulary of {} has no token, nor has it an unknown token; "
           "leave that character out",
           static_cast<uint8_t>(c), source_);
    }
  }
}

}  // namespace brim::text
