// The qwen-next plugin against a recording host: which layers attend and which remember, what their states hold, and
// where the two ways of storing the delta net differ.
#include <cmath>

#include "../llama/decoder_file.hpp"
#include "../llama/plugin.hpp"

using namespace brim::test;

namespace {

// Two key heads and four value heads of 16, a convolution over four rows; the fourth layer attends.
File file(const std::string& family) {
  File f = decoder_file(family, 4);
  const auto set = [&](const char* name, uint64_t value) { f.keys[family + "." + name] = value; };
  set("attention.key_length", 16);
  set("attention.value_length", 16);
  set("rope.dimension_count", 8);
  set("ssm.conv_kernel", 4);
  set("ssm.state_size", 16);
  set("ssm.group_count", 2);
  set("ssm.time_step_rank", 4);
  set("ssm.inner_size", 64);
  set("full_attention_interval", 4);
  if (family != "qwen35") {
    set("expert_count", 6);
    set("expert_used_count", 2);
    set("expert_feed_forward_length", 24);
    set("expert_shared_feed_forward_length", 32);
  }
  for (uint64_t i = 0; i < 4; ++i) {
    add_tensors(f, i, {"attn_norm", "post_attention_norm"});
    if (i == 3) {
      add_tensors(f, i, {"attn_q", "attn_k", "attn_v", "attn_q_norm", "attn_k_norm", "attn_output"});
    } else {
      add_tensors(f, i, {"attn_qkv", "attn_gate", "ssm_conv1d", "ssm_dt.bias", "ssm_a", "ssm_norm", "ssm_out"});
      if (family == "qwen3next") {
        add_tensors(f, i, {"ssm_ba"});
      } else {
        add_tensors(f, i, {"ssm_beta", "ssm_alpha"});
      }
    }
    if (family == "qwen35") {
      add_tensors(f, i, {"ffn_gate", "ffn_up", "ffn_down"});
    } else {
      add_tensors(f, i,
                  {"ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_gate_shexp", "ffn_up_shexp",
                   "ffn_down_shexp", "ffn_gate_inp_shexp"});
    }
  }
  return f;
}

}  // namespace

TEST_CASE("three families match and their neighbours do not") {
  for (const char* family : {"qwen3next", "qwen35", "qwen35moe"}) CHECK(score(family) == 90);
  for (const char* family : {"qwen3", "qwen3moe", "qwen2"}) CHECK(score(family) == 0);
}

TEST_CASE("three of four layers have a convolution's rows and a matrix per head as states, the fourth K and V") {
  const File f = file("qwen3next");
  const Recorder r = built(f);
  REQUIRE(r.states.size() == 7);
  CHECK(r.states[0].kind == BRIM_STATE_CONV);
  CHECK(r.states[0].elements == 3 * 128);
  CHECK(r.states[1].kind == BRIM_STATE_RECURRENT);
  CHECK(r.states[1].elements == 4 * 16 * 16);
  CHECK(r.states[5].layer == 2);
  CHECK(r.states[6].kind == BRIM_STATE_KV_FULL);
  CHECK(r.states[6].layer == 3);
  const auto convs = r.of(BRIM_OP_CAUSAL_CONV1D), memories = r.of(BRIM_OP_LINEAR_ATTENTION);
  REQUIRE(convs.size() == 3);
  REQUIRE(memories.size() == 3);
  for (uint32_t i = 0; i < 3; ++i) {
    CHECK(convs[i].in[1] == r.state_values.at(2 * i));
    CHECK(memories[i].in[5] == r.state_values.at(2 * i + 1));
    CHECK(convs[i].attribute<brim_conv1d_attr>().activation == BRIM_UNARY_SILU);
  }
  REQUIRE(r.of(BRIM_OP_ATTENTION).size() == 1);
  CHECK(r.producer(r.of(BRIM_OP_ATTENTION)[0].in[1])->in[0] == r.state_values.at(6));
}

TEST_CASE("the memory decays and learns by the delta rule from normed queries and keys") {
  for (const std::string family : {"qwen3next", "qwen35"}) {
    const File f = file(family);
    const Recorder r = built(f);
    const auto node = r.of(BRIM_OP_LINEAR_ATTENTION).at(0);
    CHECK(node.attribute<brim_linear_attention_attr>().scale == 0.25f);
    CHECK(r.producer(node.in[0])->op == BRIM_OP_L2_NORM);
    CHECK(r.producer(node.in[1])->op == BRIM_OP_L2_NORM);
    const uint64_t modulo = family == "qwen35" ? BRIM_LINEAR_HEADS_MODULO : 0;
    CHECK(node.must == (BRIM_LINEAR_DECAY | BRIM_LINEAR_DELTA | modulo));
    const auto* decay = r.producer(node.in[3]);
    CHECK(decay->in[1] == r.weight_of("blk.0.ssm_a"));
    CHECK(r.producer(decay->in[0])->attribute<brim_unary_attr>().kind == BRIM_UNARY_SOFTPLUS);
    CHECK(r.producer(r.producer(node.in[4])->in[0])->attribute<brim_unary_attr>().kind == BRIM_UNARY_SIGMOID);
  }
}

TEST_CASE("what the memory says is normed and gated, what attention says is gated by a part of the query") {
  const File f = file("qwen35");
  const Recorder r = built(f);
  const auto glus = r.of(BRIM_OP_GLU);
  const auto gate_of = [&](size_t i) { return glus.at(i).attribute<brim_glu_attr>().kind; };
  CHECK(gate_of(0) == BRIM_GLU_SILU);
  CHECK(r.producer(glus[0].in[1])->in[1] == r.weight_of("blk.0.ssm_norm.weight"));
  CHECK(gate_of(6) == BRIM_GLU_SIGMOID);
  CHECK(r.producer(glus[6].in[1])->op == BRIM_OP_ATTENTION);
  const auto* slice = r.producer(glus[6].in[0]);
  CHECK(slice->attribute<brim_slice_attr>().begin == 16);
  CHECK(r.tensor("blk.3.attn_q.weight")->shape == std::vector<uint64_t>{128, 48});
}

TEST_CASE("a part of each head is rotated") {
  const File f = file("qwen35");
  const auto ropes = built(f).of(BRIM_OP_ROPE);
  REQUIRE(ropes.size() == 2);
  CHECK(ropes[0].attribute<brim_rope_attr>().n_rot == 8);
  CHECK(ropes[0].attribute<brim_rope_attr>().pairing == BRIM_ROPE_HALVES);
}

TEST_CASE("the shared expert has a gate of its own; the dense model has neither experts nor gate") {
  const File f = file("qwen3next");
  const Recorder r = built(f);
  CHECK(r.of(BRIM_OP_MOE_ROUTE).size() == 4);
  CHECK(r.of(BRIM_OP_MOE_ROUTE)[0].attribute<brim_moe_route_attr>().normalise == 1);
  CHECK(r.tensor("blk.0.ffn_up_shexp.weight")->shape == std::vector<uint64_t>{32, 48});
  CHECK(r.weight_of("blk.0.ffn_gate_inp_shexp.weight") != 0);
  CHECK(built(file("qwen35")).of(BRIM_OP_MOE_ROUTE).empty());
}

TEST_CASE("layers at the end that guess further tokens are left out") {
  File f = file("qwen35");
  f.keys["qwen35.block_count"] = uint64_t{5};
  f.keys["qwen35.nextn_predict_layers"] = uint64_t{1};
  CHECK(described(f).model.n_layers == 4);
  CHECK(built(f).nodes == built(file("qwen35")).nodes);
  check_refused(f, "qwen35.nextn_predict_layers", uint64_t{5});
}

TEST_CASE("what a file lacks or cannot mean is named") {
  for (const std::string family : {"qwen3next", "qwen35"}) {
    for (const char* key : {"block_count", "context_length", "embedding_length", "attention.head_count",
                            "attention.layer_norm_rms_epsilon", "ssm.conv_kernel", "ssm.state_size", "ssm.group_count",
                            "ssm.time_step_rank", "ssm.inner_size"}) {
      check_needed(file(family), family + "." + key);
    }
  }
  const File next = file("qwen3next");
  for (const char* key :
       {"expert_count", "expert_used_count", "expert_feed_forward_length", "expert_shared_feed_forward_length"}) {
    check_needed(next, std::string("qwen3next.") + key);
  }
  check_needed(file("qwen35"), "qwen35.feed_forward_length");
  check_refused(next, "qwen3next.ssm.time_step_rank", uint64_t{3});
  check_refused(next, "qwen3next.ssm.inner_size", uint64_t{128}, BRIM_UNSUPPORTED);
  check_refused(next, "qwen3next.ssm.conv_kernel", uint64_t{1});
  check_refused(next, "qwen3next.full_attention_interval", uint64_t{0});
  check_refused(next, "qwen3next.expert_used_count", uint64_t{7});
  for (const char* name : {"blk.0.ssm_ba.weight", "blk.0.ssm_a", "blk.0.ssm_dt.bias", "blk.3.attn_q_norm.weight",
                           "blk.0.ffn_gate_inp_shexp.weight"}) {
    check_tensor_needed(next, name);
  }
  check_tensor_needed(file("qwen35"), "blk.0.ssm_alpha.weight");
}

TEST_CASE("the same file gives the same graph") {
  for (const char* family : {"qwen3next", "qwen35", "qwen35moe"}) {
    const File f = file(family);
    CHECK(built(f).nodes == built(f).nodes);
  }
}
