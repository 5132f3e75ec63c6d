// Partition and memory plan of random graphs: run as bookkeeping, with a tag for the content of every byte, each node
// finds what was made for it, on its own device.
#include <doctest/doctest.h>

#include <graph/memory_plan.hpp>
#include <map>
#include <random>

#include "../support/failure.hpp"
#include "emitted.hpp"

using namespace brim;
using namespace brim::graph;
using namespace brim::test;

namespace {

// Sums and products of what came before, in widths of 8 and 40, some as views, some as outputs.
std::unique_ptr<const Graph> random_graph(uint32_t seed) {
  Emitted e([seed](const Emitter& x) {
    std::mt19937 random(seed);
    std::vector<brim_value> narrow = {x.gather(x.weight(0), x.input(BRIM_INPUT_TOKEN))}, wide;
    const auto pick = [&](const std::vector<brim_value>& from) { return from[random() % from.size()]; };
    for (int i = 0; i < 40; ++i) {
      brim_value out = 0;
      switch (random() % 4) {
        case 0:
          x.emit(BRIM_OP_MATMUL, {x.weight(1), pick(narrow)}, &out);
          wide.push_back(out);
          break;
        case 1:
          if (wide.empty()) break;
          x.emit(BRIM_OP_MATMUL, {x.weight(2), pick(wide)}, &out);
          narrow.push_back(out);
          break;
        case 2: {
          if (wide.empty()) break;
          const brim_slice_attr cut = {sizeof(cut), 1, static_cast<uint32_t>(random() % 5) * 8, 8};
          x.emit(BRIM_OP_SLICE, {pick(wide)}, &out, &cut);
          narrow.push_back(out);
          break;
        }
        default:
          narrow.push_back(x.add(pick(narrow), pick(narrow)));
      }
    }
    x.output(BRIM_OUTPUT_HIDDEN, narrow.back());
    x.output(BRIM_OUTPUT_LOGITS, pick(narrow));
  });
  return e.graph();
}

// A table's rows, doubled n times.
std::unique_ptr<const Graph> chain(int n) {
  Emitted e([n](const Emitter& x) {
    brim_value v = x.gather(x.weight(0), x.input(BRIM_INPUT_TOKEN));
    for (int i = 0; i < n; ++i) v = x.add(v, v);
    x.output(BRIM_OUTPUT_HIDDEN, v);
  });
  return e.graph();
}

brim_bucket bucket_of(uint32_t t) { return {sizeof(brim_bucket), t, 1, t, 64, 1}; }

// The content of one device's two buffers: per 8-byte word, which value it belongs to.
struct Bytes {
  std::vector<brim_value> arena, outputs;
};

}  // namespace

TEST_CASE("every node finds its inputs, on its device, at the planned places") {
  uint32_t n_shared = 0, n_copied = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    const auto graph = random_graph(seed);
    const Graph& g = *graph;
    std::mt19937 random(seed);
    std::vector<uint32_t> device_of;
    for (size_t i = 0; i < g.nodes().size(); ++i) device_of.push_back(random() % 8 == 0 ? 2 : random() % 2);
    const auto segments = partition(g, device_of);
    const brim_bucket bucket = bucket_of(32);
    Reach reach(3);
    for (uint32_t d = 0; d < 3; ++d) {
      for (uint32_t o = 0; o < 3; ++o) {
        if (seed >= 200 && random() % 2) reach.set(d, o);
      }
    }
    const auto memory = plan_memory(g, segments, bucket, reach);

    std::vector<Bytes> devices(3);
    for (uint32_t d = 0; d < 3; ++d) {
      devices[d].arena.resize(memory[d].arena_bytes / 8);
      devices[d].outputs.resize(memory[d].outputs_bytes / 8);
    }
    const auto place = [&](uint32_t d, brim_value v) {
      const auto at = memory[d].places.find(v);
      REQUIRE(at != memory[d].places.end());
      const Place& p = at->second;
      REQUIRE(reach(d, p.owner));
      if (p.owner != d || g.value(v).kind == BRIM_VALUE_OUTPUT) REQUIRE(p.area == Area::kOutputs);
      auto& words = p.area == Area::kOutputs ? devices[p.owner].outputs : devices[p.owner].arena;
      REQUIRE(p.offset % kArenaAlignment == 0);
      REQUIRE(p.bytes == value_bytes(g.value(v), bucket));
      REQUIRE(p.offset + p.bytes <= words.size() * 8);
      return std::span(words).subspan(p.offset / 8, p.bytes / 8);
    };
    const auto holds = [&](uint32_t d, brim_value v) {
      const auto words = place(d, v);
      return std::all_of(words.begin(), words.end(), [&](brim_value w) { return w == v; });
    };
    std::vector<bool> ran(g.nodes().size());
    for (const Segment& segment : segments) {
      for (const Transfer& t : segment.transfers) {
        REQUIRE(t.to == segment.device);
        REQUIRE(t.from != t.to);
        REQUIRE(holds(t.from, t.value));
        const auto to = place(t.to, t.value);
        const bool shared = in_place(memory, t);
        REQUIRE(shared == (to.data() == place(t.from, t.value).data()));
        ++(shared ? n_shared : n_copied);
        if (seed < 200) REQUIRE_FALSE(shared);
        std::fill(to.begin(), to.end(), t.value);
      }
      for (const uint32_t i : segment.nodes) {
        REQUIRE(device_of[i] == segment.device);
        REQUIRE_FALSE(ran[i]);
        ran[i] = true;
        const brim_node& node = g.nodes()[i];
        // The outputs come first: a node whose output took the place of its own input would not find it.
        for (uint32_t j = 0; j < node.n_out; ++j) {
          const auto out = place(segment.device, node.out[j]);
          std::fill(out.begin(), out.end(), node.out[j]);
        }
        for (uint32_t j = 0; j < node.n_in; ++j) {
          const brim_value v = g.storage(node.in[j]);
          const uint32_t kind = g.value(v).kind;
          if (kind == BRIM_VALUE_TEMP || kind == BRIM_VALUE_OUTPUT) REQUIRE(holds(segment.device, v));
        }
      }
    }
    // Everything ran but views, and outputs are still there at the end.
    for (size_t i = 0; i < ran.size(); ++i) REQUIRE(ran[i] == !is_view_op(g.nodes()[i].op));
    for (const Graph::Output& o : g.outputs()) REQUIRE(holds(device_of[g.value(o.value).producer], o.value));
    // Smaller buckets fit into the same places.
    for (const uint32_t t : {1u, 2u, 31u}) {
      for (const DeviceMemory& m : memory) {
        for (const auto& [v, at] : m.places) REQUIRE(value_bytes(g.value(v), bucket_of(t)) <= at.bytes);
      }
    }
  }
  CHECK(n_shared > 500);
  CHECK(n_copied > 500);
}

TEST_CASE("what crosses to a device that sees the other's memory is stored once, there") {
  const auto g = chain(6);
  std::vector<uint32_t> device_of;
  for (size_t i = 0; i < g->nodes().size(); ++i) device_of.push_back(i / 2 % 2);
  const auto segments = partition(*g, device_of);
  Reach reach(2);
  reach.set(1, 0);
  const auto memory = plan_memory(*g, segments, bucket_of(32), reach);
  for (const Segment& s : segments) {
    for (const Transfer& t : s.transfers) {
      CHECK(in_place(memory, t));
      CHECK(memory[t.to].places.at(t.value).owner == 0);
    }
  }
}

TEST_CASE("values that live one after the other share their bytes") {
  const auto g = chain(50);
  const std::vector<uint32_t> one(g->nodes().size(), 0);
  const auto memory = plan_memory(*g, partition(*g, one), bucket_of(32), Reach(1));
  CHECK(memory[0].arena_bytes == 2 * 32 * 8 * sizeof(float));
  CHECK(memory[0].outputs_bytes == 32 * 8 * sizeof(float));
}

TEST_CASE("a state is never cut over two devices") {
  Emitted e([](const Emitter& x) {
    const brim_value rows = x.gather(x.weight(0), x.input(BRIM_INPUT_TOKEN));
    const brim_shape_attr split = {sizeof(split), 3, {{BRIM_SYM_N_TOKENS, 1}, {0, 2}, {0, 4}}};
    brim_value heads = 0, written = 0, out = 0;
    x.emit(BRIM_OP_RESHAPE, {rows}, &heads, &split);
    x.emit(BRIM_OP_KV_WRITE, {x.state(0), heads, heads}, &written);
    brim_attention_attr a{};
    a.struct_size = sizeof(a);
    a.n_head = a.n_head_kv = 2;
    a.scale = 1;
    x.emit(BRIM_OP_ATTENTION, {heads, written}, &out, &a, BRIM_ATTENTION_CAUSAL);
  });
  const auto g = e.graph();
  REQUIRE(g->nodes().size() == 4);
  CHECK_FAILS(BRIM_INTERNAL, "state 0 is used on two devices", partition(*g, std::vector<uint32_t>{0, 0, 0, 1}));
  CHECK(partition(*g, std::vector<uint32_t>{1, 0, 0, 0}).size() == 2);
}
