#include <algorithm>
#include <base/direct_file.hpp>
#include <base/error.hpp>
#include <graph/program_info.hpp>
#include <map>
#include <negotiator/stages.hpp>

namespace brim::negotiator {
namespace {

constexpr uint32_t kLoadingSlots = 4;  // pieces that may be under way at once

std::vector<brim_program_state> states_without_buffers(const Plan& plan, uint32_t device) {
  std::vector<brim_program_state> states;
  for (uint32_t i = 0; i < plan.states.size(); ++i) {
    const StatePlan& s = plan.states[i];
    if (s.device != device) continue;
    states.push_back({sizeof(brim_program_state), i, s.dtype, s.group, s.layout.layout_id, nullptr, 0, s.n_blocks, 0});
  }
  return states;
}

// Binds sizes and layouts only.
void bind_sizes(const Plan& plan, const Variant& v, const graph::Segment& segment, const brim_bucket& bucket,
                graph::ProgramInfo& info) {
  const uint64_t max_binding = plan.device(segment.device).info.max_binding;
  for (const brim_value value : graph::touched(*v.graph, segment)) {
    const brim_value_desc& desc = v.graph->value(value);
    if (desc.kind != BRIM_VALUE_WEIGHT) {
      info.bind(value, nullptr, 0, graph::value_bytes(desc, bucket));
      continue;
    }
    const WeightPlan& w = *std::find_if(plan.weights.begin(), plan.weights.end(), [&](const WeightPlan& p) {
      return p.weight == desc.role && p.device == segment.device;
    });
    if (w.residence == Residence::kPacked) {
      info.bind(value, nullptr, 0, w.bytes, w.layout_id);
    } else {
      info.bind_in_pieces(value, nullptr, 0, graph::value_bytes(desc, bucket), desc.dim[0].k, max_binding);
    }
  }
}

brim_program_cost cost_of(const Plan& plan, const Variant& v, const graph::Segment& segment,
                          const graph::StepLayout& step, const std::vector<brim_program_state>& states) {
  graph::ProgramInfo info(*v.graph, segment, step, plan.request.numerics, plan.model->description->states, states);
  bind_sizes(plan, v, segment, step.bucket(), info);
  const topology::Device& d = plan.device(segment.device);
  brim_program_cost cost{};
  cost.struct_size = sizeof(cost);
  brim_error error = empty_error();
  check(d.backend->api.program_measure(d.handle.get(), &info.view(), &cost, &error), error,
        fmt::format("{}: measuring a program", d.name));
  return cost;
}

// A processor reads and writes a device's host-visible memory as its own where both are one physical memory. A card's
// pinned memory is the host's: the card would cross its bus at every access, so what crosses is copied.
graph::Reach reach_of(const Plan& plan) {
  const auto n = static_cast<uint32_t>(plan.devices.size());
  graph::Reach reach(n);
  constexpr uint32_t kWanted = BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_COHERENT | BRIM_HEAP_HOST_CACHED;
  for (uint32_t d = 0; d < n; ++d) {
    const topology::Device& device = plan.device(d);
    const topology::Heap& local = device.heaps[plan.devices[d].local_heap];
    const bool imports = device.backend->api.buffer_import && (local.info.flags & BRIM_HEAP_IMPORT_HOST);
    if (device.info.type != BRIM_DEVICE_CPU || !(device.info.flags & BRIM_DEVICE_SYNCHRONOUS) || !imports) continue;
    for (uint32_t o = 0; o < n; ++o) {
      const topology::Heap& host = plan.device(o).heaps[plan.devices[o].host_heap];
      const uint32_t pool = plan.device(o).heaps[plan.devices[o].local_heap].pool;
      const bool native =
          plan.model->machine->topology.link(plan.devices[d].device, pool).edge.coherent == BRIM_EDGE_NATIVE;
      if (host.pool == pool && native && (host.info.flags & kWanted) == kWanted) reach.set(d, o);
    }
  }
  return reach;
}

// Weights that must go through the host's memory to reach the device come in pieces of whole rows; while one is under
// way to a device that works by itself, the next is read.
void size_loading(Plan& plan, uint32_t device) {
  DevicePlan& d = plan.devices[device];
  uint64_t largest = 0, pieces = 0;
  for (const WeightPlan& w : plan.weights) {
    if (w.device != device || !plan.staged(w)) continue;
    const model::Tensor& tensor = *plan.model->description->weights[w.weight].tensor;
    const uint64_t rows = tensor.shape.extents[0], row_bytes = tensor.bytes / rows;
    const uint64_t per_piece = rows_of_piece(row_bytes);
    largest = std::max(largest, std::min(per_piece, rows) * row_bytes);
    pieces += (rows + per_piece - 1) / per_piece;
  }
  if (pieces == 0) return;
  const bool overlaps = !(plan.device(device).info.flags & BRIM_DEVICE_SYNCHRONOUS);
  const uint64_t slot = d.direct ? DirectFile::window_bytes(largest) : largest;
  d.loading_slots = static_cast<uint32_t>(std::min<uint64_t>(overlaps ? kLoadingSlots : 1, pieces));
  d.loading_bytes = d.loading_slots * align_weight(slot);
}

// Writes down how values get from one device to another.
void explain_crossings(Plan& plan) {
  const Variant& v = plan.variants.back();
  std::map<std::pair<uint32_t, uint32_t>, std::pair<uint32_t, uint32_t>> counts;  // (from, to) -> in place, copied
  for (const graph::Segment& segment : v.segments) {
    for (const graph::Transfer& t : segment.transfers) {
      auto& [shared, copied] = counts[{t.from, t.to}];
      ++(graph::in_place(v.memory, t) ? shared : copied);
    }
  }
  for (const auto& [pair, count] : counts) {
    const std::string what =
        fmt::format("values from {} to {}", plan.device(pair.first).name, plan.device(pair.second).name);
    if (count.first) {
      plan.decisions.push_back({what, fmt::format("{} in place", count.first), "both compute in one memory"});
    }
    if (count.second) {
      plan.decisions.push_back({what, fmt::format("{} copied each step", count.second),
                                "they do not compute in one memory: it goes through the host's"});
    }
  }
}

}  // namespace

void measure_programs(Plan& plan) {
  std::vector<graph::GroupShape> groups;
  for (const GroupPlan& g : plan.groups) groups.push_back(g.shape());
  const graph::StepLayout largest(plan.buckets.back(), groups);
  const auto n_devices = static_cast<uint32_t>(plan.devices.size());
  std::vector<uint64_t> programs(n_devices), count(n_devices), biggest(n_devices);

  for (DevicePlan& d : plan.devices) {
    d.step_bytes = largest.bytes();
    if (!(plan.model->machine->topology.devices[d.device].info.flags & BRIM_DEVICE_ANY_KV)) plan.any_kv = false;
  }
  const graph::Reach reach = reach_of(plan);
  const graph::Graph* measured = nullptr;
  for (Variant& v : plan.variants) {
    v.memory = graph::plan_memory(*v.graph, v.segments, plan.buckets.back(), reach);
    for (uint32_t i = 0; i < n_devices; ++i) {
      plan.devices[i].arena_bytes = std::max(plan.devices[i].arena_bytes, v.memory[i].arena_bytes);
      plan.devices[i].outputs_bytes = std::max(plan.devices[i].outputs_bytes, v.memory[i].outputs_bytes);
    }
    for (const graph::Segment& segment : v.segments) {
      DevicePlan& d = plan.devices[segment.device];
      // What is copied goes through the host's memory on each side that the host does not see.
      for (const graph::Transfer& t : segment.transfers) {
        if (graph::in_place(v.memory, t)) continue;
        const uint64_t bytes = graph::value_bytes(v.graph->value(t.value), plan.buckets.back());
        for (const uint32_t side : {t.from, t.to}) {
          DevicePlan& s = plan.devices[side];
          const auto& heap = plan.device(side).heaps[s.local_heap].info;
          if (!(heap.flags & BRIM_HEAP_HOST_VISIBLE)) s.staging_bytes = std::max(s.staging_bytes, bytes);
        }
      }
      for (const brim_value value : graph::touched(*v.graph, segment)) {
        const brim_value_desc& desc = v.graph->value(value);
        if (desc.kind == BRIM_VALUE_INPUT) d.embedding_bytes = graph::value_bytes(desc, plan.buckets.back());
      }
    }
    if (v.graph.get() == measured) continue;
    measured = v.graph.get();
    for (const graph::Segment& segment : v.segments) {
      const auto states = states_without_buffers(plan, segment.device);
      DevicePlan& d = plan.devices[segment.device];
      for (const brim_bucket& bucket : plan.buckets) {
        const graph::StepLayout step(bucket, groups);
        const brim_program_cost cost = cost_of(plan, v, segment, step, states);
        d.workspace_bytes = std::max(d.workspace_bytes, cost.workspace);
        programs[segment.device] += cost.persistent;
        ++count[segment.device];
        biggest[segment.device] = std::max(biggest[segment.device], cost.persistent);
      }
    }
  }
  for (uint32_t i = 0; i < n_devices; ++i) {
    // Where programs depend on the visible context there are more of them than are kept.
    const bool all_kept = plan.any_kv && count[i] <= kProgramsKept;
    plan.devices[i].programs_bytes = all_kept ? programs[i] : biggest[i] * kProgramsKept;
    size_loading(plan, i);
  }
  explain_crossings(plan);
}

}  // namespace brim::negotiator
