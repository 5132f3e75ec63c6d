// Small vocabularies in memory, as the metadata of a model file would give them.
#pragma once

#include <cstdint>
#include <model/metadata.hpp>
#include <string>
#include <string_view>
#include <text/vocabulary.hpp>
#include <utility>
#include <vector>

namespace brim::test {

struct Token {
  std::string text;
  float score = 0;
  text::TokenType type = text::TokenType::kNormal;
};

// One file's worth: leave a list empty and its key is left out.
struct VocabularyBuilder {
  std::string model;
  std::string pre;
  std::vector<Token> tokens;
  std::vector<std::string> merges;
  std::vector<std::pair<std::string, model::Value>> extra;

  // add("x") and so on return the token's id.
  int32_t add(std::string token, float score = 0, text::TokenType type = text::TokenType::kNormal) {
    tokens.push_back({std::move(token), score, type});
    return static_cast<int32_t>(tokens.size()) - 1;
  }
  int32_t control(std::string token) { return add(std::move(token), 0, text::TokenType::kControl); }

  model::Metadata metadata() const {
    model::Metadata out;
    out.source = "test.gguf";
    out.set("tokenizer.ggml.model", out.intern(model));
    if (!pre.empty()) out.set("tokenizer.ggml.pre", out.intern(pre));
    std::vector<std::string_view> texts, lines;
    std::vector<float> scores;
    std::vector<int64_t> types;
    for (const Token& token : tokens) {
      texts.push_back(out.intern(token.text));
      scores.push_back(token.score);
      types.push_back(static_cast<int64_t>(token.type));
    }
    for (const std::string& merge : merges) lines.push_back(out.intern(merge));
    out.set("tokenizer.ggml.tokens", texts);
    out.set("tokenizer.ggml.scores", scores);
    out.set("tokenizer.ggml.token_type", types);
    if (!lines.empty()) out.set("tokenizer.ggml.merges", lines);
    for (const auto& [key, value] : extra) {
      const auto* string = std::get_if<std::string_view>(&value);
      out.set(key, string ? model::Value(out.intern(std::string(*string))) : value);
    }
    return out;
  }
};

// All 256 bytes in the byte alphabet: ids 0 to 93 are '!' to '~', the rest follow in the alphabet's order.
inline VocabularyBuilder byte_vocabulary(std::string pre) {
  VocabularyBuilder out;
  out.model = "gpt2";
  out.pre = std::move(pre);
  const auto utf8 = [](uint32_t c) {
    return c < 0x80 ? std::string(1, static_cast<char>(c))
                    : std::string{static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 0x3F))};
  };
  for (uint32_t c = 0x21; c <= 0x143; ++c) {
    const bool skipped = (c > 0x7E && c < 0xA1) || c == 0xAD;
    if (!skipped) out.add(utf8(c));
  }
  return out;
}

// <unk>, <s>, </s> and the 256 byte tokens: ids 0, 1, 2 and 3 + byte.
inline VocabularyBuilder piece_vocabulary() {
  VocabularyBuilder out;
  out.model = "llama";
  out.add("<unk>", 0, text::TokenType::kUnknown);
  out.control("<s>");
  out.control("</s>");
  const char* hex = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    out.add(std::string("<0x") + hex[byte / 16] + hex[byte % 16] + ">", 0, text::TokenType::kByte);
  }
  return out;
}

}  // namespace brim::test
