// What plans say of machines that are not here: one memory is counted once, what fits whole stays whole, what does not
// is split where that is fastest, and what fits nowhere is refused with its numbers.
#include "machines.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "../support/failure.hpp"

using namespace brim;
using namespace brim::negotiator;
using brim::test::contains;

namespace {

using Here = std::shared_ptr<Machine>;

Request with(uint32_t n_ctx) {
  Request r;
  r.n_ctx = n_ctx;
  return r;
}

std::shared_ptr<const Plan> plan_of(const Here& here, const char* shape, const Request& request) {
  const auto plan = make_plan(open_model(here, shape, ""), request);
  // Whatever is planned: no pool is promised more than it has.
  for (const PoolCharge& c : plan->pools) {
    REQUIRE(c.peak() <= here->topology.pools[c.pool].budget);
  }
  return plan;
}

uint32_t layers_on(const Plan& plan, uint32_t device) {
  return static_cast<uint32_t>(std::count(plan.item_device.begin() + 1, plan.item_device.end() - 1, device));
}

uint32_t layers_of(const Plan& plan) { return static_cast<uint32_t>(plan.item_device.size() - 2); }

Error refusal_of(const Here& here, const char* shape, const Request& request) {
  try {
    plan_of(here, shape, request);
  } catch (const Error& e) {
    return e;
  }
  return Error(BRIM_OK, "");
}

constexpr uint32_t kGpu = 0, kProcessor = 1;

}  // namespace

TEST_CASE("one pool of 128 GB holds 70B in Q4_K_M and 32B in BF16 whole on the GPU at 32k") {
  const Here here = test::spark();
  REQUIRE(here->topology.pools.size() == 1);
  struct Case {
    const char* shape;
    double decode;  // tokens/s that the fitted constants give
  };
  for (const Case& c :
       {Case{"llama-3-70b:q4_k_m", 4.7}, Case{"qwen2.5-32b:bf16", 3.5}, Case{"gpt-oss-120b:mxfp4", 57.7}}) {
    const auto plan = plan_of(here, c.shape, with(32768));
    INFO(std::string(c.shape));
    CHECK(layers_on(*plan, kGpu) == layers_of(*plan));
    CHECK(plan->pools.size() == 1);
    REQUIRE(plan->predicted.known);
    CHECK(std::abs(plan->predicted.decode / c.decode - 1) < 0.08);
    CHECK(plan->predicted.low < c.decode);
    CHECK(plan->predicted.high > c.decode);
    MESSAGE(fmt::format("{}: {:.1f} tokens/s ({:.1f} to {:.1f}), {:.1f} at a full context", c.shape,
                        plan->predicted.decode, plan->predicted.low, plan->predicted.high,
                        plan->predicted.decode_full));
  }
}

TEST_CASE("13B at 128k is refused with F16 KV, and fits with Q8 KV where that is allowed") {
  const Here here = test::spark();
  Request request = with(131072);
  const Error refused = refusal_of(here, "llama-2-13b:q4_k_m", request);
  CHECK(refused.code == BRIM_OUT_OF_MEMORY);
  CHECK(contains(refused.what(), "q8_0"));
  request.kv_least = BRIM_DTYPE_Q8_0;
  const auto lowered = plan_of(here, "llama-2-13b:q4_k_m", request);
  CHECK(lowered->request.kv_dtype == BRIM_DTYPE_Q8_0);
  CHECK(lowered->request.n_ctx == 131072);
  REQUIRE(!lowered->rejected.empty());
  CHECK(contains(lowered->rejected.front().what, "f16"));
  // Only as far as allowed: a context may be lowered too, and is not while KV suffices.
  request.kv_least = 0;
  request.ctx_least = 32768;
  const auto shorter = plan_of(here, "llama-2-13b:q4_k_m", request);
  CHECK(shorter->request.kv_dtype == BRIM_DTYPE_F16);
  CHECK(shorter->request.n_ctx == 65536);
}

TEST_CASE("405B is refused with what it wants and what there is") {
  const Here here = test::spark();
  const Error refused = refusal_of(here, "llama-3.1-405b:q4_k_m", with(8192));
  CHECK(refused.code == BRIM_OUT_OF_MEMORY);
  CHECK(refused.detail[1] > 243'062'000'000);
  CHECK(refused.detail[2] == here->topology.pools[0].budget);
  CHECK(contains(refused.what(), "smaller or more strongly quantised"));
}

TEST_CASE("24 GB hold 8B and 14B in Q4 whole, 70B is split with the processor") {
  const Here here = test::desktop();
  for (const char* shape : {"llama-3-8b:q4_k_m", "qwen2.5-14b:q4_k_m", "qwen3-14b:q4_k_m"}) {
    const auto plan = plan_of(here, shape, with(8192));
    INFO(std::string(shape));
    CHECK(layers_on(*plan, kGpu) == layers_of(*plan));
    CHECK(!plan->rejected.empty());  // the processor alone would have done too, slower
  }
  const auto plan = plan_of(here, "llama-3-70b:q4_k_m", with(8192));
  const uint32_t on_gpu = layers_on(*plan, kGpu);
  CHECK(on_gpu > 25);
  CHECK(on_gpu < 50);
  CHECK(on_gpu + layers_on(*plan, kProcessor) == 80);
  REQUIRE(plan->predicted.known);
  CHECK(plan->predicted.decode > 1);
  CHECK(plan->predicted.decode < 4);
  REQUIRE(!plan->rejected.empty());
  const auto gpu_alone = std::find_if(plan->rejected.begin(), plan->rejected.end(),
                                      [](const Rejected& r) { return contains(r.because, "does not fit"); });
  CHECK(gpu_alone != plan->rejected.end());
  MESSAGE(fmt::format("70B: {} of 80 layers on the GPU, {:.2f} tokens/s", on_gpu, plan->predicted.decode));
}

TEST_CASE("a mixture too large for the card keeps its experts in the host's memory and the rest on the card") {
  const Here here = test::desktop();
  const auto plan = plan_of(here, "gpt-oss-120b:mxfp4", with(8192));
  const auto apart = std::count(plan->apart.begin(), plan->apart.end(), true);
  CHECK(apart > 15);
  CHECK(plan->home == kProcessor);
  CHECK(layers_on(*plan, kGpu) == 36);
  // Experts that are apart are in the host's pool and nowhere else.
  for (const WeightPlan& w : plan->weights) {
    const auto& weight = plan->model->description->weights[w.weight];
    if (!(weight.flags & BRIM_TENSOR_EXPERTS)) continue;
    const uint32_t device = plan->devices[w.device].device;
    CHECK(device == (plan->apart[weight.layer + 1] ? kProcessor : kGpu));
  }
  MESSAGE(
      fmt::format("gpt-oss-120b: experts of {} of 36 layers apart, {:.1f} tokens/s", apart, plan->predicted.decode));
  // A host of half that memory cannot hold what the card does not: a refusal, no silent spill.
  CHECK(refusal_of(test::desktop(32 * test::kGiB), "gpt-oss-120b:mxfp4", with(8192)).code == BRIM_OUT_OF_MEMORY);
}

TEST_CASE("planning 126 layers on four devices, graphs and programs and all, takes seconds at the very most") {
  const Here here = test::described({256 * test::kGiB, 240 * test::kGiB, 90e9},
                                    {{"a", topology::Class::kDiscreteHmm, 96 * test::kGiB, 1792e9},
                                     {"b", topology::Class::kDiscreteHmm, 80 * test::kGiB, 1008e9},
                                     {"c", topology::Class::kDiscreteHmm, 48 * test::kGiB, 900e9}});
  Request request = with(131072);
  request.kv_least = BRIM_DTYPE_Q8_0;
  request.ctx_least = 8192;
  for (const char* when : {"cold", "again"}) {
    const std::clock_t begin = std::clock();
    const auto plan = plan_of(here, "llama-3.1-405b:q4_k_m", request);
    const double took = 1000.0 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    MESSAGE(fmt::format("{}: {:.0f} ms of processor time, {} rungs tried", when, took, plan->rejected.size()));
    CHECK(took < 20000);
  }
}

TEST_CASE("names of devices and pools decide nothing") {
  const Here here = test::desktop(), other = test::desktop();
  for (topology::Device& d : other->topology.devices) d.name = "RTX 9090 Super 512 GB";
  for (topology::Pool& p : other->topology.pools) p.name = "x";
  const auto a = plan_of(here, "llama-3-70b:q4_k_m", with(8192)), b = plan_of(other, "llama-3-70b:q4_k_m", with(8192));
  CHECK(a->item_device == b->item_device);
  CHECK(a->predicted.decode == b->predicted.decode);
}

TEST_CASE("the explanation has the members that programs rely on, and numbers for what was rejected") {
  const auto plan = plan_of(test::desktop(), "llama-3-70b:q4_k_m", with(8192));
  const auto said = nlohmann::json::parse(explain(*plan));
  CHECK(said["fits"] == true);
  for (const char* name : {"weights_bytes", "kv_bytes", "kv_bytes_per_token", "workspace_bytes"}) {
    CHECK(said[name].get<uint64_t>() > 0);
  }
  for (const char* name : {"decode_tps", "decode_low", "decode_high", "prefill_tps"}) {
    CHECK(said["predicted"][name].get<double>() > 0);
  }
  CHECK(said["predicted"]["provenance"] == "prior");
  CHECK(said["layers"].size() == 80);
  CHECK(said["layers"][79]["index"] == 79);
  REQUIRE(said["pools"].size() == 2);
  for (const auto& pool : said["pools"]) {
    CHECK(pool["planned_bytes"].get<uint64_t>() <= pool["budget_bytes"].get<uint64_t>());
    CHECK(pool["peak_bytes"].get<uint64_t>() >= pool["planned_bytes"].get<uint64_t>());
    CHECK(!pool["readings"].empty());
  }
  CHECK(said["reasons"].size() >= said["decisions"].size());
  REQUIRE(!said["rejected"].empty());
  for (const auto& r : said["rejected"]) CHECK(!r["because"].get<std::string>().empty());
  CHECK(said["next_rungs"].size() == 2);
}
