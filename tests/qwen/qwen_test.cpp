// The qwen plugin against a recording host: biases of the second generation, norms of the third, and its mixtures.
#include "../llama/decoder_file.hpp"
#include "../llama/plugin.hpp"

using namespace brim::test;

namespace {

File file(const std::string& family) {
  File f = decoder_file(family, 2);
  for (uint64_t i = 0; i < 2; ++i) {
    add_tensors(f, i, {"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm"});
    if (family == "qwen2") add_tensors(f, i, {"attn_q.bias", "attn_k.bias", "attn_v.bias"});
    if (family != "qwen2") add_tensors(f, i, {"attn_q_norm", "attn_k_norm"});
    if (family == "qwen3moe") {
      add_tensors(f, i, {"ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"});
    } else {
      add_tensors(f, i, {"ffn_gate", "ffn_up", "ffn_down"});
    }
  }
  if (family == "qwen3moe") {
    f.keys["qwen3moe.expert_count"] = uint64_t{8};
    f.keys["qwen3moe.expert_used_count"] = uint64_t{3};
    f.keys["qwen3moe.expert_feed_forward_length"] = uint64_t{24};
  }
  return f;
}

}  // namespace

TEST_CASE("three families match and their neighbours do not") {
  for (const char* family : {"qwen2", "qwen3", "qwen3moe"}) CHECK(score(family) == 90);
  for (const char* family : {"qwen", "qwen2vl", "qwen2moe", "qwen3next", "qwen35"}) CHECK(score(family) == 0);
}

TEST_CASE("positions rotate in halves") {
  File f = file("qwen2");
  f.keys["qwen2.rope.freq_base"] = 1e6;
  const Recorder r = built(f);
  REQUIRE(r.of(BRIM_OP_ROPE).size() == 4);
  const auto rope = r.of(BRIM_OP_ROPE)[0].attribute<brim_rope_attr>();
  CHECK(rope.pairing == BRIM_ROPE_HALVES);
  CHECK(rope.n_rot == 12);
  CHECK(rope.base == 1e6f);
}

TEST_CASE("the second generation has biases and no norms over heads, the third the reverse") {
  const File second = file("qwen2"), third = file("qwen3");
  const auto biased = [](const Recorder& r) {
    size_t n = 0;
    for (const auto& node : r.of(BRIM_OP_MATMUL)) n += node.must == BRIM_MATMUL_BIAS;
    return n;
  };
  CHECK(biased(built(second)) == 6);
  CHECK(built(second).of(BRIM_OP_RMS_NORM).size() == 5);
  CHECK(biased(built(third)) == 0);
  const Recorder r = built(third);
  CHECK(r.of(BRIM_OP_RMS_NORM).size() == 9);
  CHECK(r.tensor("blk.0.attn_q_norm.weight")->shape == std::vector<uint64_t>{12});
  CHECK(r.producer(r.of(BRIM_OP_ROPE)[1].in[0])->in[1] == r.weight_of("blk.0.attn_k_norm.weight"));
}

TEST_CASE("a mixture's weights are shares of a softmax over all experts, scaled to a sum of 1") {
  const File f = file("qwen3moe");
  const Recorder r = built(f);
  const auto routes = r.of(BRIM_OP_MOE_ROUTE);
  REQUIRE(routes.size() == 2);
  CHECK(routes[0].must == 0);
  const auto attr = routes[0].attribute<brim_moe_route_attr>();
  CHECK(attr.gate == BRIM_MOE_GATE_SOFTMAX);
  CHECK(attr.k == 3);
  CHECK(attr.normalise == 1);
  CHECK(attr.scale == 1);
  CHECK(r.tensor("blk.0.ffn_down_exps.weight")->shape == std::vector<uint64_t>{8, 48, 24});
  CHECK((r.tensor("blk.0.ffn_down_exps.weight")->flags & BRIM_TENSOR_EXPERTS) != 0);
  const auto combine = r.of(BRIM_OP_MOE_COMBINE).at(0);
  CHECK(combine.in[1] == routes[0].out[0]);
  CHECK(r.producer(combine.in[0])->in[0] == r.weight_of("blk.0.ffn_down_exps.weight"));
  CHECK(r.producer(combine.in[0])->in[2] == routes[0].out[1]);
}

TEST_CASE("what a file lacks or cannot mean is named") {
  for (const char* key : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                          "attention.head_count", "attention.layer_norm_rms_epsilon"}) {
    check_needed(file("qwen3"), std::string("qwen3.") + key);
  }
  const File f = file("qwen3moe");
  for (const char* key : {"expert_count", "expert_used_count", "expert_feed_forward_length"}) {
    check_needed(f, std::string("qwen3moe.") + key);
  }
  check_refused(f, "qwen3moe.expert_used_count", uint64_t{9});
  check_refused(f, "qwen3moe.expert_count", uint64_t{0});
  check_refused(f, "qwen3moe.attention.head_count_kv", uint64_t{3});
  check_refused(f, "qwen3moe.rope.dimension_count", uint64_t{7});
  check_tensor_needed(f, "blk.1.attn_q_norm.weight");
  check_tensor_needed(f, "blk.1.ffn_gate_inp.weight");
  check_tensor_needed(file("qwen3"), "blk.0.ffn_up.weight");
}

TEST_CASE("the same file gives the same graph") {
  const File f = file("qwen3moe");
  CHECK(built(f).nodes == built(f).nodes);
}
