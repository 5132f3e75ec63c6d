#include <algorithm>
#include <graph/memory_plan.hpp>
#include <map>
#include <tuple>

namespace brim::graph {
namespace {

// A value in an area, from the first to the last step of the schedule that touches it.
struct Life {
  uint32_t owner;
  brim_value value;
  Area area;
  uint64_t bytes;
  uint32_t first, last;
  uint64_t offset = 0;
};

uint64_t align(uint64_t bytes) { return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment; }

// Largest first, each at the lowest offset that is free for its whole life: within a few percent of optimal for chains
// of layers, and at most (number of values)^2 comparisons.
uint64_t pack(std::vector<Life*>& lives) {
  std::sort(lives.begin(), lives.end(), [](const Life* a, const Life* b) {
    return std::tuple(b->bytes, a->first, a->value) < std::tuple(a->bytes, b->first, b->value);
  });
  uint64_t end = 0;
  std::vector<const Life*> placed, rivals;
  for (Life* life : lives) {
    rivals.clear();
    for (const Life* other : placed) {
      if (other->first <= life->last && life->first <= other->last) rivals.push_back(other);
    }
    std::sort(rivals.begin(), rivals.end(), [](const Life* a, const Life* b) { return a->offset < b->offset; });
    uint64_t at = 0;
    for (const Life* rival : rivals) {
      if (at + align(life->bytes) <= rival->offset) break;
      at = std::max(at, rival->offset + align(rival->bytes));
    }
    life->offset = at;
    end = std::max(end, at + align(life->bytes));
    placed.push_back(life);
  }
  return end;
}

// Values that cross and the device in whose outputs all that touch them find them, where there is one. The device that
// makes a value has the first choice.
std::map<brim_value, uint32_t> shared_values(std::span<const Segment> segments, const Reach& reach) {
  std::map<brim_value, std::vector<uint32_t>> crossing;
  for (const Segment& segment : segments) {
    for (const Transfer& t : segment.transfers) {
      std::vector<uint32_t>& devices = crossing[t.value];
      if (devices.empty()) devices.push_back(t.from);
      devices.push_back(t.to);
    }
  }
  std::map<brim_value, uint32_t> owners;
  for (const auto& [value, devices] : crossing) {
    const auto owner = std::find_if(devices.begin(), devices.end(), [&](uint32_t o) {
      return std::all_of(devices.begin(), devices.end(), [&](uint32_t d) { return reach(d, o); });
    });
    if (owner != devices.end()) owners[value] = *owner;
  }
  return owners;
}

}  // namespace

std::vector<DeviceMemory> plan_memory(const Graph& graph, std::span<const Segment> segments, const brim_bucket& bucket,
                                      const Reach& reach) {
  const std::map<brim_value, uint32_t> shared = shared_values(segments, reach);
  std::map<std::pair<uint32_t, brim_value>, Life> lives;         // by owner
  std::map<std::pair<uint32_t, brim_value>, const Life*> found;  // by the device that touches it
  uint32_t now = 0;
  const auto touch = [&](uint32_t device, brim_value storage) {
    const brim_value_desc& desc = graph.value(storage);
    if (desc.kind != BRIM_VALUE_TEMP && desc.kind != BRIM_VALUE_OUTPUT) return;
    const auto is_shared = shared.find(storage);
    const bool output = desc.kind == BRIM_VALUE_OUTPUT || is_shared != shared.end();
    const uint32_t owner = is_shared != shared.end() ? is_shared->second : device;
    Life& life = lives
                     .try_emplace({owner, storage}, Life{owner, storage, output ? Area::kOutputs : Area::kArena,
                                                         value_bytes(desc, bucket), now, now})
                     .first->second;
    life.last = now;
    found[{device, storage}] = &life;
  };
  for (const Segment& segment : segments) {
    for (const Transfer& t : segment.transfers) {
      touch(t.from, t.value);
      touch(t.to, t.value);
    }
    ++now;
    for (const uint32_t index : segment.nodes) {
      const brim_node& node = graph.nodes()[index];
      for (uint32_t j = 0; j < node.n_in; ++j) {
        if (node.in[j]) touch(segment.device, graph.storage(node.in[j]));
      }
      for (uint32_t j = 0; j < node.n_out; ++j) touch(segment.device, node.out[j]);
      ++now;
    }
  }

  std::vector<DeviceMemory> memory(reach.n_devices());
  std::vector<std::vector<Life*>> arenas(reach.n_devices()), outputs(reach.n_devices());
  for (auto& [key, life] : lives) {
    // The host reads outputs when all has run.
    if (graph.value(life.value).kind == BRIM_VALUE_OUTPUT) life.first = 0, life.last = now;
    (life.area == Area::kArena ? arenas : outputs)[life.owner].push_back(&life);
  }
  for (uint32_t d = 0; d < reach.n_devices(); ++d) {
    memory[d].arena_bytes = pack(arenas[d]);
    memory[d].outputs_bytes = pack(outputs[d]);
  }
  for (const auto& [key, life] : found) {
    memory[key.first].places[life->value] = {life->owner, life->area, life->offset, life->bytes};
  }
  return memory;
}

}  // namespace brim::graph
