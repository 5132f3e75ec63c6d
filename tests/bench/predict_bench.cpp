// Predicted against measured decoding on this machine, one thread: every model's speed as plans predict it from the
// probe of the memory, and again from what was learned in one generation; then what generations in turns reach, the
// median.
//
//     predict_bench PLUGINS LEARNED MODEL...      LEARNED: a file that is written; an old one is left out first
#include <brim/brim.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace {

constexpr uint64_t kTokens = 17;  // the least that is learned from
constexpr int kRounds = 5;

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

brim_str str(std::string_view text) { return {text.data(), text.size()}; }

struct Loaded {
  const char* path = nullptr;
  brim_model* model = nullptr;
  brim_session* session = nullptr;
  double probed = 0, learned = 0;
  std::vector<double> measured;

  double predicted(bool load) {
    brim_error error = sized<brim_error>();
    auto request = sized<brim_plan_request>();
    request.n_ctx = 64;
    brim_plan* plan = nullptr;
    must(brim_plan_create(model, &request, &plan, &error), error);
    auto info = sized<brim_plan_info>();
    must(brim_plan_get_info(plan, &info, &error), error);
    if (load) {
      must(brim_model_load(model, plan, nullptr, &error), error);
      must(brim_session_create(model, &session, &error), error);
    }
    brim_plan_destroy(plan);
    return info.predicted_decode;
  }

  // Tokens/s of one generation.
  double generate() {
    brim_error error = sized<brim_error>();
    const int32_t prompt = 1;
    auto info = sized<brim_generate_info>();
    must(brim_sequence_create(session, &info.sequence, &error), error);
    info.prompt = &prompt;
    info.n_prompt = 1;
    info.max_tokens = kTokens;
    info.ignore_end = 1;
    auto result = sized<brim_generate_result>();
    must(brim_generate(session, &info, &result, &error), error);
    must(brim_sequence_remove(session, info.sequence, &error), error);
    return static_cast<double>(result.n_generated - 1) * 1e9 / static_cast<double>(result.decode_ns);
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "predict_bench PLUGINS LEARNED MODEL...\n");
    return 2;
  }
  brim_error error = sized<brim_error>();
  std::remove(argv[2]);
  brim_config* options = nullptr;
  must(brim_config_create(&options, &error), error);
  must(brim_config_set(options, str("runtime.learned"), str(argv[2]), &error), error);
  const brim_str plugins = str(argv[1]);
  auto config = sized<brim_runtime_config>();
  config.config = options;
  config.plugin_dirs = &plugins;
  config.n_plugin_dirs = 1;
  config.threads = 1;
  brim_runtime* runtime = nullptr;
  must(brim_runtime_create(&config, &runtime, &error), error);
  double bandwidth = 0;
  must(brim_runtime_bandwidth(runtime, &bandwidth, &error), error);
  std::printf("memory is read at %.1f GB/s by one thread\n", bandwidth / 1e9);

  std::vector<Loaded> all(static_cast<size_t>(argc - 3));
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].path = argv[i + 3];
    must(brim_model_open(runtime, str(all[i].path), {}, &all[i].model, &error), error);
    all[i].probed = all[i].predicted(true);
  }
  for (Loaded& l : all) {
    l.generate();
    l.learned = l.predicted(false);
  }
  for (int round = 0; round < kRounds; ++round) {
    for (Loaded& l : all) l.measured.push_back(l.generate());
  }
  for (Loaded& l : all) {
    std::sort(l.measured.begin(), l.measured.end());
    const double median = l.measured[l.measured.size() / 2];
    std::printf("%s: measured %.2f tokens/s (%.2f to %.2f); from the probe %.2f, %+.1f %%; learned %.2f, %+.1f %%\n",
                l.path, median, l.measured.front(), l.measured.back(), l.probed, 100 * (l.probed / median - 1),
                l.learned, 100 * (l.learned / median - 1));
    brim_session_destroy(l.session);
    brim_model_close(l.model);
  }
  brim_runtime_destroy(runtime);
  brim_config_destroy(options);
  return 0;
}
