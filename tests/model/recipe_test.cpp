// Which tensor gets which type, on the layer counts and head counts of known models.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <model/quantize/recipe.hpp>
#include <string>

#include "../support/failure.hpp"

using namespace brim::model;

namespace {

struct Shown {
  uint64_t layers = 32, heads = 32, kv_heads = 32, experts = 0, width = 4096;
  bool has_output = true;
};

// Name -> type that the recipe gives to each tensor of a model in F32.
class Planned {
 public:
  Planned(const char* recipe, const Shown& m) {
    Metadata metadata;
    metadata.set("general.architecture", "any");
    metadata.set("any.block_count", m.layers);
    metadata.set("any.attention.head_count", m.heads);
    metadata.set("any.attention.head_count_kv", m.kv_heads);
    if (m.experts) metadata.set("any.expert_count", m.experts);
    add("token_embd.weight", {1000, m.width});
    if (m.has_output) add("output.weight", {1000, m.width});
    add("output_norm.weight", {m.width});
    for (uint64_t i = 0; i < m.layers; ++i) {
      for (const char* part : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"}) {
        add(fmt::format("blk.{}.{}.weight", i, part), {m.width, m.width});
      }
      add(fmt::format("blk.{}.{}.weight", i, m.experts ? "ffn_down_exps" : "ffn_down"), {m.width, m.width});
      add(fmt::format("blk.{}.attn_norm.weight", i), {m.width});
      add(fmt::format("blk.{}.attn_q_norm.weight", i), {8, m.width});
      add(fmt::format("blk.{}.attn_q.bias", i), {8, m.width});
      add(fmt::format("blk.{}.ffn_gate_inp.weight", i), {8, m.width});
    }
    plans = plan_tensors(find_recipe(recipe), metadata, tensors);
    for (size_t i = 0; i < tensors.size(); ++i) type[tensors[i].name] = plans[i].dtype;
  }

  uint32_t layer(uint64_t i, const char* part) { return type.at(fmt::format("blk.{}.{}.weight", i, part)); }
  // Layers in which the part has this type, as "0 1 2".
  std::string layers(const char* part, uint32_t dtype, uint64_t count) {
    std::string out;
    for (uint64_t i = 0; i < count; ++i) {
      if (layer(i, part) == dtype) out += fmt::format("{}{}", out.empty() ? "" : " ", i);
    }
    return out;
  }

  std::map<std::string_view, uint32_t> type;
  std::vector<TensorPlan> plans;

 private:
  void add(std::string name, std::vector<uint64_t> shape) {
    Tensor tensor;
    tensor.name = names_.emplace_back(std::move(name));
    tensor.dtype = BRIM_DTYPE_F32;
    tensor.type_name = "f32";
    tensor.shape.rank = static_cast<uint32_t>(shape.size());
    std::copy(shape.begin(), shape.end(), tensor.shape.extents.begin());
    tensors.push_back(tensor);
  }
  std::deque<std::string> names_;
  std::vector<Tensor> tensors;
};

}  // namespace

TEST_CASE("Q4_K_M on 32 layers: more bits for the first and last four layers and every third between") {
  Planned p("Q4_K_M", {});
  const char* sensitive = "0 1 2 3 6 9 12 15 18 21 24 27 28 29 30 31";
  CHECK(p.layers("ffn_down", BRIM_DTYPE_Q6_K, 32) == sensitive);
  CHECK(p.layers("attn_v", BRIM_DTYPE_Q6_K, 32) == sensitive);
  CHECK(p.layer(4, "ffn_down") == BRIM_DTYPE_Q4_K);
  for (const char* part : {"attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_up"})
    CHECK(p.layer(0, part) == BRIM_DTYPE_Q4_K);
  CHECK(p.type["output.weight"] == BRIM_DTYPE_Q6_K);
  CHECK(p.type["token_embd.weight"] == BRIM_DTYPE_Q4_K);
}

TEST_CASE("vectors, norms, biases and routers are copied as they are") {
  for (const char* recipe : {"Q4_K_M", "Q2_K", "Q8_0", "F16"}) {
    Planned p(recipe, {});
    for (const char* name : {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_q_norm.weight",
                             "blk.0.attn_q.bias", "blk.0.ffn_gate_inp.weight"}) {
      CHECK(p.type[name] == BRIM_DTYPE_NONE);
    }
  }
}

TEST_CASE("the other mixes spend their bits where their names promise") {
  Planned q5("Q5_K_M", {});
  CHECK(q5.layer(0, "attn_v") == BRIM_DTYPE_Q6_K);
  CHECK(q5.layer(4, "attn_v") == BRIM_DTYPE_Q5_K);
  Planned q5s("q5_k_s", {});
  CHECK(q5s.layer(0, "attn_v") == BRIM_DTYPE_Q5_K);
  Planned q4s("Q4_K_S", {});
  CHECK(q4s.layers("attn_v", BRIM_DTYPE_Q5_K, 32) == "0 1 2 3");
  CHECK(q4s.layers("ffn_down", BRIM_DTYPE_Q5_K, 32) == "0 1 2 3");
  Planned q3m("Q3_K_M", {});
  CHECK(q3m.layers("attn_v", BRIM_DTYPE_Q5_K, 32) == "0 1");
  CHECK(q3m.layer(2, "attn_v") == BRIM_DTYPE_Q4_K);
  CHECK(q3m.layers("ffn_down", BRIM_DTYPE_Q5_K, 32) == "0 1");
  CHECK(q3m.layer(0, "attn_output") == BRIM_DTYPE_Q4_K);
  CHECK(q3m.layer(0, "ffn_up") == BRIM_DTYPE_Q3_K);
  Planned q3l("Q3_K_L", {});
  CHECK(q3l.layer(31, "ffn_down") == BRIM_DTYPE_Q5_K);
  Planned q2("Q2_K", {});
  CHECK(q2.layer(0, "attn_v") == BRIM_DTYPE_Q3_K);
  CHECK(q2.layer(0, "ffn_down") == BRIM_DTYPE_Q3_K);
  CHECK(q2.layer(0, "attn_q") == BRIM_DTYPE_Q2_K);
  Planned q2gqa("Q2_K", {.kv_heads = 8});
  CHECK(q2gqa.layer(0, "attn_v") == BRIM_DTYPE_Q4_K);
  Planned iq("IQ4_XS", {.kv_heads = 8});
  CHECK(iq.layer(9, "attn_v") == BRIM_DTYPE_Q5_K);
  CHECK(iq.layers("ffn_down", BRIM_DTYPE_Q5_K, 32) == "0 1 2 3");
}

TEST_CASE("a tied embedding is treated as the output it is") {
  Planned tied("Q4_K_M", {.has_output = false});
  CHECK(tied.type["token_embd.weight"] == BRIM_DTYPE_Q6_K);
  Planned q8("Q8_0", {.has_output = false});
  CHECK(q8.type["token_embd.weight"] == BRIM_DTYPE_Q8_0);
}

TEST_CASE("eight experts: attention is small and gets Q8_0; ffn_down goes by the layer's number") {
  Planned p("Q4_K_M", {.kv_heads = 8, .experts = 8});
  CHECK(p.layer(5, "attn_v") == BRIM_DTYPE_Q8_0);
  CHECK(p.layer(5, "attn_k") == BRIM_DTYPE_Q8_0);
  CHECK(p.layer(5, "attn_output") == BRIM_DTYPE_Q5_K);
  CHECK(p.layer(6, "ffn_down_exps") == BRIM_DTYPE_Q6_K);
  CHECK(p.layer(7, "ffn_down_exps") == BRIM_DTYPE_Q4_K);
}

TEST_CASE("the 70B shape gives attn_v at least five bits") {
  Planned p("Q4_K_M", {.layers = 80, .heads = 64, .kv_heads = 8});
  CHECK(p.layers("attn_v", BRIM_DTYPE_Q4_K, 80).empty());
  CHECK(p.layer(10, "attn_v") == BRIM_DTYPE_Q5_K);
}

TEST_CASE("rows that blocks of 256 do not divide fall back to blocks of 32, and those to F16") {
  const struct {
    const char* recipe;
    uint32_t dtype;
  } cases[] = {{"Q4_K_S", BRIM_DTYPE_Q5_0},   {"Q5_K_S", BRIM_DTYPE_Q5_1},   {"Q6_K", BRIM_DTYPE_Q8_0},
               {"Q3_K_S", BRIM_DTYPE_IQ4_NL}, {"IQ4_XS", BRIM_DTYPE_IQ4_NL}, {"Q2_K_S", BRIM_DTYPE_IQ4_NL}};
  for (const auto& c : cases) {
    CAPTURE(c.recipe);
    Planned p(c.recipe, {.width = 4096 + 32});
    CHECK(p.layer(9, "attn_q") == c.dtype);
    CHECK(p.type["output.weight"] == BRIM_DTYPE_Q8_0);
    CHECK(p.plans[0].fell_back);
    Planned odd(c.recipe, {.width = 100});
    CHECK(odd.layer(9, "attn_q") == BRIM_DTYPE_F16);
  }
  CHECK_FALSE(Planned("Q4_K_S", {}).plans[0].fell_back);
}

TEST_CASE("an unknown recipe lists the known ones") {
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "'Q9_K'; use one of F32, F16", find_recipe("Q9_K"));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "Q4_K_M", find_recipe(""));
  CHECK(find_recipe("q4_k_m").file_type == 15);
}
