// Predicted against measured decoding on this machine, one thread: every model's speed as plans predict it from the
// probe of the memory, and again from what was learned in one generation; then what generations in turns reach, the
// median.
//
//     predict_bench PLUGINS LEARNED MODEL...      LEARNED: a file that is written; an old one is left out first
#include <algorithm>
#include <brim/brim.hpp>
#include <cstdio>
#include <optional>
#include <vector>

namespace {

constexpr uint64_t kTokens = 17;  // the least that is learned from
constexpr int kRounds = 5;

struct Loaded {
  const char* path;
  brim::Model model;
  std::optional<brim::Session> session;
  double probed = 0, learned = 0;
  std::vector<double> measured;

  Loaded(const brim::Runtime& runtime, const char* file) : path(file), model(runtime, file) {
    const brim::Plan plan = planned();
    probed = plan.info().predicted_decode;
    model.load(plan);
    session.emplace(model);
  }

  brim::Plan planned() const {
    auto request = brim::sized<brim_plan_request>();
    request.n_ctx = 64;
    return brim::Plan(model, request);
  }

  // Tokens/s of one generation.
  double generate() {
    const int32_t start = 1;
    brim::Generation what;
    what.sequence = session->create_sequence();
    what.prompt = {&start, 1};
    what.max_tokens = kTokens;
    what.ignore_end = true;
    const brim::Generated result = session->generate(what);
    session->remove(what.sequence);
    return static_cast<double>(result.n_generated - 1) * 1e9 / static_cast<double>(result.decode_ns);
  }
};

void run(const char* folder, const char* learned, int n_models, char** models) {
  std::remove(learned);
  brim::Config options;
  options.set("runtime.learned", learned);
  const brim_str plugins = brim::str(folder);
  auto config = brim::sized<brim_runtime_config>();
  config.config = options.get();
  config.plugin_dirs = &plugins;
  config.n_plugin_dirs = 1;
  config.threads = 1;
  const brim::Runtime runtime(config);
  std::printf("memory is read at %.1f GB/s by one thread\n", runtime.bandwidth() / 1e9);

  std::vector<Loaded> all;
  for (int i = 0; i < n_models; ++i) all.emplace_back(runtime, models[i]);
  for (Loaded& l : all) {
    l.generate();
    l.learned = l.planned().info().predicted_decode;
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
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "predict_bench PLUGINS LEARNED MODEL...\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], argc - 3, argv + 3);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
