// A whole model on the Vulkan device, through the C ABI: the model that the repository ships, against the CPU backend.
#include <doctest/doctest.h>

#include <brim/brim.hpp>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../support/resident.hpp"

namespace {

enum class Where { kCpu, kVulkan, kSplit };

struct Options {
  Where where = Where::kVulkan;
  std::vector<std::pair<std::string, std::string>> settings;
};

// The first device of a plugin, in the runtime's report.
std::optional<uint32_t> device_of(const brim::Runtime& runtime, const char* plugin) {
  const auto devices = nlohmann::json::parse(runtime.report()).at("devices");
  for (uint32_t i = 0; i < devices.size(); ++i) {
    if (devices[i].at("plugin") == plugin) return i;
  }
  return std::nullopt;
}

std::optional<uint32_t> vulkan_device(const brim::Runtime& runtime) {
  const auto device = device_of(runtime, "brim.vulkan");
  if (!device) MESSAGE("skipped: no Vulkan driver, not even a software one");
  return device;
}

// Logits of a text: a prefill in two pieces, whose last rows give outputs, then single tokens beside a second sequence.
// Nothing where the device is not there. `grown`: by how many bytes that no file backs the process grew.
std::optional<std::vector<float>> logits(const Options& options, uint64_t* grown = nullptr) {
  brim::Config config;
  config.set("backend.vulkan.software", "true");
  config.set("plan.numerics", "strict");
  config.set("runtime.threads", "2");
  for (const auto& [key, value] : options.settings) config.set(key, value);
  auto settings = brim::sized<brim_runtime_config>();
  settings.config = config.get();
  brim::Runtime runtime(settings);
  const auto cpu = device_of(runtime, "brim.cpu"), vulkan = vulkan_device(runtime);
  REQUIRE(cpu);
  if (!vulkan) return std::nullopt;
  brim::Model model(runtime, BRIM_SOURCE_DIR "/samples/models/brim-austen.gguf");
  const uint32_t layers = model.info().n_layers;
  std::vector<brim_placement> placements;
  const auto place = [&](uint32_t device, uint32_t first, uint32_t n) {
    auto p = brim::sized<brim_placement>();
    p.device = device;
    p.first_layer = first;
    p.n_layers = n;
    placements.push_back(p);
  };
  switch (options.where) {
    case Where::kCpu:
      place(*cpu, 0, layers);
      break;
    case Where::kVulkan:
      place(*vulkan, 0, layers);
      break;
    default:
      place(*vulkan, 0, layers / 2);
      place(*cpu, layers / 2, layers - layers / 2);
  }
  auto request = brim::sized<brim_plan_request>();
  request.config = config.get();
  request.n_ctx = 320;  // more than attention takes in one split
  request.n_seqs = 2;
  request.placements = placements.data();
  request.n_placements = static_cast<uint32_t>(placements.size());
  request.placement_stride = sizeof(brim_placement);
  const uint64_t before = brim::test::resident();
  model.load(brim::Plan(model, request));
  brim::Session session(model);
  const uint32_t sequence = session.create_sequence();
  std::vector<int32_t> tokens = model.tokenize(
      "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a "
      "wife.",
      0);
  tokens.resize(25, 7);
  std::vector<float> all;
  const auto row = [](int32_t token, uint32_t in, bool wanted) {
    brim_row r{};
    r.token = token;
    r.sequence = in;
    r.outputs = wanted ? 1u << BRIM_OUTPUT_LOGITS : 0;
    return r;
  };
  const auto step = [&](const std::vector<brim_row>& rows) {
    session.step(rows);
    uint32_t n = 0;
    for (const brim_row& r : rows) {
      if (r.outputs == 0) continue;
      const auto out = session.output(BRIM_OUTPUT_LOGITS, n++);
      all.insert(all.end(), out.begin(), out.end());
    }
  };
  std::vector<brim_row> rows;
  for (size_t i = 0; i < 13; ++i) rows.push_back(row(tokens[i], sequence, i >= 11));
  step(rows);
  rows.clear();
  for (size_t i = 13; i < 20; ++i) rows.push_back(row(tokens[i], sequence, i == 19));
  step(rows);
  const uint32_t fork = session.fork(sequence);
  for (size_t i = 20; i < 23; ++i) step({row(tokens[i], sequence, true), row(tokens[44 - i], fork, true)});
  if (grown) *grown = brim::test::resident() - before;
  return all;
}

// Those of the whole model on the device, computed once.
const std::optional<std::vector<float>>& plain() {
  static const std::optional<std::vector<float>> all = logits({});
  return all;
}

double relative(const std::vector<float>& got, const std::vector<float>& wanted) {
  REQUIRE(got.size() == wanted.size());
  double off = 0, all = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    off += (double(got[i]) - wanted[i]) * (double(got[i]) - wanted[i]);
    all += double(wanted[i]) * wanted[i];
  }
  return std::sqrt(off / all);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("strict logits are the CPU backend's, whole and split over the two") {
  const auto& vulkan = plain();
  if (!vulkan) return;
  const auto cpu = logits({Where::kCpu, {}});
  const auto split = logits({Where::kSplit, {}});
  CHECK(relative(*vulkan, *cpu) < 1e-5);
  CHECK(relative(*split, *cpu) < 1e-5);
}

TEST_CASE("narrower KV states cost what they cost on the CPU") {
  const auto& exact = plain();
  if (!exact) return;
  const auto f16 = logits({Where::kVulkan, {{"plan.kv_dtype", "f16"}}});
  const auto q8 = logits({Where::kVulkan, {{"plan.kv_dtype", "q8_0"}}});
  CHECK(relative(*f16, *exact) < 2e-3);
  CHECK(relative(*q8, *exact) < 3e-2);
  CHECK(relative(*q8, *exact) > 0);
}

TEST_CASE("dot products of bytes cost what 8-bit activations cost, whatever runs first") {
  const auto& exact = plain();
  if (!exact) return;
  const auto fast = [](const char* dot, const char* reversed) {
    return logits({Where::kVulkan,
                   {{"plan.numerics", "fast"},
                    {"plan.kv_dtype", "f32"},
                    {"backend.vulkan.integer_dot", dot},
                    {"backend.vulkan.reversed", reversed}}});
  };
  const auto bytes = fast("true", "false");
  CHECK(relative(*bytes, *exact) < 6e-3);
  CHECK(relative(*bytes, *exact) > 0);
  CHECK(same_bits(*bytes, *fast("true", "true")));
  CHECK(same_bits(*exact, *fast("false", "false")));
}

TEST_CASE("what has no barrier between it gives the same bits in the reverse order") {
  const auto& forward = plain();
  if (!forward) return;
  const auto backward = logits({Where::kVulkan, {{"backend.vulkan.reversed", "true"}}});
  CHECK(same_bits(*forward, *backward));
}

TEST_CASE("weights that are read in place from the file give the same bits as copied ones") {
  const auto& mapped = plain();
  if (!mapped) return;
  uint64_t in_place = 0, read = 0;
  CHECK(same_bits(*mapped, *logits({Where::kVulkan, {}}, &in_place)));
  CHECK(same_bits(*mapped, *logits({Where::kVulkan, {{"load.io", "read"}}}, &read)));
  // Only copies are memory of the process's own.
  const uint64_t weights = std::filesystem::file_size(BRIM_SOURCE_DIR "/samples/models/brim-austen.gguf");
  INFO("grown by ", in_place, " and ", read, "; the file has ", weights);
  CHECK(read > in_place + weights / 4 * 3);
  CHECK(same_bits(*mapped, *logits({Where::kVulkan, {{"load.io", "direct"}}})));
}

TEST_CASE("a token costs one pass over the weights, and a dispatch for each thing that is computed") {
  struct Programs {
    std::mutex mutex;
    std::vector<std::string> lines;
  } programs;
  brim::Config config;
  config.set("backend.vulkan.software", "true");
  auto settings = brim::sized<brim_runtime_config>();
  settings.config = config.get();
  settings.log_level = BRIM_LOG_DEBUG;
  settings.user = &programs;
  settings.log = [](void* user, uint32_t, brim_str, brim_str message) {
    auto& p = *static_cast<Programs*>(user);
    const std::lock_guard lock(p.mutex);
    if (brim::view(message).starts_with("a program for 1 rows:")) p.lines.emplace_back(brim::view(message));
  };
  brim::Runtime runtime(settings);
  const auto vulkan = vulkan_device(runtime);
  if (!vulkan) return;
  auto place = brim::sized<brim_placement>();
  place.device = *vulkan;
  brim::Model model(runtime, BRIM_SOURCE_DIR "/samples/models/brim-austen.gguf");
  place.n_layers = model.info().n_layers;
  auto request = brim::sized<brim_plan_request>();
  request.placements = &place;
  request.n_placements = 1;
  request.placement_stride = sizeof place;
  const brim::Plan plan(model, request);
  uint64_t weights = 0;
  for (const brim_plan_pool& pool : plan.pools()) weights += pool.weights + pool.mapped;
  model.load(plan);
  REQUIRE(programs.lines.size() == 1);
  unsigned dispatches = 0, barriers = 0;
  unsigned long long arguments = 0, bound = 0;
  REQUIRE(
      std::sscanf(programs.lines[0].c_str(),
                  "a program for 1 rows: %u dispatches, %u barriers, %llu bytes of arguments, %llu bytes of weights",
                  &dispatches, &barriers, &arguments, &bound) == 4);
  // A llama layer: two norms, seven products, two rotations, two writes of KV, attention in two parts, a gate, two
  // sums.
  CHECK(dispatches <= 18 * place.n_layers + 4);
  CHECK(barriers < dispatches);
  CHECK(bound <= weights + weights / 20);
  CHECK(bound > weights / 10 * 9);
}
