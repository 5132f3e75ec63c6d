#include <negotiator/reserve.hpp>

namespace brim::negotiator {

Ledger::Promise reserve(const Plan& plan) {
  topology::Topology& topology = plan.model->machine->topology;
  std::vector<Entry> wanted;
  for (const PoolCharge& c : plan.pools) wanted.push_back({topology.pools[c.pool].id, c.peak()});
  return plan.model->machine->ledger->promise(std::move(wanted), [&](const LedgerPool& id) {
    if (plan.request.unsafe_overcommit) return UINT64_MAX;
    topology::refresh(topology);
    for (const topology::Pool& pool : topology.pools) {
      if (pool.id == id) return pool.budget;
    }
    return uint64_t{0};
  });
}

std::vector<Entry> untouched(const Plan& plan) {
  std::vector<Entry> left;
  for (const PoolCharge& c : plan.pools) {
    const topology::Pool& pool = plan.model->machine->topology.pools[c.pool];
    if (pool.id[0] != BRIM_POOL_SYSTEM) continue;
    const bool unseen =
        c.binding != topology::kNoReading && topology::counts_no_device_memory(pool.rules, c.readings[c.binding].kind);
    left.push_back({pool.id, c.planned() - (unseen ? 0 : c.weights)});
  }
  return left;
}

}  // namespace brim::negotiator
