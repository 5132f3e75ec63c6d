// The gpt-oss plugin against a recording host: sinks, windows, biases everywhere, and its way of routing.
#include <cmath>

#include "../llama/decoder_file.hpp"
#include "../llama/plugin.hpp"

using namespace brim::test;

namespace {

File file() {
  File f = decoder_file("gpt-oss", 3);
  f.keys["gpt-oss.attention.sliding_window"] = uint64_t{8};
  f.keys["gpt-oss.expert_count"] = uint64_t{4};
  f.keys["gpt-oss.expert_used_count"] = uint64_t{2};
  f.keys["gpt-oss.expert_feed_forward_length"] = uint64_t{64};
  for (uint64_t i = 0; i < 3; ++i) {
    add_tensors(f, i, {"attn_norm", "attn_sinks", "post_attention_norm"});
    for (const std::string name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate_inp", "ffn_gate_exps",
                                   "ffn_up_exps", "ffn_down_exps"}) {
      add_tensors(f, i, {name, name + ".bias"});
    }
  }
  return f;
}

}  // namespace

TEST_CASE("only gpt-oss matches") {
  CHECK(score("gpt-oss") == 90);
  CHECK(score("gpt2") == 0);
}

TEST_CASE("every head has a sink, every other layer a window") {
  const File f = file();
  const Recorder r = built(f);
  const auto attention = r.of(BRIM_OP_ATTENTION);
  REQUIRE(attention.size() == 3);
  for (uint32_t i = 0; i < 3; ++i) {
    const bool local = i % 2 == 0;
    CHECK((attention[i].must & BRIM_ATTENTION_SINKS) != 0);
    CHECK(attention[i].in[2] == r.weight_of("blk." + std::to_string(i) + ".attn_sinks.weight"));
    CHECK(attention[i].attribute<brim_attention_attr>().window == (local ? 8 : 0));
    CHECK(r.states[i].kind == (local ? BRIM_STATE_KV_WINDOW : BRIM_STATE_KV_FULL));
  }
  CHECK(r.tensor("blk.0.attn_sinks.weight")->shape == std::vector<uint64_t>{4});
}

TEST_CASE("everything has a bias, the experts too") {
  const File f = file();
  const Recorder r = built(f);
  size_t plain = 0;
  for (const auto& node : r.of(BRIM_OP_MATMUL)) plain += node.must != BRIM_MATMUL_BIAS;
  CHECK(plain == 1);  // the head
  for (const auto& node : r.of(BRIM_OP_GROUPED_MATMUL)) CHECK(node.must == BRIM_GROUPED_MATMUL_BIAS);
  CHECK(r.tensor("blk.0.ffn_up_exps.bias")->shape == std::vector<uint64_t>{4, 64});
}

TEST_CASE("the router's logits decide, and the weights are a softmax over those chosen") {
  const File f = file();
  const auto route = built(f).of(BRIM_OP_MOE_ROUTE).at(0).attribute<brim_moe_route_attr>();
  CHECK(route.gate == BRIM_MOE_GATE_SOFTMAX_CHOSEN);
  CHECK(route.k == 2);
  CHECK(route.normalise == 0);
}

TEST_CASE("the SwiGLU is clamped and leans by one") {
  const File f = file();
  const auto glu = built(f).of(BRIM_OP_GLU).at(0).attribute<brim_glu_attr>();
  CHECK(glu.kind == BRIM_GLU_SWIGLU_LIMIT);
  CHECK(glu.alpha == 1.702f);
  CHECK(glu.limit == 7);
}

TEST_CASE("YaRN has its attention factor in the magnitude") {
  File f = file();
  f.keys["gpt-oss.rope.scaling.type"] = std::string("yarn");
  f.keys["gpt-oss.rope.scaling.factor"] = 32.0;
  f.keys["gpt-oss.rope.scaling.original_context_length"] = uint64_t{4096};
  const auto rope = built(f).of(BRIM_OP_ROPE).at(0);
  CHECK(rope.must == BRIM_ROPE_YARN);
  CHECK(rope.attribute<brim_rope_attr>().magnitude == doctest::Approx(1.3465736).epsilon(1e-6));  // 1 + 0.1 ln 32
  CHECK(rope.attribute<brim_rope_attr>().n_ctx_orig == 4096);
}

TEST_CASE("what a file lacks or cannot mean is named") {
  const File f = file();
  for (const char* key :
       {"block_count", "context_length", "embedding_length", "attention.head_count", "attention.layer_norm_rms_epsilon",
        "attention.sliding_window", "expert_count", "expert_used_count", "expert_feed_forward_length"}) {
    check_needed(f, std::string("gpt-oss.") + key);
  }
  check_refused(f, "gpt-oss.attention.sliding_window", uint64_t{0});
  check_refused(f, "gpt-oss.expert_used_count", uint64_t{5});
  check_refused(f, "gpt-oss.rope.scaling.type", std::string("su"), BRIM_UNSUPPORTED);
  for (const char* name : {"attn_sinks", "post_attention_norm", "ffn_gate_inp", "ffn_down_exps"}) {
    check_tensor_needed(f, std::string("blk.2.") + name + ".weight");
  }
}

TEST_CASE("the same file gives the same graph") {
  const File f = file();
  CHECK(built(f).nodes == built(f).nodes);
}
