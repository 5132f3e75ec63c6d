#include <base/error.hpp>
#include <base/utf8.hpp>
#include <text/detokenizer.hpp>
#include <text/tokenizer.hpp>
#include <text/unicode.hpp>
#include <utility>

namespace brim::text {
namespace {

constexpr size_t kLongestText = size_t{1} << 30;
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

std::variant<SentencePiece, ByteBpe, WordPiece> algorithm_of(const Vocabulary& vocabulary) {
  switch (vocabulary.model) {
    case TokenizerModel::kSentencePiece:
      return SentencePiece(vocabulary);
    case TokenizerModel::kByteBpe:
      return ByteBpe(vocabulary);
    case TokenizerModel::kWordPiece:
      return WordPiece(vocabulary);
  }
  fail(BRIM_INTERNAL, "{}: a tokenizer model without an algorithm", vocabulary.source);
}

std::string bytes_of_token(const Vocabulary& vocabulary, int32_t id) {
  const std::string_view text = vocabulary.text(id);
  const TokenType type = vocabulary.type(id);
  // Only SentencePiece has byte tokens; elsewhere the type says nothing.
  if (type == TokenType::kByte) {
    const auto byte = byte_of_token(text);
    return byte ? std::string(1, static_cast<char>(*byte)) : std::string(text);
  }
  if (type != TokenType::kNormal && type != TokenType::kUnused) return std::string(text);
  if (vocabulary.model == TokenizerModel::kByteBpe) return bytes_of_spelling(text);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const bool mark = text.substr(at).starts_with(kSpaceMark);
    out.push_back(mark ? ' ' : text[at]);
    at += mark ? kSpaceMark.size() : 1;
  }
  return out;
}

std::string repaired(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  while (!text.empty()) {
    const Decoded next = decode_utf8(text);
    out += next.valid ? text.substr(0, next.size) : kReplacementUtf8;
    text.remove_prefix(next.size);
  }
  return out;
}

}  // namespace

Tokenizer Tokenizer::from_metadata(const model::Metadata& metadata) {
  return Tokenizer(Vocabulary::from_metadata(metadata));
}

Tokenizer::Tokenizer(Vocabulary vocabulary)
    : vocabulary_(std::make_unique<const Vocabulary>(std::move(vocabulary))),
      splitter_(*vocabulary_),
      algorithm_(algorithm_of(*vocabulary_)) {
  fill_bytes();
}

void Tokenizer::fill_bytes() {
  ends_.reserve(static_cast<size_t>(vocabulary_->size()) + 1);
  ends_.push_back(0);
  for (int32_t id = 0; id < vocabulary_->size(); ++id) {
    const std::string piece = bytes_of_token(*vocabulary_, id);
    bytes_.insert(bytes_.end(), piece.begin(), piece.end());
    ends_.push_back(bytes_.size());
  }
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  if (text.size() >= kLongestText) {
    fail(BRIM_INVALID_ARGUMENT, "a text of {} bytes is to be encoded at once, expected less than {}; give it in parts",
         text.size(), kLongestText);
  }
  std::string valid;
  if (!is_utf8(text)) {
    valid = repaired(text);
    text = valid;
  }
  const Vocabulary& vocabulary = *vocabulary_;
  std::vector<int32_t> out;
  out.reserve(text.size() / 3 + 3);
  if (options.add_special && vocabulary.add_bos) out.push_back(vocabulary.special.bos);
  // SentencePiece sees a space before the text and after every special token.
  bool after_special = true;
  BpeScratch scratch;
  for (const Fragment& fragment : splitter_.split(text, options.parse_special)) {
    if (fragment.token != kNoToken) {
      out.push_back(fragment.token);
      after_special = true;
      continue;
    }
    if (const auto* pieces = std::get_if<SentencePiece>(&algorithm_)) {
      pieces->encode(fragment.text, vocabulary.add_space_prefix && after_special, out);
    } else if (const auto* bpe = std::get_if<ByteBpe>(&algorithm_)) {
      bpe->encode(fragment.text, scratch, out);
    } else {
      std::get<WordPiece>(algorithm_).encode(fragment.text, out);
    }
    after_special = false;
  }
  if (options.add_special && vocabulary.add_sep) out.push_back(vocabulary.special.sep);
  if (options.add_special && vocabulary.add_eos) out.push_back(vocabulary.special.eos);
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, DecodeOptions options) const {
  Detokenizer detokenizer(*this, options);
  std::string out;
  for (const int32_t id : ids) out += detokenizer.push(id);
  out += detokenizer.flush();
  return out;
}

std::string_view Tokenizer::bytes(int32_t id) const {
  if (!vocabulary_->contains(id)) {
    fail(BRIM_INVALID_ARGUMENT, "token id {} is outside the vocabulary of {}, which has ids 0 to {}", id,
         vocabulary_->source, vocabulary_->size() - 1);
  }
  const size_t begin = ends_[static_cast<size_t>(id)];
  return {bytes_.data() + begin, ends_[static_cast<size_t>(id) + 1] - begin};
}

bool Tokenizer::is_special(int32_t id) const {
  const TokenType type = vocabulary_->type(id);
  return type == TokenType::kControl || type == TokenType::kUnknown;
}

bool Tokenizer::has_leading_space() const {
  return vocabulary_->add_space_prefix || vocabulary_->model == TokenizerModel::kWordPiece;
}

}  // namespace brim::text
