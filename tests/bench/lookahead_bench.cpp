// Speed of guessing ahead (runtime/engine/lookahead.hpp) on a copy-heavy text: a prompt of 200 tokens, and a generation
// that repeats it with every 20th token changed, as an edited file would. Which text it is decides how many guesses are
// right, the model's shape what they cost: so the host's own sampler dictates the text, and random weights will do.
//
//     lookahead_bench PLUGINS MODEL THREADS [ROUNDS]      tokens/s without and with guesses, in turns
#include <brim/brim.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr int kPrompt = 200, kEvery = 20;
constexpr uint32_t kGuesses = 7;

void must(brim_status status, const brim_error& error) {
  if (status == BRIM_OK) return;
  std::fprintf(stderr, "%s: %s\n", brim_status_name(status), error.message);
  std::exit(1);
}

template <class T>
T sized() {
  T t{};
  t.struct_size = sizeof(T);
  return t;
}

brim_str str(const char* text) {
  uint64_t n = 0;
  while (text[n] != 0) ++n;
  return {text, n};
}

struct Script {
  std::vector<int32_t> tokens;
  size_t next = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "lookahead_bench PLUGINS MODEL THREADS [ROUNDS]\n");
    return 2;
  }
  brim_error error = sized<brim_error>();
  const brim_str plugins = str(argv[1]);
  auto config = sized<brim_runtime_config>();
  config.plugin_dirs = &plugins;
  config.n_plugin_dirs = 1;
  config.threads = static_cast<uint32_t>(std::atoi(argv[3]));
  config.log_level = BRIM_LOG_ERROR;
  brim_runtime* runtime = nullptr;
  must(brim_runtime_create(&config, &runtime, &error), error);
  brim_model* model = nullptr;
  must(brim_model_open(runtime, str(argv[2]), {}, &model, &error), error);
  auto request = sized<brim_plan_request>();
  request.n_ctx = 2 * kPrompt + 16;
  brim_plan* plan = nullptr;
  must(brim_plan_create(model, &request, &plan, &error), error);
  must(brim_model_load(model, plan, nullptr, &error), error);
  brim_session* session = nullptr;
  must(brim_session_create(model, &session, &error), error);

  std::vector<int32_t> prompt(kPrompt);
  for (int i = 0; i < kPrompt; ++i) prompt[static_cast<size_t>(i)] = 100 + i * 7919 % 20000;
  for (int round = 0; round < (argc > 4 ? std::atoi(argv[4]) : 3); ++round) {
    for (const uint32_t lookahead : {0u, kGuesses}) {
      Script script{prompt};
      for (size_t i = kEvery - 1; i < script.tokens.size(); i += kEvery) script.tokens[i] = 50;
      auto info = sized<brim_generate_info>();
      must(brim_sequence_create(session, &info.sequence, &error), error);
      info.prompt = prompt.data();
      info.n_prompt = prompt.size();
      info.max_tokens = script.tokens.size();
      info.ignore_end = 1;
      info.lookahead = lookahead;
      info.user = &script;
      info.choose = [](void* user, const float*, uint32_t) {
        auto& s = *static_cast<Script*>(user);
        return s.tokens[s.next++];
      };
      auto result = sized<brim_generate_result>();
      must(brim_generate(session, &info, &result, &error), error);
      must(brim_sequence_remove(session, info.sequence, &error), error);
      std::printf("lookahead %u: %llu tokens in %llu steps, %.2f tokens/s\n", lookahead,
                  static_cast<unsigned long long>(result.n_generated - 1),
                  static_cast<unsigned long long>(result.n_steps),
                  static_cast<double>(result.n_generated - 1) * 1e9 / static_cast<double>(result.decode_ns));
    }
  }
  brim_session_destroy(session);
  brim_plan_destroy(plan);
  brim_model_close(model);
  brim_runtime_destroy(runtime);
  return 0;
}
