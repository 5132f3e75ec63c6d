// Every function of brim.h handed what no host should hand it: NULL, structs that are too small, flags nobody knows.
// Each answers with a status and a sentence; none of them crashes.
#include <brim/brim.h>
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "../support/temp_folder.hpp"

namespace {

brim_str str(std::string_view text) { return {text.data(), text.size()}; }

brim_error fresh() {
  brim_error e{};
  e.struct_size = sizeof(e);
  return e;
}

// The call fails with that status and says something that contains `text`; without an error struct it does the same.
template <class Call>
void check_fails(brim_status expected, const char* text, const Call& call) {
  brim_error e = fresh();
  const brim_status status = call(&e);
  CHECK_MESSAGE(status == expected, brim_status_name(status) << ": " << e.message);
  CHECK(e.code == status);
  CHECK_MESSAGE(std::string(e.message).find(text) != std::string::npos,
                "said: '" << e.message << "', expected: " << text);
  CHECK(call(nullptr) == expected);
}

template <class Call>
void check_invalid(const char* text, const Call& call) {
  check_fails(BRIM_INVALID_ARGUMENT, text, call);
}

const brim_str kBroken = {nullptr, 5};

struct ConfigHandle {
  ConfigHandle() { REQUIRE(brim_config_create(&config, nullptr) == BRIM_OK); }
  ~ConfigHandle() { brim_config_destroy(config); }
  brim_config* config = nullptr;
};

}  // namespace

TEST_CASE("destroying nothing is nothing, and neither is asking nothing") {
  brim_cancel_destroy(nullptr);
  brim_cancel_fire(nullptr);
  brim_cancel_reset(nullptr);
  brim_config_destroy(nullptr);
  brim_runtime_destroy(nullptr);
  brim_model_close(nullptr);
  brim_plan_destroy(nullptr);
  brim_session_destroy(nullptr);
  brim_sampler_destroy(nullptr);
  brim_sampler_reset(nullptr);
  brim_decoder_destroy(nullptr);
  brim_abi_version(nullptr, nullptr);
  CHECK(brim_token_special(nullptr, BRIM_TOKEN_BOS) == -1);
}

TEST_CASE("the library tells its versions") {
  uint32_t major = 99, minor = 99;
  brim_abi_version(&major, &minor);
  CHECK(major == BRIM_ABI_MAJOR);
  CHECK(minor == BRIM_ABI_MINOR);
  CHECK(std::strlen(brim_version()) >= 5);
}

TEST_CASE("without a handle or a place for the answer a call is refused") {
  char buf[8];
  uint64_t need = 0;
  uint32_t n = 0;
  int32_t token = 0;
  double number = 0;
  brim_str text{};
  const float* values = nullptr;
  brim_step step{};
  step.struct_size = sizeof(step);

  check_invalid("out is NULL", [](brim_error* e) { return brim_cancel_create(nullptr, e); });
  check_invalid("out is NULL", [](brim_error* e) { return brim_config_create(nullptr, e); });
  check_invalid("config is NULL", [](brim_error* e) { return brim_config_load(nullptr, str("/x"), e); });
  check_invalid("config is NULL", [](brim_error* e) { return brim_config_set(nullptr, str("a"), str("b"), e); });
  check_invalid("config is NULL", [&](brim_error* e) { return brim_config_get(nullptr, str("a"), buf, 8, &need, e); });
  check_invalid("config is NULL", [&](brim_error* e) { return brim_config_describe(nullptr, buf, 8, &need, e); });
  check_invalid("config is NULL", [](brim_error* e) {
    brim_sampling s{};
    s.struct_size = sizeof(s);
    return brim_config_sampling(nullptr, &s, e);
  });
  check_invalid("out is NULL", [](brim_error* e) { return brim_runtime_create(nullptr, nullptr, e); });
  check_invalid("runtime is NULL", [&](brim_error* e) { return brim_runtime_report(nullptr, buf, 8, &need, e); });
  check_invalid("is NULL", [&](brim_error* e) { return brim_runtime_machine(nullptr, {}, nullptr, 0, &need, e); });
  check_invalid("is NULL", [&](brim_error* e) { return brim_runtime_bandwidth(nullptr, &number, e); });
  check_invalid("is NULL", [&](brim_error* e) { return brim_runtime_bandwidth(nullptr, nullptr, e); });
  check_invalid("out is NULL", [](brim_error* e) { return brim_model_open(nullptr, str("/x"), str(""), nullptr, e); });
  check_invalid("runtime is NULL", [](brim_error* e) {
    brim_model* model = nullptr;
    return brim_model_open(nullptr, str("/x"), str(""), &model, e);
  });
  check_invalid("model is NULL", [](brim_error* e) {
    brim_model_info info{};
    info.struct_size = sizeof(info);
    return brim_model_get_info(nullptr, &info, e);
  });
  check_invalid("model is NULL", [&](brim_error* e) { return brim_model_describe(nullptr, buf, 8, &need, e); });
  check_invalid("out is NULL", [](brim_error* e) { return brim_plan_create(nullptr, nullptr, nullptr, e); });
  check_invalid("model is NULL", [](brim_error* e) {
    brim_plan* plan = nullptr;
    return brim_plan_create(nullptr, nullptr, &plan, e);
  });
  check_invalid("plan is NULL", [](brim_error* e) { return brim_plan_get_info(nullptr, nullptr, e); });
  check_invalid("plan is NULL", [](brim_error* e) { return brim_plan_get_pool(nullptr, 0, nullptr, e); });
  check_invalid("plan is NULL", [&](brim_error* e) { return brim_plan_explain(nullptr, buf, 8, &need, e); });
  check_invalid("model is NULL", [](brim_error* e) { return brim_model_load(nullptr, nullptr, nullptr, e); });
  check_invalid("model is NULL", [](brim_error* e) { return brim_model_unload(nullptr, e); });
  brim_plan* loaded = nullptr;
  check_invalid("model is NULL", [&](brim_error* e) { return brim_model_get_plan(nullptr, &loaded, e); });
  check_invalid("model is NULL",
                [&](brim_error* e) { return brim_tokenize(nullptr, str("a"), 0, nullptr, 0, &need, e); });
  check_invalid("need is NULL",
                [](brim_error* e) { return brim_tokenize(nullptr, str("a"), 0, nullptr, 0, nullptr, e); });
  check_invalid("model is NULL",
                [&](brim_error* e) { return brim_detokenize(nullptr, &token, 1, 0, buf, 8, &need, e); });
  check_invalid("tokens is NULL",
                [&](brim_error* e) { return brim_detokenize(nullptr, nullptr, 1, 0, buf, 8, &need, e); });
  check_invalid("model is NULL", [](brim_error* e) { return brim_token_get_info(nullptr, 0, nullptr, e); });
  check_invalid("out is NULL", [](brim_error* e) { return brim_decoder_create(nullptr, nullptr, e); });
  check_invalid("model is NULL", [](brim_error* e) {
    brim_decoder* decoder = nullptr;
    return brim_decoder_create(nullptr, &decoder, e);
  });
  check_invalid("decoder is NULL", [&](brim_error* e) { return brim_decoder_push(nullptr, 0, &text, e); });
  check_invalid("text is NULL", [](brim_error* e) { return brim_decoder_push(nullptr, 0, nullptr, e); });
  check_invalid("decoder is NULL", [&](brim_error* e) { return brim_decoder_flush(nullptr, &text, e); });
  check_invalid("model is NULL", [&](brim_error* e) {
    return brim_chat_render(nullptr, nullptr, 0, sizeof(brim_message), 1, buf, 8, &need, e);
  });
  check_invalid("out is NULL", [](brim_error* e) { return brim_session_create(nullptr, nullptr, e); });
  check_invalid("model is NULL", [](brim_error* e) {
    brim_session* session = nullptr;
    return brim_session_create(nullptr, &session, e);
  });
  check_invalid("session is NULL", [&](brim_error* e) { return brim_sequence_create(nullptr, &n, e); });
  check_invalid("session is NULL", [&](brim_error* e) { return brim_sequence_fork(nullptr, 0, 1, &n, e); });
  check_invalid("session is NULL", [](brim_error* e) { return brim_sequence_trim(nullptr, 0, 1, e); });
  check_invalid("session is NULL", [](brim_error* e) { return brim_sequence_remove(nullptr, 0, e); });
  check_invalid("session is NULL", [&](brim_error* e) { return brim_sequence_length(nullptr, 0, &n, e); });
  check_invalid("session is NULL",
                [&](brim_error* e) { return brim_sequence_tokens(nullptr, 0, nullptr, 0, &need, e); });
  check_invalid("write is NULL", [](brim_error* e) { return brim_sequence_save(nullptr, 0, nullptr, nullptr, e); });
  check_invalid("session is NULL", [](brim_error* e) {
    return brim_sequence_save(
        nullptr, 0, [](void*, const void*, uint64_t) { return 0u; }, nullptr, e);
  });
  check_invalid("read is NULL", [&](brim_error* e) { return brim_sequence_restore(nullptr, nullptr, nullptr, &n, e); });
  check_invalid("session is NULL", [&](brim_error* e) {
    return brim_sequence_restore(
        nullptr, [](void*, void*, uint64_t) { return 1u; }, nullptr, &n, e);
  });
  check_invalid("session is NULL", [&](brim_error* e) { return brim_session_step(nullptr, &step, e); });
  check_invalid("brim_step is NULL", [](brim_error* e) { return brim_session_step(nullptr, nullptr, e); });
  check_invalid("session is NULL", [&](brim_error* e) { return brim_session_submit(nullptr, &step, e); });
  check_invalid("session is NULL", [](brim_error* e) { return brim_session_wait(nullptr, 0, e); });
  check_invalid("session is NULL",
                [&](brim_error* e) { return brim_session_output(nullptr, BRIM_OUTPUT_LOGITS, 0, &values, &n, e); });
  check_invalid("out is NULL", [](brim_error* e) { return brim_sampler_create(nullptr, 8, nullptr, e); });
  check_invalid("brim_sampling is NULL", [](brim_error* e) {
    brim_sampler* sampler = nullptr;
    return brim_sampler_create(nullptr, 8, &sampler, e);
  });
  check_invalid("is NULL", [&](brim_error* e) { return brim_sampler_sample(nullptr, nullptr, &token, e); });
  check_invalid("sampler is NULL", [](brim_error* e) { return brim_sampler_accept(nullptr, 0, e); });
  check_invalid("brim_generate_info is NULL",
                [](brim_error* e) { return brim_generate(nullptr, nullptr, nullptr, e); });
  check_invalid("session is NULL", [](brim_error* e) {
    brim_generate_info info{};
    info.struct_size = sizeof(info);
    return brim_generate(nullptr, &info, nullptr, e);
  });
  check_invalid("in is NULL", [](brim_error* e) { return brim_quantize(kBroken, str("/o"), str("Q8_0"), nullptr, e); });
}

TEST_CASE("every function of brim.h is misused here") {
  std::ifstream header(BRIM_SOURCE_DIR "/sdk/include/brim/brim.h"), test(BRIM_SOURCE_DIR "/tests/abi/misuse_test.cpp");
  std::stringstream declared, used;
  declared << header.rdbuf();
  used << test.rdbuf();
  const std::string text = declared.str(), own = used.str();
  static const std::regex function(R"(BRIM_CALL (brim_\w+)\()");
  int count = 0;
  for (std::sregex_iterator i(text.begin(), text.end(), function), end; i != end; ++i, ++count) {
    CHECK_MESSAGE(own.find((*i)[1].str() + "(") != std::string::npos, "not misused: " << (*i)[1].str());
  }
  CHECK(count > 50);
}

TEST_CASE("a text of NULL and a length is refused by its name") {
  const ConfigHandle c;
  check_invalid("path is NULL", [&](brim_error* e) { return brim_config_load(c.config, kBroken, e); });
  check_invalid("key is NULL", [&](brim_error* e) { return brim_config_set(c.config, kBroken, str("1"), e); });
  check_invalid("value is NULL",
                [&](brim_error* e) { return brim_config_set(c.config, str("plan.context"), kBroken, e); });
  check_invalid("out is NULL",
                [](brim_error* e) { return brim_quantize(str("/i"), kBroken, str("Q8_0"), nullptr, e); });
  check_invalid("type is NULL", [](brim_error* e) { return brim_quantize(str("/i"), str("/o"), kBroken, nullptr, e); });
}

TEST_CASE("text results follow the rule of (buf, cap, need)") {
  const ConfigHandle c;
  uint64_t need = 0;
  REQUIRE(brim_config_get(c.config, str("plan.numerics"), nullptr, 0, &need, nullptr) == BRIM_OK);
  CHECK(need == 4);
  char buf[8];
  std::memset(buf, 'x', sizeof(buf));
  REQUIRE(brim_config_get(c.config, str("plan.numerics"), buf, 4, &need, nullptr) == BRIM_OK);
  CHECK(std::string(buf, 5) == "fastx");
  REQUIRE(brim_config_get(c.config, str("plan.numerics"), buf, 5, &need, nullptr) == BRIM_OK);
  CHECK(std::string(buf) == "fast");
  std::memset(buf, 'x', sizeof(buf));
  need = 0;
  CHECK(brim_config_get(c.config, str("plan.numerics"), buf, 3, &need, nullptr) == BRIM_INVALID_ARGUMENT);
  CHECK(need == 4);
  CHECK(buf[0] == 'x');
  check_invalid("need is NULL",
                [&](brim_error* e) { return brim_config_get(c.config, str("plan.numerics"), buf, 8, nullptr, e); });
}

TEST_CASE("configuration through the C ABI") {
  const ConfigHandle c;
  check_invalid("'plan.context'",
                [&](brim_error* e) { return brim_config_set(c.config, str("plan.contxt"), str("1"), e); });
  check_fails(BRIM_NOT_FOUND, "absent.toml",
              [&](brim_error* e) { return brim_config_load(c.config, str("/absent.toml"), e); });
  REQUIRE(brim_config_set(c.config, str("sampling.top_k"), str("7"), nullptr) == BRIM_OK);
  brim_sampling s{};
  s.struct_size = sizeof(s);
  REQUIRE(brim_config_sampling(c.config, &s, nullptr) == BRIM_OK);
  CHECK(s.top_k == 7);
  CHECK(s.temperature == 0.8f);
  CHECK(s.n_biases == 0);
  // An older host's struct ends before top_p: nothing behind it is touched.
  s.struct_size = BRIM_SIZE_THROUGH(brim_sampling, temperature);
  s.top_p = 123;
  REQUIRE(brim_config_sampling(c.config, &s, nullptr) == BRIM_OK);
  CHECK(s.top_p == 123);
  CHECK(s.struct_size == BRIM_SIZE_THROUGH(brim_sampling, temperature));
  s.struct_size = 0;
  check_invalid("struct_size", [&](brim_error* e) { return brim_config_sampling(c.config, &s, e); });
}

TEST_CASE("an error is written as far as the host's struct reaches") {
  const auto call = [](brim_error* e) { return brim_config_set(nullptr, str("a"), str("b"), e); };
  struct {
    brim_error error;
    unsigned char behind[16];
  } box;
  for (const uint32_t size : {0u, 3u, 4u, 8u, 16u, 48u, 49u, 60u, 559u, 560u, 576u}) {
    CAPTURE(size);
    std::memset(&box, 0xee, sizeof(box));
    box.error.struct_size = size;
    CHECK(call(&box.error) == BRIM_INVALID_ARGUMENT);
    CHECK(box.error.struct_size == size);
    if (size >= 8) CHECK(box.error.code == BRIM_INVALID_ARGUMENT);
    const auto* bytes = reinterpret_cast<const unsigned char*>(&box);
    const size_t written = std::min<size_t>(size, sizeof(brim_error));
    for (size_t i = std::max<size_t>(written, 4); i < sizeof(box); ++i) CHECK(bytes[i] == 0xee);
    if (size > offsetof(brim_error, message))
      CHECK(std::memchr(box.error.message, 0, written - offsetof(brim_error, message)));
  }
}

TEST_CASE("structs of other sizes: too small is refused, older and newer ones are read as far as both know them") {
  brim_sampling s{};
  brim_sampler* sampler = nullptr;
  for (const uint32_t size : {0u, 1u, 3u, 5u, 10u, 23u}) {
    s.struct_size = size;
    check_invalid("struct_size", [&](brim_error* e) { return brim_sampler_create(&s, 4, &sampler, e); });
    CHECK(sampler == nullptr);
  }
  // Only greedy choice is known to a host whose struct ends at top_k; what lies behind is not read.
  s.struct_size = BRIM_SIZE_THROUGH(brim_sampling, top_k);
  s.temperature = -5;
  REQUIRE(brim_sampler_create(&s, 4, &sampler, nullptr) == BRIM_OK);
  brim_sampler_destroy(sampler);
  struct {
    brim_sampling known;
    uint64_t future[4];
  } grown{};
  grown.known.struct_size = sizeof(grown);
  grown.future[0] = ~0ull;
  REQUIRE(brim_sampler_create(&grown.known, 4, &sampler, nullptr) == BRIM_OK);
  brim_sampler_destroy(sampler);

  brim_runtime_config config{};
  brim_runtime* runtime = nullptr;
  config.struct_size = 2;
  check_invalid("struct_size", [&](brim_error* e) { return brim_runtime_create(&config, &runtime, e); });
  brim_quantize_options options{};
  check_invalid("struct_size",
                [&](brim_error* e) { return brim_quantize(str("/i"), str("/o"), str("Q8_0"), &options, e); });
}

TEST_CASE("the sampler through the C ABI") {
  brim_sampling s{};
  s.struct_size = sizeof(s);
  brim_sampler* sampler = nullptr;
  const float logits[] = {0, 3, 1};
  int32_t token = -1;
  REQUIRE(brim_sampler_create(&s, 3, &sampler, nullptr) == BRIM_OK);
  CHECK(brim_sampler_sample(sampler, logits, &token, nullptr) == BRIM_OK);
  CHECK(token == 1);
  check_invalid("logits is NULL", [&](brim_error* e) { return brim_sampler_sample(sampler, nullptr, &token, e); });
  check_invalid("token is NULL", [&](brim_error* e) { return brim_sampler_sample(sampler, logits, nullptr, e); });
  check_invalid("outside the vocabulary", [&](brim_error* e) { return brim_sampler_accept(sampler, 3, e); });
  brim_sampler_reset(sampler);
  brim_sampler_destroy(sampler);

  brim_logit_bias forbid[] = {{1, -std::numeric_limits<float>::infinity()}};
  s.biases = forbid;
  s.n_biases = 1;
  check_invalid("stride", [&](brim_error* e) { return brim_sampler_create(&s, 3, &sampler, e); });
  s.bias_stride = sizeof(brim_logit_bias);
  REQUIRE(brim_sampler_create(&s, 3, &sampler, nullptr) == BRIM_OK);
  CHECK(brim_sampler_sample(sampler, logits, &token, nullptr) == BRIM_OK);
  CHECK(token == 2);
  brim_sampler_destroy(sampler);
  s.biases = nullptr;
  check_invalid("NULL", [&](brim_error* e) { return brim_sampler_create(&s, 3, &sampler, e); });
  s.n_biases = 0;
  s.top_p = 2;
  check_invalid("top_p", [&](brim_error* e) { return brim_sampler_create(&s, 3, &sampler, e); });
  s.top_p = 0;
  check_invalid("0 tokens", [&](brim_error* e) { return brim_sampler_create(&s, 0, &sampler, e); });
  CHECK(sampler == nullptr);
}

TEST_CASE("a runtime without backends is an error that says where it looked and what to do") {
  const brim::test::TempFolder empty;
  const std::string path = empty.path().string();
  const brim_str folder = str(path);
  brim_runtime_config config{};
  config.struct_size = sizeof(config);
  config.plugin_dirs = &folder;
  config.n_plugin_dirs = 1;
  brim_runtime* runtime = nullptr;
  const auto create = [&](brim_error* e) { return brim_runtime_create(&config, &runtime, e); };
  check_fails(BRIM_NOT_FOUND, path.c_str(), create);
  CHECK(runtime == nullptr);

  std::ofstream(empty / "broken.toml") << "[plugin]\nid = 3\n";
  check_fails(BRIM_NOT_FOUND, "broken.toml", create);

  const brim_str relative = str("plugins");
  config.plugin_dirs = &relative;
  check_invalid("plugins", create);
  config.plugin_dirs = nullptr;
  check_invalid("plugin_dirs is NULL", create);
  config.n_plugin_dirs = 0;
  config.n_static_plugins = 1;
  check_invalid("static_plugins is NULL", create);
  config.n_static_plugins = 0;
  config.log_level = 77;
  check_fails(BRIM_UNSUPPORTED, "log level", create);
}

TEST_CASE("flags that nobody knows are unsupported, never ignored") {
  uint64_t need = 0;
  check_fails(BRIM_UNSUPPORTED, "flags",
              [&](brim_error* e) { return brim_tokenize(nullptr, str("a"), 0x80, nullptr, 0, &need, e); });
}

TEST_CASE("a quantisation that cannot be is refused and leaves nothing") {
  const brim::test::TempFolder folder;
  const std::string out = folder / "out.gguf";
  check_fails(BRIM_NOT_FOUND, "absent.gguf",
              [&](brim_error* e) { return brim_quantize(str("/absent.gguf"), str(out), str("Q8_0"), nullptr, e); });
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE("a cancel token is fired and reset from anywhere") {
  brim_cancel* cancel = nullptr;
  REQUIRE(brim_cancel_create(&cancel, nullptr) == BRIM_OK);
  brim_cancel_fire(cancel);
  brim_cancel_reset(cancel);
  brim_cancel_destroy(cancel);
}
