// A model's vocabulary as its file tells it: the tokens with their scores and kinds, the merges, the special tokens and
// the flags that say what encoding adds. Keys that a file leaves out get the defaults that the GGUF format's reference
// runtime gives them, per tokenizer model; a key that is there and makes no sense is an error that names it. Encoding
// and decoding are tokenizer.hpp's.
#pragma once

#include <cstdint>
#include <model/metadata.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace brim::text {

inline constexpr int32_t kNoToken = -1;

// tokenizer.ggml.token_type, with the file's own numbers.
enum class TokenType : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// tokenizer.ggml.model: "llama", "gpt2" and "bert".
enum class TokenizerModel : uint8_t { kSentencePiece, kByteBpe, kWordPiece };

// How byte-level BPE cuts text into words before it merges (pretokenizer.hpp).
enum class PreTokenizer : uint8_t {
  kDefault,
  kGpt2,
  kLlama3,
  kQwen2,
  kQwen35,
  kStarcoder,
  kFalcon,
  kDeepseekLlm,
  kDeepseekCoder,
  kDeepseekV3,
  kTekken,
  kGpt4o
};

// Ids, kNoToken where the vocabulary has none.
struct SpecialTokens {
  int32_t bos = kNoToken;
  int32_t eos = kNoToken;
  int32_t unk = kNoToken;
  int32_t sep = kNoToken;
  int32_t pad = kNoToken;
  int32_t cls = kNoToken;
  int32_t mask = kNoToken;
  int32_t eot = kNoToken;  // end of a turn
  int32_t eom = kNoToken;  // end of a message that waits for a tool
  int32_t fim_prefix = kNoToken;
  int32_t fim_suffix = kNoToken;
  int32_t fim_middle = kNoToken;
  int32_t fim_pad = kNoToken;
  int32_t fim_repository = kNoToken;
  int32_t fim_separator = kNoToken;
};

// The byte of a token spelled "<0x0A>"; nothing for other spellings.
std::optional<uint8_t> byte_of_token(std::string_view text);

// Immutable once built; reading it is for any thread.
class Vocabulary {
 public:
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  // NOT_FOUND for a file without a vocabulary, UNSUPPORTED for a tokenizer model or pre-tokenizer that is not known
  // (the message lists those that are), DATA_CORRUPT for keys that contradict each other.
  static Vocabulary from_metadata(const model::Metadata& metadata);

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  bool contains(int64_t id) const { return id >= 0 && id < size(); }
  // The token as the file spells it (byte-level alphabet and U+2581 included). Here and below, id must be contained.
  std::string_view text(int32_t id) const { return tokens_[static_cast<size_t>(id)].text; }
  float score(int32_t id) const { return tokens_[static_cast<size_t>(id)].score; }
  TokenType type(int32_t id) const { return tokens_[static_cast<size_t>(id)].type; }
  // kNoToken if no token is spelled like that.
  int32_t find(std::string_view text) const;
  bool is_end_of_generation(int32_t id) const { return end_of_generation_.contains(id); }

  // Best first. The halves are spelled like tokens, but need not be tokens.
  const std::vector<std::pair<std::string_view, std::string_view>>& merges() const { return merges_; }

  TokenizerModel model = TokenizerModel::kSentencePiece;
  PreTokenizer pre_tokenizer = PreTokenizer::kDefault;
  SpecialTokens special;
  bool add_bos = false;
  bool add_eos = false;
  bool add_sep = false;
  // SentencePiece: text begins as if a space stood before it.
  bool add_space_prefix = false;
  // Byte-level BPE: a word that is a token is that token, whatever the merges say.
  bool ignore_merges = false;
  // Control tokens swallow the white space after them (Phi-3's SentencePiece vocabulary).
  bool control_strips_right = false;
  // What error messages call the file.
  std::string source;

 private:
  struct Token {
    std::string_view text;
    float score = 0;
    TokenType type = TokenType::kNormal;
  };

  Vocabulary() = default;
  std::string_view keep(std::string_view text);
  void read_tokens(const model::Metadata& metadata);
  void read_merges(const model::Metadata& metadata);
  void read_special_ids(const model::Metadata& metadata);
  void find_special_by_text();
  void collect_end_of_generation();
  void make_control(int32_t id) { tokens_[static_cast<size_t>(id)].type = TokenType::kControl; }

  std::vector<Token> tokens_;
  std::vector<std::pair<std::string_view, std::string_view>> merges_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::unordered_set<int32_t> end_of_generation_;
  // Behind every string_view above: reserved once, so that its buffer never moves, not even when the Vocabulary does.
  std::vector<char> characters_;
};

}  // namespace brim::text
