// The smallest llama that runs: a few hundred weights, a vocabulary of a dozen tokens, about 3 KB as a file. Targets
// mutate it or run it.
#pragma once

#include <string>
#include <vector>

#include "../support/gguf_builder.hpp"

namespace brim::fuzz {

inline constexpr uint32_t kTinyVocabulary = 12, kTinyWidth = 8, kTinyContext = 64;

inline void add_tiny_vocabulary(test::GgufBuilder& b) {
  const std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "<0x0A>", "\xE2\x96\x81", "a", "b", "c",
                                           "ab",    "abc", "d",    "e"};
  b.set("general.architecture", "llama").set("general.name", "tiny").set("tokenizer.ggml.model", "llama");
  b.set("tokenizer.ggml.tokens", tokens);
  b.set("tokenizer.ggml.scores", std::vector<float>{0, 0, 0, 0, -1, -2, -3, -4, -5, -6, -7, -8});
  b.set("tokenizer.ggml.token_type", std::vector<int32_t>{2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1, 1});
  b.set("tokenizer.ggml.bos_token_id", uint32_t{1}).set("tokenizer.ggml.eos_token_id", uint32_t{2});
  b.set("tokenizer.chat_template",
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
        "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}");
}

// Weights that differ from place to place, between -1 and 1.
inline std::vector<float> tiny_values(size_t n, uint32_t seed) {
  std::vector<float> out(n);
  for (float& v : out) {
    seed = seed * 1664525 + 1013904223;
    v = static_cast<float>(seed >> 8) / static_cast<float>(1 << 23) - 1;
  }
  return out;
}

inline void add_tiny_layer(test::GgufBuilder& b, uint32_t layer) {
  constexpr uint64_t kWidth = kTinyWidth, kHalf = kTinyWidth / 2;
  const std::string block = "blk." + std::to_string(layer) + ".";
  uint32_t seed = 100 * layer;
  const auto add = [&](const char* name, std::vector<uint64_t> shape) {
    uint64_t n = 1;
    for (const uint64_t extent : shape) n *= extent;
    b.f32(block + name + ".weight", std::move(shape), tiny_values(n, ++seed));
  };
  add("attn_norm", {kWidth});
  add("attn_q", {kWidth, kWidth});
  add("attn_k", {kHalf, kWidth});
  add("attn_v", {kHalf, kWidth});
  add("attn_output", {kWidth, kWidth});
  add("ffn_norm", {kWidth});
  add("ffn_gate", {kWidth, kWidth});
  add("ffn_up", {kWidth, kWidth});
  add("ffn_down", {kWidth, kWidth});
}

inline void add_tiny_sizes(test::GgufBuilder& b, uint32_t layers) {
  b.set("llama.block_count", layers).set("llama.context_length", kTinyContext);
  b.set("llama.embedding_length", kTinyWidth).set("llama.feed_forward_length", kTinyWidth);
  b.set("llama.attention.head_count", uint32_t{2}).set("llama.attention.head_count_kv", uint32_t{1});
  b.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
}

inline void add_tiny_tables(test::GgufBuilder& b) {
  b.f32("token_embd.weight", {kTinyVocabulary, kTinyWidth}, tiny_values(kTinyVocabulary * kTinyWidth, 1000));
  b.f32("output_norm.weight", {kTinyWidth}, std::vector<float>(kTinyWidth, 1));
}

inline test::GgufBuilder tiny_model(uint32_t layers = 1) {
  test::GgufBuilder b;
  add_tiny_vocabulary(b);
  add_tiny_sizes(b, layers);
  add_tiny_tables(b);
  for (uint32_t i = 0; i < layers; ++i) add_tiny_layer(b, i);
  return b;
}

}  // namespace brim::fuzz
