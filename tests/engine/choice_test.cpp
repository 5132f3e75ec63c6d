// The choice of devices, measured and not predicted: of all ways to cut a model over a processor and an accelerator
// that fit a limit on the processor's memory, the one that the negotiator takes is the fastest, within noise. Speeds of
// both devices were learned before, each from one generation; the accelerator (tests/fakes_async) is the slower one.
#include <algorithm>
#include <chrono>
#include <optional>

#include "../support/temp_folder.hpp"
#include "host.hpp"

using namespace brim::test;

namespace {

constexpr uint32_t kLayers = 8;
constexpr uint64_t kGenerated = 18;  // the least that is learned from, and one

SmallModel small_model() {
  SmallModel m;
  m.layers = kLayers;
  m.width = 256;
  m.ff = 512;
  return m;
}

struct Bed {
  File file{small_model()};
  TempFolder folder;
  Runtime runtime{1,
                  true,
                  {{"runtime.learned", folder / "learned"},
                   {"backend.test.async.delay_us", "0"},
                   {"backend.test.async.budget", std::to_string(1ull << 30)},
                   {"backend.test.async.max_alloc", std::to_string(64ull << 20)}}};
  Model model{runtime, file.path};
  uint32_t cpu = runtime.device("brim.cpu"), fake = runtime.device("test.async");

  brim_plan_request request(const std::vector<brim_placement>& placements, const brim_pool_limit* limit) const {
    brim_plan_request r = strict(128);
    r.n_batch = 16;
    r.placements = placements.data();
    r.n_placements = static_cast<uint32_t>(placements.size());
    r.placement_stride = sizeof(brim_placement);
    r.limits = limit;
    r.n_limits = limit ? 1 : 0;
    r.limit_stride = sizeof(brim_pool_limit);
    return r;
  }

  // Tokens/s of a generation, the best of two; the first teaches.
  double speed(const brim_plan_request& r) {
    model.load(r);
    double best = 0;
    for (int i = 0; i < 2; ++i) {
      Session session(model);
      brim_generate_info info{};
      info.struct_size = sizeof(info);
      info.sequence = session.create();
      const int32_t start = 1;
      info.prompt = &start;
      info.n_prompt = 1;
      info.max_tokens = kGenerated;
      info.ignore_end = 1;
      brim_generate_result result{};
      result.struct_size = sizeof(result);
      must([&](brim_error* e) { return brim_generate(session.get(), &info, &result, e); });
      best = std::max(best, static_cast<double>(result.n_generated - 1) * 1e9 / static_cast<double>(result.decode_ns));
    }
    model.unload();
    return best;
  }

  // Bytes of system memory that the plan takes at most.
  uint64_t system_bytes(const brim_plan_request& r) const {
    const auto plan = nlohmann::json::parse(Plan(model.get(), r).explain());
    for (const auto& pool : plan["pools"]) {
      if (pool["id"] == 0) return pool["peak_bytes"];
    }
    return 0;
  }
};

}  // namespace

TEST_CASE("the plan that is chosen is the fastest of all that fit") {
  Bed bed;
  const auto all_on = [&](uint32_t device) {
    return std::vector<brim_placement>{{sizeof(brim_placement), device, 0, kLayers}};
  };
  const auto on_cpu = all_on(bed.cpu), on_fake = all_on(bed.fake);
  const uint64_t most = bed.system_bytes(bed.request(on_cpu, nullptr)),
                 least = bed.system_bytes(bed.request(on_fake, nullptr));
  REQUIRE(most > least);
  bed.speed(bed.request(on_cpu, nullptr));
  bed.speed(bed.request(on_fake, nullptr));

  const brim_pool_limit limit = {sizeof(brim_pool_limit), 0, least + (most - least) / 2};
  std::vector<std::vector<brim_placement>> ways;  // that fit
  for (uint32_t n = 0; n <= kLayers; ++n) {
    for (const bool fake_first : {false, true}) {
      if ((n == 0 || n == kLayers) && fake_first) continue;
      std::vector<brim_placement> way;
      const uint32_t first = fake_first ? bed.fake : bed.cpu, last = fake_first ? bed.cpu : bed.fake;
      if (n > 0) way.push_back({sizeof(brim_placement), first, 0, n});
      if (n < kLayers) way.push_back({sizeof(brim_placement), last, n, kLayers - n});
      const brim_plan_request r = bed.request(way, &limit);
      brim_plan* plan = nullptr;
      const Failed f = call([&](brim_error* e) { return brim_plan_create(bed.model.get(), &r, &plan, e); });
      brim_plan_destroy(plan);
      if (f.code) {
        CHECK(f.code == BRIM_OUT_OF_MEMORY);
      } else {
        ways.push_back(way);
      }
    }
  }
  REQUIRE(ways.size() >= 3);
  // In turns, the best of each: other programs disturb some.
  std::vector<double> tps(ways.size() + 1);
  for (int turn = 0; turn < 2; ++turn) {
    for (size_t i = 0; i < tps.size(); ++i) {
      tps[i] =
          std::max(tps[i], bed.speed(bed.request(i < ways.size() ? ways[i] : std::vector<brim_placement>{}, &limit)));
    }
  }
  std::string table;
  for (size_t i = 0; i < ways.size(); ++i) {
    for (const brim_placement& p : ways[i]) {
      table += std::to_string(p.n_layers) + (p.device == bed.fake ? " slow " : " fast ");
    }
    table += std::to_string(tps[i]) + "; ";
  }
  CAPTURE(table);
  CHECK(tps.back() > 0.75 * *std::max_element(tps.begin(), tps.end() - 1));
  CHECK(tps.back() > 1.05 * *std::min_element(tps.begin(), tps.end() - 1));
}
