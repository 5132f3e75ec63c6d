#include <base/error.hpp>
#include <bit>
#include <negotiator/chain.hpp>
#include <negotiator/ladder.hpp>
#include <negotiator/stages.hpp>

namespace brim::negotiator {

const Variant& Plan::variant(uint32_t phase, bool embeddings) const {
  for (const Variant& v : variants) {
    if (v.phase == phase && v.embeddings == embeddings) return v;
  }
  fail(BRIM_FAILED_PRECONDITION, "the plan has no rows given as embeddings; ask for them in brim_plan_request.inputs");
}

brim_bucket Plan::bucket(uint32_t n_tokens, uint32_t n_kv) const {
  size_t i = 0;
  while (i + 1 < buckets.size() && buckets[i].n_tokens < n_tokens) ++i;
  brim_bucket b = buckets[i];
  if (!any_kv) b.n_kv = std::min(b.n_kv, std::max(256u, std::bit_ceil(n_kv)));
  return b;
}

bool Plan::staged(const WeightPlan& weight) const {
  if (weight.residence != Residence::kCopied) return weight.residence == Residence::kPacked;
  const DevicePlan& d = devices[weight.device];
  return d.direct || !(device(weight.device).heaps[d.local_heap].info.flags & BRIM_HEAP_HOST_VISIBLE);
}

namespace {

// What the exact sums took beyond the estimate that devices were chosen by, per pool.
std::vector<int64_t> shortfall(const Plan& plan) {
  std::vector<int64_t> correction(plan.model->machine->topology.pools.size());
  for (const PoolCharge& c : plan.pools) {
    const uint64_t estimated = c.pool < plan.estimated.size() ? plan.estimated[c.pool] : 0;
    correction[c.pool] = static_cast<int64_t>(c.peak()) - static_cast<int64_t>(estimated);
  }
  return correction;
}

// Devices are chosen by estimates. Where the exact sums then do not fit, what the estimates lacked is known, and the
// choice is made again with it: programs and staging depend little on which layers a device has.
std::shared_ptr<Plan> plan_at_once(const std::shared_ptr<const OpenModel>& model, const Request& request) {
  constexpr int kTries = 4;
  std::vector<int64_t> correction;
  for (int attempt = 1;; ++attempt) {
    auto plan = std::make_shared<Plan>();
    plan->model = model;
    plan->request = request;
    plan->correction = correction;
    resolve_defaults(*plan);
    place_nodes(*plan);
    place_bytes(*plan);
    measure_programs(*plan);
    try {
      charge_pools(*plan);
      plan->predicted = predict(*plan);
      plan->next_rungs = next_rungs(*plan);
      return plan;
    } catch (const Error& e) {
      const bool choice = model->machine->topology.devices.size() > 1 && request.placements.empty();
      if (e.code != BRIM_OUT_OF_MEMORY || !choice || plan->estimated.empty() || attempt == kTries) throw;
      correction = shortfall(*plan);
    }
  }
}

std::string rung_name(const Request& filled) {
  return fmt::format("a context of {} with {} KV", filled.n_ctx, brim_dtype_name(filled.kv_dtype));
}

// The first rung from `now` down that fits; throws what the last one threw.
std::shared_ptr<const Plan> descend(const std::shared_ptr<const OpenModel>& model, const Request& asked, Request now,
                                    std::vector<Rejected> rejected) {
  topology::refresh(model->machine->topology);
  for (;;) {
    try {
      auto plan = plan_at_once(model, now);
      plan->asked = asked;
      plan->rejected.insert(plan->rejected.begin(), rejected.begin(), rejected.end());
      return plan;
    } catch (const Error& e) {
      if (e.code != BRIM_OUT_OF_MEMORY) throw;
      Plan filled;
      filled.model = model;
      filled.request = now;
      resolve_defaults(filled);
      auto next = next_lower(asked, filled.request);
      if (!next) throw;
      rejected.push_back({rung_name(filled.request), fmt::format("does not fit: {} are wanted, {} can be used",
                                                                 bytes_text(e.detail[1]), bytes_text(e.detail[2]))});
      now = *next;
    }
  }
}

}  // namespace

const char* mix_name(Mix mix) {
  static constexpr const char* kNames[] = {"chat", "agent", "batch"};
  return kNames[static_cast<int>(mix)];
}

std::shared_ptr<const Plan> make_plan(std::shared_ptr<const OpenModel> model, const Request& request) {
  return descend(model, request, request, {});
}

std::shared_ptr<const Plan> next_plan(const Plan& plan, const Error& refused) {
  const auto next = next_lower(plan.asked, plan.request);
  if (!next) return nullptr;
  try {
    return descend(plan.model, plan.asked, *next,
                   {{rung_name(plan.request), fmt::format("could not be loaded: {}", refused.what())}});
  } catch (const Error& e) {
    if (e.code != BRIM_OUT_OF_MEMORY) throw;
    return nullptr;
  }
}

}  // namespace brim::negotiator
