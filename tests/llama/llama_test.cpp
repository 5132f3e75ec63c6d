// The llama plugin through its one exported function, against a recording host: what it declares, what it emits, and
// that every unusable file is refused by the name of the key.
#include <algorithm>
#include <cmath>

#include "plugin.hpp"

using namespace brim::test;

namespace {

// Two layers, 4 heads of 12 on 2 KV heads, its own head.
File small() {
  File f;
  f.keys = {{"general.architecture", std::string("llama")}, {"llama.block_count", uint64_t{2}},
            {"llama.context_length", uint64_t{512}},        {"llama.embedding_length", uint64_t{48}},
            {"llama.feed_forward_length", uint64_t{96}},    {"llama.attention.head_count", uint64_t{4}},
            {"llama.attention.head_count_kv", uint64_t{2}}, {"llama.attention.layer_norm_rms_epsilon", 1e-5}};
  f.tensors = {{"token_embd.weight", {300, 48}}, {"output_norm.weight", {48}}, {"output.weight", {300, 48}}};
  for (const char* block : {"blk.0.", "blk.1."}) {
    for (const char* name :
         {"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"}) {
      f.tensors[std::string(block) + name + ".weight"] = {};
    }
  }
  return f;
}

File mixtral() {
  File f = small();
  f.keys["llama.expert_count"] = uint64_t{8};
  f.keys["llama.expert_used_count"] = uint64_t{3};
  for (const char* block : {"blk.0.", "blk.1."}) {
    for (const char* name : {"ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}) {
      f.tensors[std::string(block) + name + ".weight"] = {};
    }
    for (const char* name : {"ffn_gate", "ffn_up", "ffn_down"}) f.tensors.erase(std::string(block) + name + ".weight");
  }
  return f;
}

brim_rope_attr rope_of(const File& file) {
  const Recorder r = built(file);
  const auto ropes = r.of(BRIM_OP_ROPE);
  REQUIRE(ropes.size() == 4);  // q and k of two layers
  for (const auto& node : ropes) CHECK(node.attr == ropes[0].attr);
  return ropes[0].attribute<brim_rope_attr>();
}

}  // namespace

TEST_CASE("the header says who the plugin is, and create refuses settings by name") {
  const brim_plugin_header* header = brim_plugin_query(BRIM_ABI_MAJOR);
  REQUIRE(header);
  CHECK(header->magic == BRIM_PLUGIN_MAGIC);
  CHECK(header->kind == BRIM_KIND_ARCHITECTURE);
  CHECK(brim::test::text(header->id) == "brim.llama");
  CHECK(header->get_interface(nullptr, {"brim.backend/1", 14}) == nullptr);

  brim_setting setting = {{"layers", 6}, {"3", 1}};
  brim_create_info info{};
  info.struct_size = sizeof(info);
  info.settings = &setting;
  info.n_settings = 1;
  info.setting_stride = sizeof(setting);
  brim_error error{};
  error.struct_size = sizeof(error);
  brim_plugin* plugin = nullptr;
  CHECK(header->create(nullptr, nullptr, &info, &plugin, &error) == BRIM_INVALID_ARGUMENT);
  CHECK(std::string(error.message).find("layers") != std::string::npos);
  CHECK(plugin == nullptr);
}

TEST_CASE("an instance takes its memory from the host and gives it back") {
  static int blocks = 0;
  blocks = 0;
  brim_host_api host{};
  host.struct_size = sizeof(host);
  host.alloc = [](brim_host*, uint64_t bytes, uint64_t) {
    ++blocks;
    return ::operator new(bytes);
  };
  host.free = [](brim_host*, void* block, uint64_t, uint64_t) {
    --blocks;
    ::operator delete(block);
  };
  const brim_plugin_header* header = brim_plugin_query(BRIM_ABI_MAJOR);
  brim_plugin* plugin = nullptr;
  REQUIRE(header->create(&host, nullptr, nullptr, &plugin, nullptr) == BRIM_OK);
  CHECK(blocks == 1);
  header->destroy(plugin);
  CHECK(blocks == 0);
}

TEST_CASE("only files of the llama architecture match, below the best score") {
  File f = small();
  const uint32_t score = plugin().match(nullptr, &File::api(), f.meta());
  CHECK(score > 0);
  CHECK(score < 100);
  f.keys["general.architecture"] = std::string("qwen2");
  CHECK(plugin().match(nullptr, &File::api(), f.meta()) == 0);
  f.keys["general.architecture"] = uint64_t{7};
  CHECK(plugin().match(nullptr, &File::api(), f.meta()) == 0);
  f.keys.clear();
  CHECK(plugin().match(nullptr, &File::api(), f.meta()) == 0);
}

TEST_CASE("describe declares the model, its tensors and one KV state a layer") {
  const File f = small();
  const Recorder r = described(f);
  REQUIRE(r.status == BRIM_OK);
  CHECK(r.model.n_layers == 2);
  CHECK(r.model.n_vocab == 300);
  CHECK(r.model.width == 48);
  CHECK(r.model.n_ctx_train == 512);
  CHECK(r.tensor("blk.1.attn_q.weight")->shape == std::vector<uint64_t>{48, 48});
  CHECK(r.tensor("blk.1.attn_k.weight")->shape == std::vector<uint64_t>{24, 48});
  CHECK(r.tensor("blk.1.ffn_down.weight")->shape == std::vector<uint64_t>{48, 96});
  CHECK(r.tensor("blk.1.ffn_down.weight")->layer == 1);
  CHECK(r.tensor("rope_freqs.weight")->shape == std::vector<uint64_t>{6});
  REQUIRE(r.states.size() == 2);
  CHECK(r.states[1].kind == BRIM_STATE_KV_FULL);
  CHECK(r.states[1].layer == 1);
  CHECK(r.states[1].n_head == 2);
  CHECK(r.states[1].k_width == 12);
  CHECK(r.states[1].v_width == 12);
}

TEST_CASE("the head's width follows the keys where they are given") {
  File f = small();
  f.keys["llama.attention.key_length"] = uint64_t{20};
  f.keys["llama.attention.value_length"] = uint64_t{16};
  const Recorder r = described(f);
  CHECK(r.tensor("blk.0.attn_q.weight")->shape == std::vector<uint64_t>{80, 48});
  CHECK(r.tensor("blk.0.attn_v.weight")->shape == std::vector<uint64_t>{32, 48});
  CHECK(r.tensor("blk.0.attn_output.weight")->shape == std::vector<uint64_t>{48, 64});
}

TEST_CASE("the embedding is a mere table of rows unless it is the head too") {
  File f = small();
  CHECK((described(f).tensor("token_embd.weight")->flags & BRIM_TENSOR_LOOKUP) != 0);
  f.tensors.erase("output.weight");
  CHECK((described(f).tensor("token_embd.weight")->flags & BRIM_TENSOR_LOOKUP) == 0);
  const Recorder r = built(f);
  const auto* head = r.producer(r.outputs.at(BRIM_OUTPUT_LOGITS));
  CHECK(head->in[0] == r.weight_of("token_embd.weight"));
}

TEST_CASE("files of Hugging Face need the rows of q and k, weight and bias, reordered") {
  const File f = mixtral();
  const Recorder r = described(f);
  const auto transform = [&](const char* name) { return r.tensor(name)->transforms.at(1); };
  CHECK(r.tensor("blk.0.attn_q.weight")->sources.at(1).second == "model.layers.0.self_attn.q_proj.weight");
  CHECK(transform("blk.0.attn_q.weight") == BRIM_TRANSFORM_ROPE_HALVES_TO_ADJACENT);
  CHECK(transform("blk.0.attn_k.bias") == BRIM_TRANSFORM_ROPE_HALVES_TO_ADJACENT);
  CHECK(transform("blk.0.attn_v.weight") == BRIM_TRANSFORM_NONE);
  CHECK(transform("blk.0.ffn_up_exps.weight") == BRIM_TRANSFORM_STACK);
  CHECK(r.tensor("blk.0.ffn_up_exps.weight")->sources.at(1).second ==
        "model.layers.0.block_sparse_moe.experts.{}.w3.weight");
}

TEST_CASE("the same file gives the same graph") {
  for (const File& f : {small(), mixtral()}) {
    const Recorder a = built(f), b = built(f);
    CHECK(a.nodes == b.nodes);
    CHECK(a.outputs == b.outputs);
    CHECK(a.nodes.size() > 20);
  }
}

TEST_CASE("each layer attends to what it has written, causally") {
  const File f = small();
  const Recorder r = built(f);
  const auto reads = r.of(BRIM_OP_ATTENTION), writes = r.of(BRIM_OP_KV_WRITE);
  REQUIRE(reads.size() == 2);
  REQUIRE(writes.size() == 2);
  for (uint32_t i = 0; i < 2; ++i) {
    CHECK(writes[i].in[0] == r.state_values.at(i));
    CHECK(reads[i].in[1] == writes[i].out[0]);
    CHECK(reads[i].layer == i);
    CHECK(reads[i].must == BRIM_ATTENTION_CAUSAL);
    const auto attr = reads[i].attribute<brim_attention_attr>();
    CHECK(attr.n_head == 4);
    CHECK(attr.n_head_kv == 2);
    CHECK(attr.scale == doctest::Approx(1 / std::sqrt(12.0)));
  }
}

TEST_CASE("only wanted rows reach the last norm and the head") {
  const File f = small();
  const Recorder r = built(f, kLogits | kHidden);
  const auto gathers = r.of(BRIM_OP_GATHER_ROWS);
  REQUIRE(gathers.size() == 2);
  CHECK(gathers[1].in[1] == r.inputs.at(BRIM_INPUT_OUTPUT_ROW));
  const auto* head = r.producer(r.outputs.at(BRIM_OUTPUT_LOGITS));
  CHECK(head->in[1] == r.outputs.at(BRIM_OUTPUT_HIDDEN));
  CHECK(head->layer == BRIM_NO_LAYER);
}

TEST_CASE("an output that nobody wants is not computed") {
  const File f = small();
  const Recorder both = built(f, kLogits | kHidden), hidden = built(f, kHidden);
  CHECK(both.of(BRIM_OP_MATMUL).size() == hidden.of(BRIM_OP_MATMUL).size() + 1);
  CHECK(hidden.outputs.count(BRIM_OUTPUT_LOGITS) == 0);
}

TEST_CASE("rows given as embeddings take the place of tokens") {
  const File f = small();
  const Recorder r = built(f, kLogits, true);
  CHECK(r.inputs.count(BRIM_INPUT_TOKEN) == 0);
  CHECK(r.of(BRIM_OP_RMS_NORM)[0].in[0] == r.inputs.at(BRIM_INPUT_EMBEDDING));
}

TEST_CASE("biases are used where the file has them") {
  File f = small();
  for (const auto& node : built(f).of(BRIM_OP_MATMUL)) CHECK(node.must == 0);
  f.tensors["blk.1.attn_q.bias"] = {48};
  f.tensors["blk.1.ffn_down.bias"] = {48};
  const Recorder r = built(f);
  const auto matmuls = r.of(BRIM_OP_MATMUL);
  const auto biased = [](const auto& node) { return node.must == BRIM_MATMUL_BIAS && node.in[2] != 0; };
  CHECK(std::count_if(matmuls.begin(), matmuls.end(), biased) == 2);
}

TEST_CASE("rotation") {
  File f = small();
  SUBCASE("without scaling") {
    const brim_rope_attr a = rope_of(f);
    CHECK(a.pairing == BRIM_ROPE_ADJACENT);
    CHECK(a.n_rot == 12);
    CHECK(a.base == 10000);
    CHECK(a.freq_scale == 1);
    CHECK(a.magnitude == 1);
    CHECK(built(f).of(BRIM_OP_ROPE)[0].must == 0);
  }
  SUBCASE("linear, the default kind where a factor is given") {
    f.keys["llama.rope.freq_base"] = 500000.0;
    f.keys["llama.rope.scaling.factor"] = 4.0;
    const brim_rope_attr a = rope_of(f);
    CHECK(a.base == 500000);
    CHECK(a.freq_scale == 0.25f);
    CHECK(a.magnitude == 1);
  }
  SUBCASE("the factor's older name") {
    f.keys["llama.rope.scale_linear"] = 2.0;
    CHECK(rope_of(f).freq_scale == 0.5f);
  }
  SUBCASE("none ignores the factor") {
    f.keys["llama.rope.scaling.type"] = std::string("none");
    f.keys["llama.rope.scaling.factor"] = 4.0;
    CHECK(rope_of(f).freq_scale == 1);
  }
  SUBCASE("yarn has its attention factor in the magnitude") {
    f.keys["llama.rope.scaling.type"] = std::string("yarn");
    f.keys["llama.rope.scaling.factor"] = 8.0;
    f.keys["llama.rope.scaling.original_context_length"] = uint64_t{32};
    brim_rope_attr a = rope_of(f);
    CHECK(a.freq_scale == 0.125f);
    CHECK(a.n_ctx_orig == 32);
    CHECK(a.ext_factor == 1);
    CHECK(a.beta_fast == 32);
    CHECK(a.beta_slow == 1);
    CHECK(a.magnitude == doctest::Approx(1.2079442).epsilon(1e-6));  // 1 + 0.1 ln 8
    CHECK(built(f).of(BRIM_OP_ROPE)[0].must == BRIM_ROPE_YARN);
    f.keys["llama.rope.scaling.attn_factor"] = 0.5;
    CHECK(rope_of(f).magnitude == doctest::Approx(0.6039721).epsilon(1e-6));
    f.keys.erase("llama.rope.scaling.original_context_length");
    CHECK(rope_of(f).n_ctx_orig == 512);
  }
  SUBCASE("factors of each frequency from the file") {
    f.tensors["rope_freqs.weight"] = {6};
    const Recorder r = built(f);
    for (const auto& node : r.of(BRIM_OP_ROPE)) {
      CHECK(node.must == BRIM_ROPE_FACTORS);
      CHECK(node.in[2] == r.weight_of("rope_freqs.weight"));
    }
  }
}

TEST_CASE("a mixture runs the chosen experts only, weighted by a softmax over their logits") {
  const File f = mixtral();
  const Recorder r = built(f);
  const auto topk = r.of(BRIM_OP_TOPK), softmax = r.of(BRIM_OP_SOFTMAX), grouped = r.of(BRIM_OP_GROUPED_MATMUL);
  REQUIRE(topk.size() == 2);
  CHECK(topk[0].attribute<brim_topk_attr>().k == 3);
  CHECK(r.producer(topk[0].in[0])->in[0] == r.weight_of("blk.0.ffn_gate_inp.weight"));
  CHECK(softmax[0].in[0] == topk[0].out[0]);
  REQUIRE(grouped.size() == 6);
  for (size_t i = 0; i < 3; ++i) CHECK(grouped[i].in[2] == topk[0].out[1]);
  CHECK(r.of(BRIM_OP_SLICE).size() == 6);  // three experts in two layers
}

TEST_CASE("head counts may differ from layer to layer") {
  File f = small();
  f.keys["llama.attention.head_count_kv"] = std::vector<uint64_t>{2, 4};
  const Recorder r = described(f);
  CHECK(r.states.at(0).n_head == 2);
  CHECK(r.states.at(1).n_head == 4);
  f.keys["llama.attention.head_count_kv"] = std::vector<uint64_t>{2, 4, 4};
  check_refused(f, BRIM_DATA_CORRUPT, "llama.attention.head_count_kv");
}

TEST_CASE("without a count of KV heads each head has its own") {
  File f = small();
  f.keys.erase("llama.attention.head_count_kv");
  CHECK(described(f).states.at(0).n_head == 4);
}

TEST_CASE("a missing key or one of another type is named") {
  for (const char* key :
       {"llama.block_count", "llama.context_length", "llama.embedding_length", "llama.feed_forward_length",
        "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon"}) {
    check_needed(small(), key);
  }
  check_needed(mixtral(), "llama.expert_used_count");
}

TEST_CASE("a value that no model can have is named") {
  const auto refused = [](const char* key, File::Value value, brim_status code = BRIM_DATA_CORRUPT) {
    check_refused(mixtral(), key, std::move(value), code);
  };
  refused("llama.block_count", uint64_t{0});
  refused("llama.block_count", uint64_t{1} << 40);
  refused("llama.embedding_length", uint64_t{0});
  refused("llama.embedding_length", uint64_t{50});  // 4 heads
  refused("llama.attention.head_count", uint64_t{0});
  refused("llama.attention.head_count_kv", uint64_t{3});
  refused("llama.attention.head_count_kv", uint64_t{8});
  refused("llama.attention.key_length", uint64_t{1} << 20);
  refused("llama.rope.dimension_count", uint64_t{7});
  refused("llama.rope.dimension_count", uint64_t{14});
  refused("llama.rope.freq_base", 0.0);
  refused("llama.rope.freq_base", std::nan(""));
  refused("llama.rope.scaling.factor", -1.0);
  refused("llama.rope.scaling.type", std::string("longrope"), BRIM_UNSUPPORTED);
  refused("llama.attention.layer_norm_rms_epsilon", 1e300);
  refused("llama.expert_used_count", uint64_t{9});
}

TEST_CASE("a missing tensor is the host's error and passes through") {
  File f = small();
  f.tensors.erase("blk.1.ffn_up.weight");
  check_refused(f, BRIM_NOT_FOUND, "blk.1.ffn_up.weight");
  f = small();
  f.tensors.erase("token_embd.weight");
  check_refused(f, BRIM_NOT_FOUND, "token_embd.weight");
  f.tensors["token_embd.weight"] = {300};
  check_refused(f, BRIM_DATA_CORRUPT, "token_embd.weight");
}
