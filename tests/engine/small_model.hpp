// Llama files with random weights, small enough to be built for every test: grouped-query attention, a vocabulary of
// all bytes, wide enough that logits differ clearly from token to token. With a window they are Gemma 2 files, of which
// every other layer sees that many tokens only.
#pragma once

#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "../support/gguf_builder.hpp"

namespace brim::test {

struct SmallModel {
  uint32_t layers = 2, width = 64, heads = 4, kv_heads = 2, ff = 96, context = 256;
  bool q8_0 = false;     // matrices in Q8_0 rather than F32
  bool biases = false;   // of Q, K and V
  bool factors = false;  // rope_freqs
  uint32_t window = 0;
  std::string chat_template;
  uint32_t seed = 1;
  std::string name = "small";

  void write(const std::filesystem::path& path) const {
    std::mt19937 random(seed);
    GgufBuilder b;
    const std::string family = window ? "gemma2" : "llama";
    vocabulary(b, family, name);
    b.set(family + ".block_count", layers).set(family + ".context_length", context);
    b.set(family + ".embedding_length", width).set(family + ".feed_forward_length", ff);
    b.set(family + ".attention.head_count", heads).set(family + ".attention.head_count_kv", kv_heads);
    b.set(family + ".attention.layer_norm_rms_epsilon", 1e-5f);
    if (window) b.set(family + ".attention.sliding_window", window);
    if (!chat_template.empty()) b.set("tokenizer.chat_template", chat_template);
    const auto values = [&](uint64_t n, float mean, float deviation) {
      std::normal_distribution<float> normal(mean, deviation);
      std::vector<float> v(n);
      for (float& x : v) x = normal(random);
      return v;
    };
    const auto matrix = [&](const std::string& name, uint64_t rows, uint64_t n, float gain = 1) {
      const auto v = values(rows * n, 0, gain / std::sqrt(static_cast<float>(n)));
      if (q8_0) {
        b.tensor(name, {rows, n}, 8, encode_q8_0(v));
      } else {
        b.f32(name, {rows, n}, v);
      }
    };
    const auto vector = [&](const std::string& name, uint64_t n, float mean, float deviation) {
      b.f32(name, {n}, values(n, mean, deviation));
    };
    const uint64_t kv_width = width / heads * kv_heads;
    matrix("token_embd.weight", kVocabulary, width, 8);
    matrix("output.weight", kVocabulary, width);
    vector("output_norm.weight", width, 1, 0.1f);
    if (factors) b.f32("rope_freqs.weight", {width / heads / 2}, values(width / heads / 2, 2, 0.2f));
    for (uint32_t i = 0; i < layers; ++i) {
      const std::string block = "blk." + std::to_string(i) + ".";
      vector(block + "attn_norm.weight", width, 1, 0.1f);
      vector(block + "ffn_norm.weight", width, 1, 0.1f);
      if (window) vector(block + "post_attention_norm.weight", width, 1, 0.1f);
      if (window) vector(block + "post_ffw_norm.weight", width, 1, 0.1f);
      matrix(block + "attn_q.weight", width, width, 2);
      matrix(block + "attn_k.weight", kv_width, width, 2);
      matrix(block + "attn_v.weight", kv_width, width, 1);
      matrix(block + "attn_output.weight", width, width);
      matrix(block + "ffn_gate.weight", ff, width);
      matrix(block + "ffn_up.weight", ff, width);
      matrix(block + "ffn_down.weight", width, ff);
      if (biases) {
        vector(block + "attn_q.bias", width, 0, 0.3f);
        vector(block + "attn_k.bias", kv_width, 0, 0.3f);
        vector(block + "attn_v.bias", kv_width, 0, 0.3f);
      }
    }
    b.write(path);
  }

  static constexpr uint32_t kVocabulary = 288;  // <unk>, <s>, </s>, the bytes, and words to make it even

 private:
  // Blocks of an F16 scale and 32 quants.
  static std::vector<uint8_t> encode_q8_0(const std::vector<float>& v) {
    std::vector<uint8_t> out;
    for (size_t b = 0; b < v.size(); b += 32) {
      float most = 0;
      for (size_t i = b; i < b + 32; ++i) most = std::max(most, std::fabs(v[i]));
      // A power of two above most / 127 is an F16 exactly.
      int exponent = 0;
      std::frexp(most / 127, &exponent);
      const float scale = std::ldexp(1.0f, exponent);
      const auto half = static_cast<uint16_t>((exponent + 15) << 10);
      out.push_back(static_cast<uint8_t>(half & 0xff));
      out.push_back(static_cast<uint8_t>(half >> 8));
      for (size_t i = b; i < b + 32; ++i) out.push_back(static_cast<uint8_t>(std::lround(v[i] / scale)));
    }
    return out;
  }

  static void vocabulary(GgufBuilder& b, const std::string& family, const std::string& name) {
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<int32_t> types = {2, 3, 3};
    for (int i = 0; i < 256; ++i) {
      char byte[8];
      std::snprintf(byte, sizeof(byte), "<0x%02X>", i);
      tokens.emplace_back(byte);
      types.push_back(6);
    }
    while (tokens.size() < kVocabulary) {
      tokens.push_back("w" + std::to_string(tokens.size()));
      types.push_back(1);
    }
    b.set("general.architecture", family).set("general.name", name).set("tokenizer.ggml.model", "llama");
    b.set("tokenizer.ggml.tokens", tokens).set("tokenizer.ggml.scores", std::vector<float>(tokens.size()));
    b.set("tokenizer.ggml.token_type", types);
    b.set("tokenizer.ggml.bos_token_id", uint32_t{1}).set("tokenizer.ggml.eos_token_id", uint32_t{2});
  }
};

}  // namespace brim::test
