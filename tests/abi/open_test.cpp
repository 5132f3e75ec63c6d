// Runtime, model and text through the C ABI, with a backend linked into the host that has memory but computes nothing:
// what opens without one, what is refused and how, and that handles may go in any order.
#include <brim/brim.h>
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../support/gguf_builder.hpp"
#include "../support/temp_folder.hpp"

// tests/fakes/backend.c
extern "C" const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t host_major);

namespace {

brim_str str(std::string_view text) { return {text.data(), text.size()}; }
std::string text(brim_str s) { return std::string(s.ptr, s.len); }

struct Failed {
  brim_status status;
  std::string message;
};
template <class Call>
Failed failed(const Call& call) {
  brim_error e{};
  e.struct_size = sizeof(e);
  const brim_status status = call(&e);
  return {status, e.message};
}
bool says(const Failed& f, brim_status status, const std::string& part) {
  INFO("said: " << f.message);
  return f.status == status && f.message.find(part) != std::string::npos;
}

// A (buf, cap, need) result.
template <class Call>
std::string fetched(const Call& call) {
  uint64_t need = 0;
  REQUIRE(call(nullptr, 0, &need) == BRIM_OK);
  std::string out(need, '\0');
  REQUIRE(call(out.data(), out.size(), &need) == BRIM_OK);
  return out;
}

brim_runtime* runtime_with(const brim_config* config = nullptr) {
  static const brim_plugin_query_fn query = brim_plugin_query;
  brim_runtime_config info{};
  info.struct_size = sizeof(info);
  info.static_plugins = &query;
  info.n_static_plugins = 1;
  info.threads = 1;
  info.config = config;
  brim_runtime* runtime = nullptr;
  const Failed f = failed([&](brim_error* e) { return brim_runtime_create(&info, &runtime, e); });
  REQUIRE_MESSAGE(f.status == BRIM_OK, f.message);
  return runtime;
}

// A SentencePiece vocabulary: three special tokens, every byte, some letters.
brim::test::GgufBuilder vocabulary() {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<float> scores = {0, 0, 0};
  std::vector<int32_t> types = {2, 3, 3};
  for (int i = 0; i < 256; ++i) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", i);
    tokens.emplace_back(name);
    scores.push_back(0);
    types.push_back(6);
  }
  float score = -1;
  for (const char* word : {"\xe2\x96\x81", "a", "b", "ab",
                           "\xe2\x96\x81"
                           "ab"}) {
    tokens.emplace_back(word);
    scores.push_back(score--);
    types.push_back(1);
  }
  brim::test::GgufBuilder b;
  b.set("general.architecture", "llama").set("general.name", "Letters").set("tokenizer.ggml.model", "llama");
  b.set("tokenizer.ggml.tokens", tokens).set("tokenizer.ggml.scores", scores).set("tokenizer.ggml.token_type", types);
  b.set("tokenizer.ggml.bos_token_id", uint32_t{1}).set("tokenizer.ggml.eos_token_id", uint32_t{2});
  return b;
}

// One layer of width 32 over that vocabulary, all weights 0.
brim::test::GgufBuilder whole_model() {
  brim::test::GgufBuilder b = vocabulary();
  b.set("llama.block_count", uint32_t{1})
      .set("llama.context_length", uint32_t{64})
      .set("llama.embedding_length", uint32_t{32});
  b.set("llama.feed_forward_length", uint32_t{64}).set("llama.attention.head_count", uint32_t{2});
  b.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  const auto zeros = [&](const std::string& name, std::vector<uint64_t> shape) {
    uint64_t n = 1;
    for (const uint64_t d : shape) n *= d;
    b.f32(name, shape, std::vector<float>(n));
  };
  zeros("token_embd.weight", {264, 32});
  zeros("output_norm.weight", {32});
  for (const char* name : {"attn_norm", "ffn_norm"}) zeros(std::string("blk.0.") + name + ".weight", {32});
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
    zeros(std::string("blk.0.") + name + ".weight", {32, 32});
  zeros("blk.0.ffn_gate.weight", {64, 32});
  zeros("blk.0.ffn_up.weight", {64, 32});
  zeros("blk.0.ffn_down.weight", {32, 64});
  return b;
}

struct Opened {
  explicit Opened(const brim::test::GgufBuilder& file) {
    file.write(std::filesystem::path(path));
    const Failed f = failed([&](brim_error* e) { return brim_model_open(runtime, str(path), str(""), &model, e); });
    REQUIRE_MESSAGE(f.status == BRIM_OK, f.message);
  }
  ~Opened() {
    brim_runtime_destroy(runtime);  // before what was made from it, on purpose
    brim_model_close(model);
  }
  brim_model_info info() const {
    brim_model_info i{};
    i.struct_size = sizeof(i);
    REQUIRE(brim_model_get_info(model, &i, nullptr) == BRIM_OK);
    return i;
  }
  std::vector<int32_t> tokens(std::string_view given, uint32_t flags = 0) const {
    uint64_t need = 0;
    REQUIRE(brim_tokenize(model, str(given), flags, nullptr, 0, &need, nullptr) == BRIM_OK);
    std::vector<int32_t> out(need);
    REQUIRE(brim_tokenize(model, str(given), flags, out.data(), out.size(), &need, nullptr) == BRIM_OK);
    return out;
  }

  brim::test::TempFolder folder;
  std::string path = folder / "model.gguf";
  brim_runtime* runtime = runtime_with();
  brim_model* model = nullptr;
};

}  // namespace

TEST_CASE("the report names library, plugins, devices and memories; plugins are found beside the library") {
  brim_runtime* runtime = runtime_with();
  const auto report = nlohmann::json::parse(fetched(
      [&](char* buf, uint64_t cap, uint64_t* need) { return brim_runtime_report(runtime, buf, cap, need, nullptr); }));
  CHECK(report.at("library").at("version") == brim_version());
  CHECK(std::filesystem::path(report.at("library").at("path").get<std::string>()).is_absolute());
  CHECK(report.at("library").at("threads") == 1);
  bool llama = false, fake = false;
  for (const auto& plugin : report.at("plugins")) {
    llama |= plugin.at("id") == "brim.llama";
    fake |= plugin.at("id") == "test.device";
  }
  CHECK(llama);
  CHECK(fake);
  CHECK(report.at("devices").size() >= 2);
  CHECK(report.at("pools").size() >= 2);
  brim_runtime_destroy(runtime);
}

TEST_CASE("settings reach their plugin, which refuses what it does not know") {
  brim_config* config = nullptr;
  REQUIRE(brim_config_create(&config, nullptr) == BRIM_OK);
  REQUIRE(brim_config_set(config, str("backend.test.device.devices"), str("1"), nullptr) == BRIM_OK);
  brim_runtime* runtime = runtime_with(config);
  const auto report = nlohmann::json::parse(fetched(
      [&](char* buf, uint64_t cap, uint64_t* need) { return brim_runtime_report(runtime, buf, cap, need, nullptr); }));
  int devices = 0;
  for (const auto& device : report.at("devices")) devices += device.at("plugin") == "test.device";
  CHECK(devices == 1);
  brim_runtime_destroy(runtime);
  brim_config_destroy(config);
}

TEST_CASE("a whole model tells what it is") {
  const Opened m(whole_model());
  const brim_model_info info = m.info();
  CHECK(text(info.name) == "Letters");
  CHECK(text(info.architecture) == "llama");
  CHECK(text(info.architecture_plugin) == "brim.llama");
  CHECK(info.n_layers == 1);
  CHECK(info.n_vocab == 264);
  CHECK(info.n_tokens == 264);
  CHECK(info.width == 32);
  CHECK(info.n_ctx_train == 64);
  CHECK(info.n_tensors == 11);
  CHECK(info.n_parameters == 264 * 32 + 3 * 32 + 4 * 32 * 32 + 3 * 64 * 32);
  CHECK(info.loaded == 0);
  CHECK(info.file_bytes == std::filesystem::file_size(m.path));
  const auto json = nlohmann::json::parse(fetched(
      [&](char* buf, uint64_t cap, uint64_t* need) { return brim_model_describe(m.model, buf, cap, need, nullptr); }));
  CHECK(json.at("metadata").at("llama.block_count") == 1);
  CHECK(json.at("metadata").at("tokenizer.ggml.tokens").size() == 264);  // only longer ones are cut
  CHECK(json.at("tensors").size() == 11);
  CHECK(json.at("tensors").at(0).at("shape") == nlohmann::json({264, 32}));
  CHECK(json.at("chat_template").is_null());
}

TEST_CASE("a vocabulary alone tokenizes and is no model") {
  const Opened m(vocabulary());
  CHECK(m.info().n_vocab == 0);
  CHECK(m.info().n_tokens == 264);
  CHECK(m.tokens("ab") == std::vector<int32_t>{263});
  CHECK(m.tokens("ab", BRIM_TOKENIZE_SPECIAL) == std::vector<int32_t>{1, 263});
  brim_plan* plan = nullptr;
  CHECK(says(failed([&](brim_error* e) { return brim_plan_create(m.model, nullptr, &plan, e); }),
             BRIM_FAILED_PRECONDITION, "vocabulary"));
  brim_session* session = nullptr;
  CHECK(says(failed([&](brim_error* e) { return brim_session_create(m.model, &session, e); }), BRIM_FAILED_PRECONDITION,
             "not loaded"));
}

TEST_CASE("text to tokens and back") {
  const Opened m(vocabulary());
  const auto tokens = m.tokens("ab \xc3\xa4");
  uint64_t need = 0;
  CHECK(fetched([&](char* buf, uint64_t cap, uint64_t* n) {
          return brim_detokenize(m.model, tokens.data(), tokens.size(), 0, buf, cap, n, nullptr);
        }) == "ab \xc3\xa4");
  CHECK(says(failed([&](brim_error* e) { return brim_tokenize(m.model, str("a"), 0x10, nullptr, 0, &need, e); }),
             BRIM_UNSUPPORTED, "flags"));
  const int32_t outside = 264;
  CHECK(says(failed([&](brim_error* e) { return brim_detokenize(m.model, &outside, 1, 0, nullptr, 0, &need, e); }),
             BRIM_INVALID_ARGUMENT, "264"));
  int32_t small[1];
  CHECK(says(failed([&](brim_error* e) { return brim_tokenize(m.model, str("ab \xc3\xa4"), 0, small, 1, &need, e); }),
             BRIM_INVALID_ARGUMENT, "too little"));
  CHECK(need == tokens.size());

  CHECK(brim_token_special(m.model, BRIM_TOKEN_BOS) == 1);
  CHECK(brim_token_special(m.model, BRIM_TOKEN_EOS) == 2);
  CHECK(brim_token_special(m.model, 99) == -1);
  brim_token_info info{};
  info.struct_size = sizeof(info);
  REQUIRE(brim_token_get_info(m.model, 2, &info, nullptr) == BRIM_OK);
  CHECK(text(info.text) == "</s>");
  CHECK((info.flags & BRIM_TOKEN_CONTROL) != 0);
  CHECK((info.flags & BRIM_TOKEN_END_OF_GENERATION) != 0);
  REQUIRE(brim_token_get_info(m.model, 3, &info, nullptr) == BRIM_OK);
  CHECK(info.flags == BRIM_TOKEN_BYTE);
  CHECK(brim_token_get_info(m.model, -1, &info, nullptr) == BRIM_INVALID_ARGUMENT);
}

TEST_CASE("a decoder gives whole characters and outlives the model's handle") {
  brim_decoder* decoder = nullptr;
  {
    const Opened m(vocabulary());
    REQUIRE(brim_decoder_create(m.model, &decoder, nullptr) == BRIM_OK);
  }
  brim_str piece{};
  REQUIRE(brim_decoder_push(decoder, 260, &piece, nullptr) == BRIM_OK);
  CHECK(text(piece) == "a");
  REQUIRE(brim_decoder_push(decoder, 3 + 0xc3, &piece, nullptr) == BRIM_OK);
  CHECK(piece.len == 0);
  REQUIRE(brim_decoder_push(decoder, 3 + 0xa4, &piece, nullptr) == BRIM_OK);
  CHECK(text(piece) == "\xc3\xa4");
  CHECK(brim_decoder_push(decoder, 9999, &piece, nullptr) == BRIM_INVALID_ARGUMENT);
  CHECK(piece.len == 0);
  REQUIRE(brim_decoder_push(decoder, 3 + 0xc3, &piece, nullptr) == BRIM_OK);
  REQUIRE(brim_decoder_flush(decoder, &piece, nullptr) == BRIM_OK);
  CHECK(text(piece) == "\xef\xbf\xbd");
  brim_decoder_destroy(decoder);
}

TEST_CASE("chat templates: one that is known, one that is not, none") {
  const brim_message conversation[] = {{str("user"), str("ab")}};
  uint64_t need = 0;
  const auto render = [&](const Opened& m) {
    return failed([&](brim_error* e) {
      return brim_chat_render(m.model, conversation, 1, sizeof(brim_message), 1, nullptr, 0, &need, e);
    });
  };
  const Opened none(vocabulary());
  CHECK(says(render(none), BRIM_FAILED_PRECONDITION, "template"));
  const Opened unknown(vocabulary().set("tokenizer.chat_template", "{{ riddle }}"));
  CHECK(says(render(unknown), BRIM_UNSUPPORTED, "template"));
  const Opened chatml(vocabulary().set(
      "tokenizer.chat_template",
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
      "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"));
  CHECK(fetched([&](char* buf, uint64_t cap, uint64_t* n) {
          return brim_chat_render(chatml.model, conversation, 1, sizeof(brim_message), 1, buf, cap, n, nullptr);
        }) == "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n");
  CHECK(says(
      failed([&](brim_error* e) { return brim_chat_render(chatml.model, nullptr, 1, 32, 1, nullptr, 0, &need, e); }),
      BRIM_INVALID_ARGUMENT, "NULL"));
}

TEST_CASE("what does not open says why") {
  const brim::test::TempFolder folder;
  brim_runtime* runtime = runtime_with();
  brim_model* model = nullptr;
  const auto open = [&](const std::string& path, const char* plugin = "") {
    return failed([&](brim_error* e) { return brim_model_open(runtime, str(path), str(plugin), &model, e); });
  };
  CHECK(says(open(folder / "absent.gguf"), BRIM_NOT_FOUND, "absent.gguf"));
  std::ofstream(folder / "letter.txt") << "Dear Sir or Madam, this is no model at all.\n";
  CHECK(says(open(folder / "letter.txt"), BRIM_DATA_CORRUPT, "letter.txt"));
  const std::string whole = whole_model().bytes();
  std::ofstream(folder / "cut.gguf", std::ios::binary) << whole.substr(0, whole.size() / 2);
  CHECK(says(open(folder / "cut.gguf"), BRIM_DATA_CORRUPT, "cut.gguf"));
  whole_model().write(std::filesystem::path(folder / "good.gguf"));
  CHECK(says(open(folder / "good.gguf", "org.example.none"), BRIM_NOT_FOUND, "org.example.none"));
  CHECK(model == nullptr);
  brim_runtime_destroy(runtime);
}

TEST_CASE("an architecture that nobody knows, and a missing tensor, are refused when the model is planned") {
  brim_plan* plan = nullptr;
  const auto plan_of = [&](const Opened& m) {
    return failed([&](brim_error* e) { return brim_plan_create(m.model, nullptr, &plan, e); });
  };
  brim::test::GgufBuilder alien;
  alien.set("general.architecture", "alien").f32("x", {4}, {1, 2, 3, 4});
  const Opened unknown(alien);
  CHECK(says(plan_of(unknown), BRIM_UNSUPPORTED, "alien"));
  CHECK(unknown.info().architecture_plugin.len == 0);

  brim::test::GgufBuilder lacking = vocabulary();
  lacking.set("llama.block_count", uint32_t{1}).set("llama.context_length", uint32_t{64});
  lacking.set("llama.embedding_length", uint32_t{32}).set("llama.feed_forward_length", uint32_t{64});
  lacking.set("llama.attention.head_count", uint32_t{2}).set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  lacking.f32("token_embd.weight", {264, 32}, std::vector<float>(264 * 32));
  const Opened m(lacking);
  CHECK(says(plan_of(m), BRIM_NOT_FOUND, "output_norm.weight"));
  CHECK(plan == nullptr);
}

TEST_CASE("plan requests that make no sense are refused before anything is planned") {
  const Opened m(whole_model());
  brim_plan* plan = nullptr;
  brim_plan_request request{};
  request.struct_size = sizeof(request);
  const auto create = [&] {
    return failed([&](brim_error* e) { return brim_plan_create(m.model, &request, &plan, e); });
  };
  request.flags = 0x40;
  CHECK(says(create(), BRIM_UNSUPPORTED, "flags"));
  request.flags = 0;
  request.n_placements = 1;
  CHECK(says(create(), BRIM_INVALID_ARGUMENT, "NULL"));
  request.n_placements = 0;
  request.struct_size = 1;
  CHECK(says(create(), BRIM_INVALID_ARGUMENT, "struct_size"));
  CHECK(plan == nullptr);
}
