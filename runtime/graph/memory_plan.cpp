#include <algorithm>
#include <graph/memory_plan.hpp>
#include <map>
#include <tuple>

namespace brim::graph {
namespace {

// A value on a device, from the first to the last step of the schedule that touches it.
struct Life {
  uint32_t device;
  brim_value value;
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

}  // namespace

std::vector<DeviceMemory> plan_memory(const Graph& graph, std::span<const Segment> segments, const brim_bucket& bucket,
                                      uint32_t n_devices) {
  std::map<std::pair<uint32_t, brim_value>, Life> lives;
  uint32_t now = 0;
  const auto touch = [&](uint32_t device, brim_value storage) {
    const brim_value_desc& desc = graph.value(storage);
    if (desc.kind != BRIM_VALUE_TEMP && desc.kind != BRIM_VALUE_OUTPUT) return;
    auto [at, fresh] = lives.try_emplace({device, storage}, Life{device, storage, value_bytes(desc, bucket), now, now});
    if (!fresh) at->second.last = now;
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

  std::vector<DeviceMemory> memory(n_devices);
  std::vector<std::vector<Life*>> temporaries(n_devices);
  for (auto& [key, life] : lives) {
    DeviceMemory& device = memory[life.device];
    if (graph.value(life.value).kind == BRIM_VALUE_OUTPUT) {
      device.outputs[life.value] = {device.outputs_bytes, life.bytes};
      device.outputs_bytes += align(life.bytes);
    } else {
      temporaries[life.device].push_back(&life);
    }
  }
  for (uint32_t d = 0; d < n_devices; ++d) {
    memory[d].arena_bytes = pack(temporaries[d]);
    for (const Life* life : temporaries[d]) memory[d].arena[life->value] = {life->offset, life->bytes};
  }
  return memory;
}

}  // namespace brim::graph
