#include <base/error.hpp>
#include <bit>
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

std::shared_ptr<const Plan> make_plan(std::shared_ptr<const OpenModel> model, const Request& request) {
  auto plan = std::make_shared<Plan>();
  plan->model = std::move(model);
  plan->request = request;
  topology::refresh(plan->model->machine->topology);
  resolve_defaults(*plan);
  place_nodes(*plan);
  place_bytes(*plan);
  measure_programs(*plan);
  charge_pools(*plan);
  return plan;
}

}  // namespace brim::negotiator
