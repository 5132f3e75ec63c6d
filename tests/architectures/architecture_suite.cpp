// brim-check's group "architectures" on the llama plugin, with models of a few hundred weights that are written here:
// dense with YaRN and keys per layer, and a mixture of experts.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "../support/gguf_builder.hpp"
#include "../support/temp_folder.hpp"

using brim::test::GgufBuilder;

namespace {

constexpr uint32_t kVocabulary = 12, kWidth = 8, kInner = 16, kLayers = 2, kExperts = 4;

void add(GgufBuilder& b, const std::string& name, std::vector<uint64_t> shape) {
  uint64_t n = 1;
  for (const uint64_t extent : shape) n *= extent;
  b.f32(name + ".weight", std::move(shape), std::vector<float>(n, 0.125f));
}

GgufBuilder llama(bool experts) {
  GgufBuilder b;
  b.set("general.architecture", "llama").set("llama.block_count", kLayers).set("llama.context_length", uint32_t{64});
  b.set("llama.embedding_length", kWidth).set("llama.feed_forward_length", kInner);
  b.set("llama.attention.head_count", std::vector<uint32_t>(kLayers, 2))
      .set("llama.attention.head_count_kv", uint32_t{1});
  b.set("llama.attention.layer_norm_rms_epsilon", 1e-5f).set("llama.rope.freq_base", 10000.0f);
  if (experts) {
    b.set("llama.expert_count", kExperts).set("llama.expert_used_count", uint32_t{2});
  } else {
    b.set("llama.rope.scaling.type", "yarn").set("llama.rope.scaling.factor", 2.0f);
    b.set("llama.rope.scaling.original_context_length", uint32_t{32});
    b.set("llama.attention.key_length", kWidth / 2).set("llama.attention.value_length", kWidth / 2);
  }
  add(b, "token_embd", {kVocabulary, kWidth});
  add(b, "output_norm", {kWidth});
  for (uint32_t i = 0; i < kLayers; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    add(b, block + "attn_norm", {kWidth});
    add(b, block + "attn_q", {kWidth, kWidth});
    add(b, block + "attn_k", {kWidth / 2, kWidth});
    add(b, block + "attn_v", {kWidth / 2, kWidth});
    add(b, block + "attn_output", {kWidth, kWidth});
    add(b, block + "ffn_norm", {kWidth});
    if (experts) add(b, block + "ffn_gate_inp", {kExperts, kWidth});
    const std::string of = experts ? "_exps" : "";
    const auto inner = [&](const char* name, uint64_t n, uint64_t k) {
      add(b, block + name + of, experts ? std::vector<uint64_t>{kExperts, n, k} : std::vector<uint64_t>{n, k});
    };
    inner("ffn_gate", kInner, kWidth);
    inner("ffn_up", kInner, kWidth);
    inner("ffn_down", kWidth, kInner);
  }
  return b;
}

}  // namespace

TEST_CASE("llama is pure, refuses bent metadata by name and leaks nothing") {
  const brim::test::TempFolder folder;
  for (const bool experts : {false, true}) {
    CAPTURE(experts);
    const std::string path = folder / (experts ? "experts.gguf" : "dense.gguf");
    llama(experts).write(path);
    CHECK(std::system((BRIM_CHECK_COMMAND " \"" BRIM_PLUGIN_FOLDER
                                          "/brim-llama.toml\" --group architectures --seed 1 --model \"" +
                       path + '"')
                          .c_str()) == 0);
  }
}
