// Loading as a transaction, seen from outside: whatever memory is refused on the way, everything comes back and the
// next try loads; and what is resident afterwards, as the kernel counts it, is what the plan said.
#include <cmath>
#include <filesystem>

#include "host.hpp"

using namespace brim::test;

namespace {

nlohmann::json explained(const Plan& plan) { return nlohmann::json::parse(plan.explain()); }

// What is promised to loads, and what devices have left of memories of their own.
struct Books {
  uint64_t promised = 0, left = 0;
  explicit Books(const nlohmann::json& plan) {
    for (const auto& pool : plan["pools"]) {
      promised += pool["promised_bytes"].get<uint64_t>();
      if (pool["id"] != 0) left += pool["available"].get<uint64_t>();
    }
  }
  bool operator==(const Books&) const = default;
};

Failed try_load(const Model& model, const Plan& plan) {
  return call([&](brim_error* e) { return brim_model_load(model.get(), plan.get(), nullptr, e); });
}

struct Case {
  std::string name, path;
};

std::vector<Case> small_models() {
  std::vector<Case> all = {{"brim-austen", BRIM_SOURCE_DIR "/samples/models/brim-austen.gguf"}};
  const std::string stories = BRIM_SHARED_DIR "/models/stories260K.gguf";
  if (std::filesystem::exists(stories)) {
    all.push_back({"stories260K", stories});
  } else {
    MESSAGE("skipped: no " << stories);
  }
  return all;
}

// Loads with the n-th buffer of the device refused, for every n there is.
template <class F>
void with_each_buffer_refused(const brim_plan_request& asked, const F& check) {
  SmallModel small;
  small.q8_0 = true;
  const File file(small);
  uint64_t refused = 0;
  for (uint64_t n = 1;; ++n) {
    CAPTURE(n);
    REQUIRE(n < 200);
    std::shared_ptr<Misuse> misuse;
    bool through = false;
    {
      const Runtime runtime(1, true, {{"backend.test.async.starve_at", std::to_string(n)}});
      misuse = runtime.misuse;
      Model model(runtime, file.path);
      brim_plan_request r = asked;
      const brim_placement placement = {sizeof(brim_placement), runtime.device("test.async"), 0, n % 2 ? 2u : 1u};
      r.placements = &placement;
      r.n_placements = 1;
      r.placement_stride = sizeof(placement);
      through = check(model, r);
      if (!through) ++refused;
      Session session(model);
      session.create();
      CHECK(session.run(prompt(10, 1)).size() == 10);
    }
    CHECK(misuse->said() == "");
    if (through) break;
  }
  CHECK(refused > 5);
}

brim_plan_request small_request() {
  brim_plan_request r = request(64, 2);
  r.kv_dtype = BRIM_DTYPE_F32;
  return r;
}

}  // namespace

TEST_CASE("whichever buffer a device refuses, all comes back, books and promises too, and the next try loads") {
  with_each_buffer_refused(small_request(), [](Model& model, const brim_plan_request& r) {
    const Plan plan(model.get(), r);
    const Books before(explained(plan));
    const Failed failed = try_load(model, plan);
    if (!failed.code) return true;
    CHECK(failed.code == BRIM_OUT_OF_MEMORY);
    CHECK(failed.message.find("async fake") != std::string::npos);
    const Plan again(model.get(), r);
    CHECK(Books(explained(again)) == before);
    CHECK(try_load(model, again).code == BRIM_OK);
    return false;
  });
}

TEST_CASE("whichever buffer a device refuses, the next rung that the request allows is loaded") {
  brim_config* config = nullptr;
  must([&](brim_error* e) { return brim_config_create(&config, e); });
  must([&](brim_error* e) { return brim_config_set(config, str("plan.kv_least"), str("f16"), e); });
  brim_plan_request asked = small_request();
  asked.config = config;
  with_each_buffer_refused(asked, [](Model& model, const brim_plan_request& r) {
    const Plan plan(model.get(), r);
    CHECK(plan.info().kv_dtype == BRIM_DTYPE_F32);
    CHECK(try_load(model, plan).code == BRIM_OK);
    brim_plan* handle = nullptr;
    must([&](brim_error* e) { return brim_model_get_plan(model.get(), &handle, e); });
    const Plan loaded(handle);
    if (loaded.info().kv_dtype == BRIM_DTYPE_F32) return true;
    CHECK(loaded.info().kv_dtype == BRIM_DTYPE_F16);
    const std::string why = explained(loaded)["rejected"][0].dump();
    CHECK(why.find("with f32 KV") != std::string::npos);
    CHECK(why.find("could not be loaded: async fake: allocating memory") != std::string::npos);
    return false;
  });
  brim_config_destroy(config);
}

TEST_CASE("what is resident after loading, with every token of the context used, is what the plan says") {
  for (const Case& c : small_models()) {
    CAPTURE(c.name);
    const Runtime runtime(1);
    Model model(runtime, c.path);
    brim_plan_request r = request(0, 8);
    r.load = BRIM_LOAD_READ;
    r.kv_dtype = BRIM_DTYPE_F32;
    uint64_t planned = 0, weights = 0;
    const uint64_t before = resident(), before_files = resident("RssFile");
    {
      const Plan plan(model.get(), r);
      r.n_ctx = plan.info().n_ctx;
      for (const brim_plan_pool& pool : plan.pools()) planned += pool.total, weights += pool.weights;
      REQUIRE(try_load(model, plan).code == BRIM_OK);
    }
    const uint64_t loaded_files = resident("RssFile");
    {
      // Programs of every size, with outputs; then every token of the context.
      Session session(model);
      for (uint32_t s = 0; s < r.n_seqs; ++s) session.create();
      for (uint32_t n = 1; n <= std::min(512u, r.n_ctx); n *= 2) {
        session.run(prompt(n, n));
        session.trim(0, 0);
      }
      for (uint32_t s = 0; s < r.n_seqs; ++s) session.run(rows(prompt(r.n_ctx, s + 1), s, false));
    }
    const uint64_t held = resident() - before;
    MESSAGE(c.name << ": planned " << planned << " bytes, resident " << held);
    CHECK(held <= planned + planned / 32 + (2u << 20));
    CHECK(held >= planned / 10 * 9);
    // Reading weights maps none of them.
    CHECK(loaded_files - before_files < weights / 4);
    model.unload();
    Model(runtime, c.path).load(r);  // the allocator gives back what it kept when it is asked again
    CHECK(resident() < before + (3u << 20));
  }
}
