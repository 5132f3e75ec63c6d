// Speed of guessing ahead (runtime/engine/lookahead.hpp) on a copy-heavy text: a prompt of 200 tokens, and a generation
// that repeats it with every 20th token changed, as an edited file would. Which text it is decides how many guesses are
// right, the model's shape what they cost: so the host's own sampler dictates the text, and random weights will do.
//
//     lookahead_bench PLUGINS MODEL THREADS [ROUNDS]      tokens/s without and with guesses, in turns
#include <brim/brim.hpp>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr int kPrompt = 200, kEvery = 20;
constexpr uint32_t kGuesses = 7;

struct Script {
  std::vector<int32_t> tokens;
  size_t next = 0;
};

void run(const char* folder, const char* file, uint32_t threads, int rounds) {
  const brim_str plugins = brim::str(folder);
  auto config = brim::sized<brim_runtime_config>();
  config.plugin_dirs = &plugins;
  config.n_plugin_dirs = 1;
  config.threads = threads;
  config.log_level = BRIM_LOG_ERROR;
  const brim::Runtime runtime(config);
  brim::Model model(runtime, file);
  auto request = brim::sized<brim_plan_request>();
  request.n_ctx = 2 * kPrompt + 16;
  model.load(brim::Plan(model, request));
  brim::Session session(model);

  std::vector<int32_t> prompt(kPrompt);
  for (int i = 0; i < kPrompt; ++i) prompt[static_cast<size_t>(i)] = 100 + i * 7919 % 20000;
  for (int round = 0; round < rounds; ++round) {
    for (const uint32_t lookahead : {0u, kGuesses}) {
      Script script{prompt};
      for (size_t i = kEvery - 1; i < script.tokens.size(); i += kEvery) script.tokens[i] = 50;
      auto info = brim::sized<brim_generate_info>();
      info.sequence = session.create_sequence();
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
      auto result = brim::sized<brim_generate_result>();
      brim::checked([&](brim_error* error) { return brim_generate(session.get(), &info, &result, error); });
      session.remove(info.sequence);
      std::printf("lookahead %u: %llu tokens in %llu steps, %.2f tokens/s\n", lookahead,
                  static_cast<unsigned long long>(result.n_generated - 1),
                  static_cast<unsigned long long>(result.n_steps),
                  static_cast<double>(result.n_generated - 1) * 1e9 / static_cast<double>(result.decode_ns));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "lookahead_bench PLUGINS MODEL THREADS [ROUNDS]\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], static_cast<uint32_t>(std::atoi(argv[3])), argc > 4 ? std::atoi(argv[4]) : 3);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
