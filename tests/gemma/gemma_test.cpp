// The gemma plugin against a recording host: what the three generations have in common and where they differ.
#include <cmath>

#include "../llama/decoder_file.hpp"
#include "../llama/plugin.hpp"

using namespace brim::test;

namespace {

File file(const std::string& family, uint64_t n_layers) {
  File f = decoder_file(family, n_layers);
  for (uint64_t i = 0; i < n_layers; ++i) {
    add_tensors(
        f, i, {"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"});
    if (family != "gemma") add_tensors(f, i, {"post_attention_norm", "post_ffw_norm"});
    if (family == "gemma3") add_tensors(f, i, {"attn_q_norm", "attn_k_norm"});
  }
  return f;
}

std::vector<uint32_t> windows(const Recorder& r) {
  std::vector<uint32_t> all;
  for (const auto& node : r.of(BRIM_OP_ATTENTION)) {
    const auto attr = node.attribute<brim_attention_attr>();
    CHECK(((node.must & BRIM_ATTENTION_SLIDING_WINDOW) != 0) == (attr.window != 0));
    all.push_back(attr.window);
  }
  return all;
}

}  // namespace

TEST_CASE("three generations match and their neighbours do not") {
  for (const char* family : {"gemma", "gemma2", "gemma3"}) CHECK(score(family) == 90);
  for (const char* family : {"gemma3n", "gemma4", "gemma-embedding", "llama", ""}) CHECK(score(family) == 0);
}

TEST_CASE("embeddings are scaled by the root of the width, also those that the host gives") {
  for (const bool embeddings : {false, true}) {
    const File f = file("gemma", 1);
    const Recorder r = built(f, kLogits, embeddings);
    const auto scaled = r.of(BRIM_OP_AFFINE_CLAMP);
    REQUIRE(scaled.size() == 1);
    CHECK(scaled[0].attribute<brim_affine_attr>().scale == doctest::Approx(std::sqrt(48.0)));
    CHECK(r.of(BRIM_OP_RMS_NORM)[0].in[0] == scaled[0].out[0]);
  }
}

TEST_CASE("norm weights are stored with the 1 added") {
  const File f = file("gemma3", 2);
  for (const auto& node : built(f).of(BRIM_OP_RMS_NORM)) CHECK(node.attribute<brim_norm_attr>().weight_offset == 0);
}

TEST_CASE("feed-forward gates by the tanh form of GELU") {
  const File f = file("gemma", 1);
  CHECK(built(f).of(BRIM_OP_GLU).at(0).attribute<brim_glu_attr>().kind == BRIM_GLU_GELU_TANH);
}

TEST_CASE("the last layer of each period sees everything, the others a window") {
  SUBCASE("gemma has none") {
    File f = file("gemma", 2);
    f.keys["gemma.attention.sliding_window"] = uint64_t{16};
    CHECK(windows(built(f)) == std::vector<uint32_t>{0, 0});
  }
  SUBCASE("gemma2: every second") {
    File f = file("gemma2", 4);
    CHECK(windows(built(f)) == std::vector<uint32_t>{4096, 0, 4096, 0});
    f.keys["gemma2.attention.sliding_window"] = uint64_t{16};
    const Recorder r = built(f);
    CHECK(windows(r) == std::vector<uint32_t>{16, 0, 16, 0});
    CHECK(r.states[0].kind == BRIM_STATE_KV_WINDOW);
    CHECK(r.states[0].window == 16);
    CHECK(r.states[1].kind == BRIM_STATE_KV_FULL);
  }
  SUBCASE("gemma3: every sixth") {
    File f = file("gemma3", 7);
    f.keys["gemma3.attention.sliding_window"] = uint64_t{16};
    CHECK(windows(built(f)) == std::vector<uint32_t>{16, 16, 16, 16, 16, 0, 16});
    f.keys.erase("gemma3.attention.sliding_window");
    CHECK(windows(built(f)) == std::vector<uint32_t>(7, 0));
  }
}

TEST_CASE("gemma2 caps scores and logits, gemma3 logits where the file says so") {
  File f = file("gemma2", 2);
  const auto caps = [](const Recorder& r) {
    const auto* head = r.producer(r.outputs.at(BRIM_OUTPUT_LOGITS));
    const auto attention = r.of(BRIM_OP_ATTENTION).at(0);
    return std::pair(attention.must & BRIM_ATTENTION_SOFTCAP ? attention.attribute<brim_attention_attr>().softcap : 0,
                     head->must & BRIM_AFFINE_SOFTCAP ? head->attribute<brim_affine_attr>().cap : 0);
  };
  CHECK(caps(built(f)) == std::pair(50.0f, 30.0f));
  f.keys["gemma2.attn_logit_softcapping"] = 20.0;
  f.keys["gemma2.final_logit_softcapping"] = 10.0;
  CHECK(caps(built(f)) == std::pair(20.0f, 10.0f));
  const File first = file("gemma", 1);
  CHECK(built(first).producer(built(first).outputs.at(BRIM_OUTPUT_LOGITS))->op == BRIM_OP_MATMUL);
  File third = file("gemma3", 1);
  CHECK(built(third).producer(built(third).outputs.at(BRIM_OUTPUT_LOGITS))->op == BRIM_OP_MATMUL);
  third.keys["gemma3.final_logit_softcapping"] = 30.0;
  CHECK(caps(built(third)) == std::pair(0.0f, 30.0f));
}

TEST_CASE("gemma3 norms heads before rotation and stretches its global layers only") {
  File f = file("gemma3", 6);
  f.keys["gemma3.attention.sliding_window"] = uint64_t{16};
  f.keys["gemma3.rope.freq_base"] = 1e6;
  f.keys["gemma3.rope.scaling.factor"] = 8.0;
  const Recorder r = built(f);
  const auto ropes = r.of(BRIM_OP_ROPE);
  REQUIRE(ropes.size() == 12);
  CHECK(r.producer(ropes[0].in[0])->in[1] == r.weight_of("blk.0.attn_q_norm.weight"));
  CHECK(r.producer(ropes[1].in[0])->in[1] == r.weight_of("blk.0.attn_k_norm.weight"));
  const auto local = ropes[0].attribute<brim_rope_attr>(), global = ropes[10].attribute<brim_rope_attr>();
  CHECK(local.base == 10000);
  CHECK(local.freq_scale == 1);
  CHECK(global.base == 1e6f);
  CHECK(global.freq_scale == 0.125f);
  CHECK(local.pairing == BRIM_ROPE_HALVES);
}

TEST_CASE("scores are divided by the root of a head's width, in the largest models by that of width over heads") {
  const auto scale = [](const File& f) {
    return built(f).of(BRIM_OP_ATTENTION)[0].attribute<brim_attention_attr>().scale;
  };
  File f = file("gemma2", 2);
  f.keys["gemma2.attention.key_length"] = uint64_t{16};
  CHECK(scale(f) == 0.25f);
  f = file("gemma2", 46);
  f.keys["gemma2.attention.key_length"] = uint64_t{16};
  CHECK(scale(f) == doctest::Approx(1 / std::sqrt(12.0)));
  f = file("gemma3", 62);
  f.keys["gemma3.attention.key_length"] = uint64_t{16};
  CHECK(scale(f) == doctest::Approx(1 / std::sqrt(12.0)));
}

TEST_CASE("the second and third generation have norms behind attention and feed-forward") {
  CHECK(built(file("gemma", 1)).of(BRIM_OP_RMS_NORM).size() == 3);
  CHECK(built(file("gemma2", 1)).of(BRIM_OP_RMS_NORM).size() == 5);
  const File f = file("gemma2", 1);
  const Recorder r = built(f);
  const auto norms = r.of(BRIM_OP_RMS_NORM);
  CHECK(norms[1].in[1] == r.weight_of("blk.0.post_attention_norm.weight"));
  CHECK(r.producer(norms[1].in[0])->in[0] == r.weight_of("blk.0.attn_output.weight"));
  CHECK(norms[3].in[1] == r.weight_of("blk.0.post_ffw_norm.weight"));
  CHECK(r.producer(norms[3].in[0])->in[0] == r.weight_of("blk.0.ffn_down.weight"));
}

TEST_CASE("what a file lacks or cannot mean is named") {
  const File f = file("gemma3", 1);
  for (const char* key : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                          "attention.head_count", "attention.layer_norm_rms_epsilon"}) {
    check_needed(f, std::string("gemma3.") + key);
  }
  check_refused(f, "gemma3.attention.sliding_window", std::string("wide"));
  check_refused(f, "gemma3.rope.freq_base_swa", std::nan(""));
  check_refused(f, "gemma3.rope.scaling.type", std::string("longrope"), BRIM_UNSUPPORTED);
  check_refused(file("gemma2", 1), "gemma2.attn_logit_softcapping", std::string("none"));
  for (const char* name : {"attn_q_norm", "post_attention_norm", "post_ffw_norm", "ffn_gate"}) {
    check_tensor_needed(f, std::string("blk.0.") + name + ".weight");
  }
}

TEST_CASE("the same file gives the same graph") {
  const File f = file("gemma3", 7);
  CHECK(built(f).nodes == built(f).nodes);
}
