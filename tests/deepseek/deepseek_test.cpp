// The deepseek plugin against a recording host: the two forms of latent attention, YaRN's place, and routing by groups.
#include <cmath>

#include "../llama/decoder_file.hpp"
#include "../llama/plugin.hpp"

using namespace brim::test;

namespace {

// Heads of 16 + 8 rotated values and V of 16, latent rows of 32 + 8; the first layer is plain, the second a mixture.
File file(bool absorbed) {
  File f = decoder_file("deepseek2", 2);
  const auto set = [&](const char* name, uint64_t value) { f.keys[std::string("deepseek2.") + name] = value; };
  set("attention.key_length", absorbed ? 40 : 24);
  set("attention.value_length", absorbed ? 32 : 16);
  set("attention.kv_lora_rank", 32);
  set("rope.dimension_count", 8);
  set("leading_dense_block_count", 1);
  set("expert_count", 8);
  set("expert_used_count", 3);
  set("expert_feed_forward_length", 24);
  set("expert_shared_count", 2);
  for (uint64_t i = 0; i < 2; ++i) {
    add_tensors(f, i, {"attn_norm", "attn_kv_a_mqa", "attn_kv_a_norm", "attn_output", "ffn_norm"});
    if (absorbed) {
      add_tensors(f, i, {"attn_q_a", "attn_q_a_norm", "attn_q_b", "attn_k_b", "attn_v_b"});
    } else {
      add_tensors(f, i, {"attn_q", "attn_kv_b"});
    }
  }
  if (absorbed) {
    set("attention.q_lora_rank", 24);
    set("attention.key_length_mla", 24);
    set("attention.value_length_mla", 16);
  }
  add_tensors(f, 0, {"ffn_gate", "ffn_up", "ffn_down"});
  add_tensors(f, 1,
              {"ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_gate_shexp", "ffn_up_shexp",
               "ffn_down_shexp"});
  return f;
}

brim_moe_route_attr route_of(const File& f) {
  const Recorder r = built(f);
  REQUIRE(r.of(BRIM_OP_MOE_ROUTE).size() == 1);
  return r.of(BRIM_OP_MOE_ROUTE)[0].attribute<brim_moe_route_attr>();
}

}  // namespace

TEST_CASE("only deepseek2 matches") {
  CHECK(score("deepseek2") == 90);
  for (const char* family : {"deepseek", "deepseek32", "llama"}) CHECK(score(family) == 0);
}

TEST_CASE("with projections apart, heads share one latent row whose first values are V") {
  const File f = file(true);
  const Recorder r = built(f);
  REQUIRE(r.states.size() == 2);
  CHECK(r.states[0].kind == BRIM_STATE_KV_LATENT);
  CHECK(r.states[0].n_head == 1);
  CHECK(r.states[0].k_width == 40);
  CHECK(r.states[0].v_width == 0);
  const auto write = r.of(BRIM_OP_KV_WRITE).at(0), read = r.of(BRIM_OP_ATTENTION).at(0);
  CHECK(write.in[2] == 0);
  CHECK((read.must & BRIM_ATTENTION_V_FROM_K) != 0);
  const auto attr = read.attribute<brim_attention_attr>();
  CHECK(attr.n_head == 4);
  CHECK(attr.n_head_kv == 1);
  CHECK(attr.v_width == 32);
  CHECK(attr.scale == doctest::Approx(1 / std::sqrt(24.0)));
  // K's projection goes into the query, V's behind the attention.
  const auto* asked = r.producer(read.in[0]);
  CHECK(asked->op == BRIM_OP_CONCAT);
  CHECK(r.producer(asked->in[0])->in[0] == r.weight_of("blk.0.attn_k_b.weight"));
  CHECK(r.producer(asked->in[0])->must == BRIM_MATMUL_HEADS);
  CHECK(r.producer(asked->in[1])->op == BRIM_OP_ROPE);
  CHECK(r.tensor("blk.0.attn_k_b.weight")->shape == std::vector<uint64_t>{4, 32, 16});
  CHECK(r.tensor("blk.0.attn_v_b.weight")->shape == std::vector<uint64_t>{4, 16, 32});
}

TEST_CASE("with one projection, keys and values are written out for every head") {
  const File f = file(false);
  const Recorder r = built(f);
  CHECK(r.states[0].kind == BRIM_STATE_KV_FULL);
  CHECK(r.states[0].n_head == 4);
  CHECK(r.states[0].k_width == 24);
  CHECK(r.states[0].v_width == 16);
  const auto read = r.of(BRIM_OP_ATTENTION).at(0);
  CHECK((read.must & BRIM_ATTENTION_V_FROM_K) == 0);
  CHECK(read.attribute<brim_attention_attr>().n_head_kv == 4);
  CHECK(r.tensor("blk.0.attn_kv_b.weight")->shape == std::vector<uint64_t>{128, 32});
  CHECK(r.tensor("blk.0.attn_q.weight")->shape == std::vector<uint64_t>{96, 48});
}

TEST_CASE("YaRN's magnitude is in the scores' scale, squared, and not in the rotation") {
  File f = file(true);
  f.keys["deepseek2.rope.scaling.type"] = std::string("yarn");
  f.keys["deepseek2.rope.scaling.factor"] = 40.0;
  f.keys["deepseek2.rope.scaling.original_context_length"] = uint64_t{4096};
  const auto scale = [&] { return built(f).of(BRIM_OP_ATTENTION)[0].attribute<brim_attention_attr>().scale; };
  CHECK(scale() == doctest::Approx(1 / std::sqrt(24.0)));
  f.keys["deepseek2.rope.scaling.yarn_log_multiplier"] = 0.1;
  CHECK(scale() == doctest::Approx(1.3688879 * 1.3688879 / std::sqrt(24.0)).epsilon(1e-6));  // 1 + 0.1 ln 40
  const Recorder r = built(f);
  for (const auto& node : r.of(BRIM_OP_ROPE)) {
    CHECK(node.must == BRIM_ROPE_YARN);
    const auto rope = node.attribute<brim_rope_attr>();
    CHECK(rope.magnitude == 1);
    CHECK(rope.pairing == BRIM_ROPE_ADJACENT);
    CHECK(rope.n_rot == 8);
  }
}

TEST_CASE("routing follows the file's keys") {
  File f = file(true);
  brim_moe_route_attr route = route_of(f);
  CHECK(route.gate == BRIM_MOE_GATE_SOFTMAX);
  CHECK(route.k == 3);
  CHECK(route.normalise == 0);
  CHECK(route.scale == 1);
  CHECK(built(f).of(BRIM_OP_MOE_ROUTE)[0].must == 0);
  f.keys["deepseek2.expert_gating_func"] = uint64_t{2};
  f.keys["deepseek2.expert_weights_norm"] = true;
  f.keys["deepseek2.expert_weights_scale"] = 2.5;
  f.keys["deepseek2.expert_group_count"] = uint64_t{4};
  f.keys["deepseek2.expert_group_used_count"] = uint64_t{2};
  add_tensors(f, 1, {"exp_probs_b.bias"});
  route = route_of(f);
  CHECK(route.gate == BRIM_MOE_GATE_SIGMOID);
  CHECK(route.normalise == 1);
  CHECK(route.scale == 2.5f);
  CHECK(route.n_group == 4);
  CHECK(route.n_group_used == 2);
  CHECK(built(f).of(BRIM_OP_MOE_ROUTE)[0].must == (BRIM_MOE_ROUTE_BIAS | BRIM_MOE_ROUTE_GROUPS));
}

TEST_CASE("shared experts are one layer as wide as all of them, and may be missing") {
  File f = file(true);
  CHECK(described(f).tensor("blk.1.ffn_up_shexp.weight")->shape == std::vector<uint64_t>{48, 48});
  CHECK(built(f).of(BRIM_OP_GLU).size() == 3);
  f.keys["deepseek2.expert_shared_count"] = uint64_t{0};
  CHECK(built(f).of(BRIM_OP_GLU).size() == 2);
}

TEST_CASE("what a file lacks or cannot mean is named") {
  const File f = file(true);
  for (const char* key :
       {"block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
        "attention.layer_norm_rms_epsilon", "attention.kv_lora_rank", "attention.key_length_mla",
        "attention.value_length_mla", "expert_count", "expert_used_count", "expert_feed_forward_length"}) {
    check_needed(f, std::string("deepseek2.") + key);
  }
  check_needed(file(false), "deepseek2.attention.key_length");
  check_refused(f, "deepseek2.expert_gating_func", uint64_t{3});
  check_refused(f, "deepseek2.expert_used_count", uint64_t{9});
  check_refused(f, "deepseek2.expert_group_count", uint64_t{3});
  check_refused(f, "deepseek2.rope.dimension_count", uint64_t{24});  // nothing left that is not rotated
  File grouped = f;
  grouped.keys["deepseek2.expert_group_count"] = uint64_t{4};
  check_needed(grouped, "deepseek2.expert_group_used_count");
  check_refused(grouped, "deepseek2.expert_group_used_count", uint64_t{1});  // 2 experts, 3 wanted
  for (const char* name : {"blk.0.attn_q_a_norm.weight", "blk.0.attn_v_b.weight", "blk.1.ffn_gate_inp.weight",
                           "blk.1.ffn_down_shexp.weight"}) {
    check_tensor_needed(f, name);
  }
  check_tensor_needed(file(false), "blk.0.attn_kv_b.weight");
}

TEST_CASE("the same file gives the same graph") {
  for (const bool absorbed : {true, false}) {
    const File f = file(absorbed);
    CHECK(built(f).nodes == built(f).nodes);
  }
}
