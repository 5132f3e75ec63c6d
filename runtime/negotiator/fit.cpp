#include <algorithm>
#include <base/error.hpp>
#include <negotiator/chain.hpp>
#include <negotiator/stages.hpp>

namespace brim::negotiator {
namespace {

// The largest multiple of 256 tokens whose states fit into `room` bytes; 0 if none does.
uint32_t context_that_fits(const Plan& plan, uint64_t room, uint32_t kv_dtype) {
  uint32_t low = 0, high = plan.request.n_ctx / 256;
  while (low < high) {
    const uint32_t middle = low + (high - low + 1) / 2;
    if (state_bytes(plan, middle * 256, kv_dtype) <= room) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low * 256;
}

// What would fit, in words.
std::string remedies(const Plan& plan, const PoolCharge& charge, uint64_t room) {
  const Request& r = plan.request;
  std::string text;
  const auto offer = [&](std::string option) { text += (text.empty() ? "" : ", or ") + option; };
  const uint64_t besides = charge.peak() - charge.kv;
  if (besides < room) {
    const uint64_t left = room - besides;
    if (const uint32_t n = context_that_fits(plan, left, r.kv_dtype)) {
      offer(fmt::format("a context of {} tokens", n));
    }
    for (const uint32_t dtype : {BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0}) {
      if (brim_dtype_row_bytes(dtype, 32) >= brim_dtype_row_bytes(r.kv_dtype, 32)) continue;
      if (state_bytes(plan, r.n_ctx, dtype) <= left) {
        offer(fmt::format("kv_dtype {}", brim_dtype_name(dtype)));
        break;
      }
    }
    if (r.n_seqs > 1) offer("fewer sequences");
  }
  if (text.empty()) text = "a smaller or more strongly quantised model, or more memory";
  return text;
}

// A heap may give smaller buffers than it has memory.
void check_buffers(const Plan& plan) {
  for (uint32_t i = 0; i < plan.devices.size(); ++i) {
    const DevicePlan& d = plan.devices[i];
    const auto check = [&](const char* what, uint64_t bytes, uint32_t heap) {
      const uint64_t most = plan.device(i).heaps[heap].info.max_alloc;
      if (bytes <= most) return;
      throw Error(BRIM_OUT_OF_MEMORY,
                  fmt::format("{}: {} wants one buffer of {}, and the device gives at most {} at once: a shorter "
                              "context, fewer sequences, a smaller batch or smaller KV would do",
                              plan.device(i).name, what, bytes_text(bytes), bytes_text(most)),
                  {plan.device(i).heaps[heap].pool, bytes, most, 0});
    };
    check("the arena", d.arena_bytes, d.local_heap);
    check("the workspace", d.workspace_bytes, d.local_heap);
    check("the output", d.outputs_bytes, d.host_heap);
    check("the input of embeddings", d.embedding_bytes, d.host_heap);
    check("the step block", d.step_bytes, d.host_heap);
    check("the staging buffer", std::max(d.staging_bytes, d.loading_bytes), d.host_heap);
    for (const StatePlan& s : plan.states) {
      if (s.device == i) check("the KV of a layer", s.bytes, d.local_heap);
    }
    for (const WeightPlan& w : plan.weights) {
      if (w.device == i && w.residence != Residence::kMapped) check("a weight", w.bytes, d.local_heap);
    }
  }
}

}  // namespace

uint64_t room_of(const Plan& plan, uint32_t index) {
  const topology::Pool& pool = plan.model->machine->topology.pools[index];
  const uint64_t promised = plan.model->machine->ledger->promised(pool.id);
  uint64_t room = pool.budget > promised ? pool.budget - promised : 0;
  for (const PoolLimit& limit : plan.request.limits) {
    if (limit.pool == index) room = std::min(room, limit.bytes);
  }
  return room;
}

std::string bytes_text(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) value /= 1000, ++unit;
  if (unit == 0) return fmt::format("{} bytes", bytes);
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : value < 100 ? 1 : 0, kUnits[unit]);
}

void charge_pools(Plan& plan) {
  const auto& topology = plan.model->machine->topology;
  const auto charge = [&](uint32_t device, uint32_t heap) -> PoolCharge& {
    const uint32_t pool = plan.device(device).heaps[heap].pool;
    for (PoolCharge& c : plan.pools) {
      if (c.pool == pool) return c;
    }
    PoolCharge c;
    c.pool = pool;
    c.available = topology.pools[pool].available;
    c.room = room_of(plan, pool);
    c.promised = plan.model->machine->ledger->promised(topology.pools[pool].id);
    c.reserve = topology.pools[pool].reserve;
    c.floor = topology.pools[pool].floor;
    c.readings = topology.pools[pool].readings;
    c.binding = topology.pools[pool].binding;
    return plan.pools.emplace_back(c);
  };
  for (const WeightPlan& w : plan.weights) {
    PoolCharge& c = charge(w.device, plan.devices[w.device].local_heap);
    (w.residence == Residence::kMapped ? c.mapped : c.weights) += w.bytes;
  }
  for (const StatePlan& s : plan.states) charge(s.device, plan.devices[s.device].local_heap).kv += s.bytes;
  for (uint32_t i = 0; i < plan.devices.size(); ++i) {
    const DevicePlan& d = plan.devices[i];
    PoolCharge& local = charge(i, d.local_heap);
    local.activations += d.arena_bytes;
    local.workspace += d.workspace_bytes + d.programs_bytes;
    PoolCharge& host = charge(i, d.host_heap);
    host.activations += d.outputs_bytes + d.embedding_bytes;
    host.step += d.step_bytes + d.staging_bytes;
    host.loading += d.loading_bytes;
  }

  for (const PoolCharge& c : plan.pools) {
    const topology::Pool& pool = topology.pools[c.pool];
    const uint64_t room = c.room, wanted = c.peak();
    const std::string sum =
        fmt::format("{} of {}: weights {}, KV {}, activations {}, workspace {}, step {}", bytes_text(wanted), pool.name,
                    bytes_text(c.weights + c.mapped), bytes_text(c.kv), bytes_text(c.activations),
                    bytes_text(c.workspace), bytes_text(c.step + c.loading));
    if (wanted <= room) {
      plan.decisions.push_back({"fit", sum,
                                fmt::format("{} are available, {} of them stay free for others",
                                            bytes_text(c.available), bytes_text(pool.reserve))});
      continue;
    }
    if (plan.request.unsafe_overcommit) {
      plan.decisions.push_back(
          {"fit", sum, fmt::format("more than the {} there are: forced by unsafe_overcommit", bytes_text(room))});
      continue;
    }
    throw Error(
        BRIM_OUT_OF_MEMORY,
        fmt::format(
            "a context of {} tokens for {} sequence(s) with {} KV needs {}; {} can be used (by the reading \"{}\" {} "
            "are "
            "free; the rest is kept free, limited or promised to others). What would fit: {}. unsafe_overcommit forces "
            "it",
            plan.request.n_ctx, plan.request.n_seqs, brim_dtype_name(plan.request.kv_dtype), sum, bytes_text(room),
            c.binding == topology::kNoReading ? "none" : c.readings[c.binding].name, bytes_text(c.available),
            remedies(plan, c, room)),
        {c.pool, wanted, room, 0});
  }
  if (!plan.request.unsafe_overcommit) check_buffers(plan);
}

}  // namespace brim::negotiator
