#include <algorithm>
#include <array>
#include <base/error.hpp>
#include <base/utf8.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <text/vocabulary.hpp>

namespace brim::text {
namespace {

constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kScoresKey = "tokenizer.ggml.scores";
constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";
constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";
constexpr std::string_view kModelKey = "tokenizer.ggml.model";
constexpr std::string_view kPreKey = "tokenizer.ggml.pre";

struct PreName {
  std::string_view name;
  PreTokenizer kind;
  bool ignore_merges = false;
  bool add_bos = false;
};

// Names that converters write, several for one way of cutting.
constexpr std::array kPreNames = {PreName{"default", PreTokenizer::kDefault},
                                  PreName{"gpt-2", PreTokenizer::kGpt2},
                                  PreName{"phi-2", PreTokenizer::kGpt2},
                                  PreName{"mpt", PreTokenizer::kGpt2},
                                  PreName{"olmo", PreTokenizer::kGpt2},
                                  PreName{"jais", PreTokenizer::kGpt2},
                                  PreName{"exaone4", PreTokenizer::kGpt2},
                                  PreName{"llama-bpe", PreTokenizer::kLlama3, true, true},
                                  PreName{"llama3", PreTokenizer::kLlama3, true, true},
                                  PreName{"llama-v3", PreTokenizer::kLlama3, true, true},
                                  PreName{"falcon3", PreTokenizer::kLlama3, true, true},
                                  PreName{"falcon-h1", PreTokenizer::kLlama3, true, true},
                                  PreName{"pixtral", PreTokenizer::kLlama3, true, true},
                                  PreName{"lfm2", PreTokenizer::kLlama3, true, true},
                                  PreName{"dbrx", PreTokenizer::kLlama3},
                                  PreName{"smaug-bpe", PreTokenizer::kLlama3},
                                  PreName{"qwen2", PreTokenizer::kQwen2},
                                  PreName{"deepseek-r1-qwen", PreTokenizer::kQwen2},
                                  PreName{"qwen35", PreTokenizer::kQwen35},
                                  PreName{"megrez", PreTokenizer::kQwen2},
                                  PreName{"stablelm2", PreTokenizer::kQwen2},
                                  PreName{"starcoder", PreTokenizer::kStarcoder},
                                  PreName{"refact", PreTokenizer::kStarcoder},
                                  PreName{"command-r", PreTokenizer::kStarcoder},
                                  PreName{"smollm", PreTokenizer::kStarcoder},
                                  PreName{"codeshell", PreTokenizer::kStarcoder},
                                  PreName{"exaone", PreTokenizer::kStarcoder},
                                  PreName{"minerva-7b", PreTokenizer::kStarcoder},
                                  PreName{"falcon", PreTokenizer::kFalcon},
                                  PreName{"deepseek-llm", PreTokenizer::kDeepseekLlm},
                                  PreName{"deepseek-coder", PreTokenizer::kDeepseekCoder},
                                  PreName{"deepseek-v3", PreTokenizer::kDeepseekV3},
                                  PreName{"tekken", PreTokenizer::kTekken, true, true},
                                  PreName{"gpt-4o", PreTokenizer::kGpt4o},
                                  PreName{"llama4", PreTokenizer::kGpt4o}};

struct ModelName {
  std::string_view name;
  TokenizerModel model;
};

constexpr std::array kModelNames = {ModelName{"llama", TokenizerModel::kSentencePiece},
                                    ModelName{"gpt2", TokenizerModel::kByteBpe},
                                    ModelName{"bert", TokenizerModel::kWordPiece}};

// The names of a table, for a message: "a, b, c".
template <class Table>
std::string list_names(const Table& table) {
  std::string out;
  for (const auto& entry : table) {
    if (!out.empty()) out += ", ";
    out += entry.name;
  }
  return out;
}

template <class Table>
const typename Table::value_type* find_name(const Table& table, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.name == name; });
  return found == table.end() ? nullptr : &*found;
}

struct IdKey {
  std::string_view key;
  int32_t SpecialTokens::*place;
};

// "seperator" is the format's own spelling; prefix/suffix/middle are older names of the fim_ keys.
constexpr std::array kIdKeys = {IdKey{"tokenizer.ggml.bos_token_id", &SpecialTokens::bos},
                                IdKey{"tokenizer.ggml.eos_token_id", &SpecialTokens::eos},
                                IdKey{"tokenizer.ggml.eot_token_id", &SpecialTokens::eot},
                                IdKey{"tokenizer.ggml.eom_token_id", &SpecialTokens::eom},
                                IdKey{"tokenizer.ggml.unknown_token_id", &SpecialTokens::unk},
                                IdKey{"tokenizer.ggml.seperator_token_id", &SpecialTokens::sep},
                                IdKey{"tokenizer.ggml.padding_token_id", &SpecialTokens::pad},
                                IdKey{"tokenizer.ggml.cls_token_id", &SpecialTokens::cls},
                                IdKey{"tokenizer.ggml.mask_token_id", &SpecialTokens::mask},
                                IdKey{"tokenizer.ggml.prefix_token_id", &SpecialTokens::fim_prefix},
                                IdKey{"tokenizer.ggml.suffix_token_id", &SpecialTokens::fim_suffix},
                                IdKey{"tokenizer.ggml.middle_token_id", &SpecialTokens::fim_middle},
                                IdKey{"tokenizer.ggml.fim_pre_token_id", &SpecialTokens::fim_prefix},
                                IdKey{"tokenizer.ggml.fim_suf_token_id", &SpecialTokens::fim_suffix},
                                IdKey{"tokenizer.ggml.fim_mid_token_id", &SpecialTokens::fim_middle},
                                IdKey{"tokenizer.ggml.fim_pad_token_id", &SpecialTokens::fim_pad},
                                IdKey{"tokenizer.ggml.fim_rep_token_id", &SpecialTokens::fim_repository},
                                IdKey{"tokenizer.ggml.fim_sep_token_id", &SpecialTokens::fim_separator}};

struct SpecialText {
  std::string_view text;
  int32_t SpecialTokens::*place;
};

// Files seldom carry the ids of these, so they are known by their spelling; the first one there is taken.
constexpr std::array kSpecialTexts = {SpecialText{"<|eot_id|>", &SpecialTokens::eot},
                                      SpecialText{"<|im_end|>", &SpecialTokens::eot},
                                      SpecialText{"<|end|>", &SpecialTokens::eot},
                                      SpecialText{"<end_of_turn>", &SpecialTokens::eot},
                                      SpecialText{"<|endoftext|>", &SpecialTokens::eot},
                                      SpecialText{"<|end_of_text|>", &SpecialTokens::eot},
                                      SpecialText{"<EOT>", &SpecialTokens::eot},
                                      SpecialText{"_<EOT>", &SpecialTokens::eot},
                                      SpecialText{"<｜end▁of▁sentence｜>", &SpecialTokens::eot},
                                      SpecialText{"<end_of_utterance>", &SpecialTokens::eot},
                                      SpecialText{"<|eom_id|>", &SpecialTokens::eom},
                                      SpecialText{"<|fim_prefix|>", &SpecialTokens::fim_prefix},
                                      SpecialText{"<fim-prefix>", &SpecialTokens::fim_prefix},
                                      SpecialText{"<fim_prefix>", &SpecialTokens::fim_prefix},
                                      SpecialText{"<｜fim▁begin｜>", &SpecialTokens::fim_prefix},
                                      SpecialText{"<PRE>", &SpecialTokens::fim_prefix},
                                      SpecialText{"▁<PRE>", &SpecialTokens::fim_prefix},
                                      SpecialText{"<|fim_suffix|>", &SpecialTokens::fim_suffix},
                                      SpecialText{"<fim-suffix>", &SpecialTokens::fim_suffix},
                                      SpecialText{"<fim_suffix>", &SpecialTokens::fim_suffix},
                                      SpecialText{"<｜fim▁hole｜>", &SpecialTokens::fim_suffix},
                                      SpecialText{"<SUF>", &SpecialTokens::fim_suffix},
                                      SpecialText{"▁<SUF>", &SpecialTokens::fim_suffix},
                                      SpecialText{"<|fim_middle|>", &SpecialTokens::fim_middle},
                                      SpecialText{"<fim-middle>", &SpecialTokens::fim_middle},
                                      SpecialText{"<fim_middle>", &SpecialTokens::fim_middle},
                                      SpecialText{"<｜fim▁end｜>", &SpecialTokens::fim_middle},
                                      SpecialText{"<MID>", &SpecialTokens::fim_middle},
                                      SpecialText{"▁<MID>", &SpecialTokens::fim_middle},
                                      SpecialText{"<|fim_pad|>", &SpecialTokens::fim_pad},
                                      SpecialText{"<fim-pad>", &SpecialTokens::fim_pad},
                                      SpecialText{"<fim_pad>", &SpecialTokens::fim_pad},
                                      SpecialText{"<PAD>", &SpecialTokens::fim_pad},
                                      SpecialText{"<|fim_repo|>", &SpecialTokens::fim_repository},
                                      SpecialText{"<|repo_name|>", &SpecialTokens::fim_repository},
                                      SpecialText{"<fim-repo>", &SpecialTokens::fim_repository},
                                      SpecialText{"<REPO>", &SpecialTokens::fim_repository},
                                      SpecialText{"<reponame>", &SpecialTokens::fim_repository},
                                      SpecialText{"<|file_sep|>", &SpecialTokens::fim_separator}};

constexpr std::array<std::string_view, 12> kEndTexts = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>",    "<|call|>",        "<end_of_turn>",
    "<|eom_id|>", "<EOT>",      "_<EOT>",  "<|endoftext|>", "<|end_of_text|>", "<end_of_utterance>"};

}  // namespace

std::optional<uint8_t> byte_of_token(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  uint8_t byte = 0;
  const auto end = std::from_chars(text.data() + 3, text.data() + 5, byte, 16);
  if (end.ec != std::errc() || end.ptr != text.data() + 5) return std::nullopt;
  return byte;
}

Vocabulary Vocabulary::from_metadata(const model::Metadata& metadata) {
  Vocabulary out;
  out.source = metadata.source;
  if (!metadata.has(kModelKey)) {
    fail(BRIM_NOT_FOUND,
         "{}: key '{}' is missing: the file holds no vocabulary, so text cannot be encoded or decoded with it; convert "
         "the model again with its tokenizer, or give token ids",
         out.source, kModelKey);
  }
  const std::string_view name = metadata.require_string(kModelKey);
  const ModelName* known = find_name(kModelNames, name);
  if (!known) {
    fail(BRIM_UNSUPPORTED, "{}: {} is '{}'; known tokenizer models: {}", out.source, kModelKey, printable(name),
         list_names(kModelNames));
  }
  out.model = known->model;
  switch (out.model) {
    case TokenizerModel::kSentencePiece:
      out.special.bos = 1;
      out.special.eos = 2;
      out.special.unk = 0;
      out.add_bos = true;
      out.add_space_prefix = true;
      out.control_strips_right = metadata.string("general.architecture").value_or("") == "phi3";
      break;
    case TokenizerModel::kByteBpe: {
      out.special.bos = 11;
      out.special.eos = 11;
      const std::string_view pre = metadata.string(kPreKey).value_or("default");
      const PreName* cut = find_name(kPreNames, pre);
      if (!cut) {
        fail(BRIM_UNSUPPORTED,
             "{}: {} is '{}', a way of cutting text into words that is not known; a guess would give wrong tokens. "
             "Known: {}",
             out.source, kPreKey, printable(pre), list_names(kPreNames));
      }
      out.pre_tokenizer = cut->kind;
      out.ignore_merges = cut->ignore_merges;
      out.add_bos = cut->add_bos;
      break;
    }
    case TokenizerModel::kWordPiece:
      out.special.bos = 101;
      out.special.unk = 100;
      out.special.sep = 102;
      out.special.pad = 0;
      out.special.mask = 103;
      out.add_bos = true;
      out.add_sep = true;
      break;
  }
  // All text in one place, reserved before the first view into it is taken.
  size_t characters = 0;
  for (const std::string_view key : {kTokensKey, kMergesKey}) {
    const std::vector<std::string_view>* list = metadata.strings(key);
    if (!list) continue;
    for (const std::string_view text : *list) characters += text.size();
  }
  out.characters_.reserve(characters);
  out.read_tokens(metadata);
  out.read_merges(metadata);
  out.read_special_ids(metadata);
  out.find_special_by_text();
  out.collect_end_of_generation();
  return out;
}

std::string_view Vocabulary::keep(std::string_view text) {
  const char* begin = characters_.data() + characters_.size();
  characters_.insert(characters_.end(), text.begin(), text.end());
  return {begin, text.size()};
}

int32_t Vocabulary::find(std::string_view text) const {
  const auto found = ids_.find(text);
  return found == ids_.end() ? kNoToken : found->second;
}

void Vocabulary::read_tokens(const model::Metadata& metadata) {
  const std::vector<std::string_view>& texts = metadata.require_strings(kTokensKey);
  if (texts.empty() || texts.size() > std::numeric_limits<int32_t>::max()) {
    fail(BRIM_DATA_CORRUPT, "{}: {} holds {} tokens, expected 1 to {}", source, kTokensKey, texts.size(),
         std::numeric_limits<int32_t>::max());
  }
  const std::vector<float>* scores = metadata.f32s(kScoresKey);
  if (scores && scores->size() != texts.size()) {
    fail(BRIM_DATA_CORRUPT, "{}: {} holds {} scores for the {} tokens of {}, expected one each", source, kScoresKey,
         scores->size(), texts.size(), kTokensKey);
  }
  if (!scores && model == TokenizerModel::kSentencePiece) {
    fail(BRIM_DATA_CORRUPT, "{}: key '{}' is missing, and a '{}' vocabulary merges by it; convert the model again",
         source, kScoresKey, "llama");
  }
  const std::optional<std::vector<uint64_t>> types = metadata.u64s(kTypesKey);
  if (types && types->size() != texts.size()) {
    fail(BRIM_DATA_CORRUPT, "{}: {} holds {} types for the {} tokens of {}, expected one each", source, kTypesKey,
         types->size(), texts.size(), kTokensKey);
  }
  tokens_.reserve(texts.size());
  ids_.reserve(texts.size());
  for (size_t id = 0; id < texts.size(); ++id) {
    Token token;
    token.text = keep(texts[id]);
    if (scores) {
      token.score = (*scores)[id];
      if (std::isnan(token.score)) {
        fail(BRIM_DATA_CORRUPT, "{}: {} is not a number at token {}", source, kScoresKey, id);
      }
    }
    if (types) {
      // 0 is "undefined"; files use it for padding.
      if ((*types)[id] > 6) {
        fail(BRIM_DATA_CORRUPT, "{}: {} is {} at token {}, expected 1 (normal) to 6 (byte)", source, kTypesKey,
             (*types)[id], id);
      }
      token.type = (*types)[id] == 0 ? TokenType::kUnused : static_cast<TokenType>((*types)[id]);
    } else if (model == TokenizerModel::kSentencePiece && byte_of_token(token.text)) {
      token.type = TokenType::kByte;
    }
    tokens_.push_back(token);
    // An empty token is padding: no text leads to it.
    if (token.text.empty()) continue;
    const auto [place, fresh] = ids_.try_emplace(token.text, static_cast<int32_t>(id));
    if (!fresh) {
      fail(BRIM_DATA_CORRUPT, "{}: {} spells '{}' twice, as tokens {} and {}; convert the model again", source,
           kTokensKey, printable(token.text), place->second, id);
    }
  }
}

void Vocabulary::read_merges(const model::Metadata& metadata) {
  if (model != TokenizerModel::kByteBpe) return;
  const std::vector<std::string_view>& lines = metadata.require_strings(kMergesKey);
  if (lines.size() > std::numeric_limits<int32_t>::max()) {
    fail(BRIM_DATA_CORRUPT, "{}: {} holds {} merges, expected at most {}", source, kMergesKey, lines.size(),
         std::numeric_limits<int32_t>::max());
  }
  merges_.reserve(lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    // A half has at least one character, so the separator is not the first one.
    const size_t space = lines[i].find(' ', 1);
    if (space == std::string_view::npos || space + 1 == lines[i].size()) {
      fail(BRIM_DATA_CORRUPT, "{}: {} has '{}' at index {}, expected two parts with a space between them", source,
           kMergesKey, printable(lines[i]), i);
    }
    const std::string_view line = keep(lines[i]);
    merges_.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
}

void Vocabulary::read_special_ids(const model::Metadata& metadata) {
  // The defaults were set before the size was known. Byte-level BPE has one that fits Falcon alone: where it names an
  // ordinary word it is none, or text would end at that word.
  for (int32_t* id : {&special.bos, &special.eos, &special.unk, &special.sep, &special.pad, &special.mask}) {
    const bool ordinary = model == TokenizerModel::kByteBpe && contains(*id) && type(*id) != TokenType::kControl;
    if (!contains(*id) || ordinary) *id = kNoToken;
  }
  for (const IdKey& entry : kIdKeys) {
    const std::optional<uint64_t> id = metadata.u64(entry.key);
    if (!id) continue;
    if (*id >= tokens_.size()) {
      fail(BRIM_DATA_CORRUPT, "{}: {} is {}, but {} holds {} tokens; convert the model again", source, entry.key, *id,
           kTokensKey, tokens_.size());
    }
    special.*entry.place = static_cast<int32_t>(*id);
  }
  // [CLS] is what a WordPiece text begins with.
  if (model == TokenizerModel::kWordPiece) {
    if (special.cls == kNoToken) special.cls = special.bos;
    special.bos = special.cls;
  }
  add_bos = metadata.boolean("tokenizer.ggml.add_bos_token").value_or(add_bos);
  add_eos = metadata.boolean("tokenizer.ggml.add_eos_token").value_or(add_eos);
  add_sep = metadata.boolean("tokenizer.ggml.add_sep_token").value_or(add_sep);
  add_space_prefix = metadata.boolean("tokenizer.ggml.add_space_prefix").value_or(add_space_prefix);
  const auto needs = [&](bool flag, int32_t id, std::string_view what) {
    if (!flag || id != kNoToken) return;
    fail(BRIM_DATA_CORRUPT,
         "{}: text is to get a {} token (tokenizer.ggml.add_{}_token or its default), but the file names none "
         "(tokenizer.ggml.{}_token_id)",
         source, what, what, what == "sep" ? "seperator" : what);
  };
  needs(add_bos, special.bos, "bos");
  needs(add_eos, special.eos, "eos");
  needs(add_sep, special.sep, "sep");
}

void Vocabulary::find_special_by_text() {
  for (const SpecialText& entry : kSpecialTexts) {
    int32_t& place = special.*entry.place;
    if (place != kNoToken) continue;
    place = find(entry.text);
    if (place != kNoToken) make_control(place);
  }
}

void Vocabulary::collect_end_of_generation() {
  for (const std::string_view text : kEndTexts) {
    const int32_t id = find(text);
    if (id == kNoToken) continue;
    make_control(id);
    end_of_generation_.insert(id);
  }
  for (const int32_t id :
       {special.eos, special.eot, special.eom, special.fim_pad, special.fim_repository, special.fim_separator}) {
    if (id != kNoToken) end_of_generation_.insert(id);
  }
  // In the harmony vocabulary <|end|> closes one message of several; <|return|> and <|call|> end the answer.
  if (find("<|return|>") == kNoToken || find("<|call|>") == kNoToken) return;
  const int32_t end = find("<|end|>");
  if (end == kNoToken) return;
  end_of_generation_.erase(end);
  if (special.eot == end) special.eot = kNoToken;
}

}  // namespace brim::text
