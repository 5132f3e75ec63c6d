// What the host relies on around a program: refusals, exact costs, storage that is used again, cancelling, bad step
// blocks.
#include <chrono>
#include <utility>

#include "net.hpp"

using namespace cpu_test;

namespace {

brim_support ask(Machine& machine, const Net& net, uint32_t node, uint32_t numerics = BRIM_NUMERICS_STRICT) {
  const brim_graph graph = net.graph();
  brim_support support{};
  support.struct_size = sizeof support;
  REQUIRE(machine.backend->support(machine.device, &graph, node, numerics, &support, &machine.error) == BRIM_OK);
  return support;
}

}  // namespace

TEST_CASE("support tells what is missing: features, dtypes, contiguity") {
  Machine machine(variants().front());
  Net net;
  const brim_value x = net.embedding({tokens(), n(8), n(16)});
  const brim_value turned = net.view(x, {tokens(), n(16), n(8)}, {n(128), n(1), n(16)});
  const brim_value y = net.output({tokens(), n(16), n(8)});
  brim_unary_attr attr{};
  attr.kind = BRIM_UNARY_NEG;
  const uint32_t strided = net.node(BRIM_OP_UNARY, {turned}, {y}, attr);
  const brim_support support = ask(machine, net, strided);
  CHECK(support.level == BRIM_SUPPORT_IF_CONTIGUOUS);
  CHECK(support.need_contiguous == 1);
  attr.kind = 999;
  CHECK(ask(machine, net, net.node(BRIM_OP_UNARY, {turned}, {y}, attr)).level == BRIM_SUPPORT_NONE);
  CHECK(ask(machine, net, net.node(BRIM_OP_MATMUL, {x, x}, {y}, 0u, 1ull << 40)).level == BRIM_SUPPORT_NONE);
  CHECK(ask(machine, net, net.node(BRIM_OP_CUMSUM, {x}, {y})).level == BRIM_SUPPORT_NONE);

  Program program(machine, net, bucket_of(2));
  CHECK(program.create() == BRIM_UNSUPPORTED);
  CHECK(std::string(machine.error.message).find("node 0") != std::string::npos);
}

TEST_CASE("values may take the storage of dead ones: order follows memory, not names") {
  // x -> a -> b -> c in two alternating buffers, each op reading what the next but one overwrites.
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    Machine machine(variant, 4);
    constexpr uint32_t kWidth = 64, kSteps = 20, kRows = 400;
    Net net;
    std::vector<brim_value> chain = {net.embedding({tokens(), n(kWidth)})};
    brim_affine_attr affine{};
    affine.scale = 1.0f;
    affine.bias = 1.0f;
    affine.lo = -1e30f;
    affine.hi = 1e30f;
    for (uint32_t i = 0; i < kSteps; ++i) {
      chain.push_back(i + 1 == kSteps ? net.output({tokens(), n(kWidth)}) : net.temp({tokens(), n(kWidth)}));
      net.node(BRIM_OP_AFFINE_CLAMP, {chain[i]}, {chain[i + 1]}, affine);
    }
    Program program(machine, net, bucket_of(kRows));
    brim_program_info info = program.info(true);
    auto* bindings = const_cast<brim_binding*>(static_cast<const brim_binding*>(info.bindings));
    brim_buffer* shared[2] = {bindings[1].buffer, bindings[2].buffer};
    for (uint32_t i = 1; i < kSteps; ++i) bindings[i].buffer = shared[i % 2];
    REQUIRE_MESSAGE(program.create() == BRIM_OK, machine.error.message);
    std::fill_n(program.at(chain[0]), kRows * kWidth, 0.5f);
    for (int repeat = 0; repeat < 20; ++repeat) {
      program.run_rows(kRows);
      CHECK(program.read(chain[kSteps], kRows * kWidth) == Floats(kRows * kWidth, 0.5f + kSteps));
    }
  }
}

TEST_CASE("steps that go row by row do not go together where one writes another's rows elsewhere") {
  // x -> a -> b -> c -> z; c lies in the storage of x, one row further: row r of c is row r + 1 of x.
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    Machine machine(variant, 4);
    constexpr uint32_t kWidth = 64, kRows = 400;
    Net net;
    const brim_value x = net.embedding({tokens(), n(kWidth)});
    brim_value values[5] = {x};
    for (uint32_t i = 1; i < 5; ++i) {
      values[i] = i == 4 ? net.output({tokens(), n(kWidth)}) : net.temp({tokens(), n(kWidth)});
      brim_affine_attr affine{};
      affine.scale = 2.0f;
      affine.bias = 1.0f;
      affine.lo = -1e30f;
      affine.hi = 1e30f;
      net.node(BRIM_OP_AFFINE_CLAMP, {values[i - 1]}, {values[i]}, affine);
    }
    Program program(machine, net, bucket_of(kRows));
    brim_program_info info = program.info(true);
    auto* bindings = const_cast<brim_binding*>(static_cast<const brim_binding*>(info.bindings));
    brim_buffer* shared = machine.buffer((kRows + 1) * kWidth * sizeof(float));
    for (uint32_t i = 0; i < info.n_bindings; ++i) {
      if (bindings[i].value == values[0] || bindings[i].value == values[3]) bindings[i].buffer = shared;
      if (bindings[i].value == values[3]) bindings[i].offset = kWidth * sizeof(float);
    }
    REQUIRE_MESSAGE(program.create() == BRIM_OK, machine.error.message);
    const Floats from = random_floats(kRows * kWidth, 7);
    Floats expected = from;
    for (float& v : expected) {
      for (int i = 0; i < 4; ++i) v = v * 2.0f + 1.0f;
    }
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::memcpy(machine.map(shared), from.data(), from.size() * sizeof(float));
      program.run_rows(kRows);
      CHECK(program.read(values[4], kRows * kWidth) == expected);
    }
    machine.backend->program_destroy(std::exchange(program.program, nullptr));
    machine.backend->buffer_free(shared);
  }
}

TEST_CASE("a program holds exactly what was measured, and its runs allocate nothing") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    Machine machine(variant, 3);
    const Floats weights = random_floats(256 * 256, 5);
    Net net;
    const brim_value x = net.embedding({tokens(), n(256)});
    const brim_value w = net.weight({n(256), n(256)}, weights);
    const brim_value y = net.temp({tokens(), n(256)});
    const brim_value z = net.output({tokens(), n(256)});
    net.node(BRIM_OP_MATMUL, {w, x}, {y});
    net.node(BRIM_OP_MATMUL, {w, y}, {z});
    for (uint32_t numerics : {BRIM_NUMERICS_FAST, BRIM_NUMERICS_STRICT}) {
      Options options;
      options.numerics = numerics;
      Program program(machine, net, bucket_of(64), options);
      REQUIRE(program.create() == BRIM_OK);
      CHECK(static_cast<int64_t>(program.cost.persistent) == program.held);
      CHECK(program.cost.workspace >= 64 * 256);
      const Floats values = random_floats(64 * 256, 6);
      std::copy(values.begin(), values.end(), program.at(x));
      const int64_t before = machine.host.allocations;
      for (uint32_t rows : {64u, 1u, 0u, 33u}) program.run_rows(rows);
      CHECK(machine.host.allocations == before);
    }
  }
}

TEST_CASE("a workspace that is too small, a missing binding, a foreign layout are refused by name") {
  Machine machine(variants().front());
  Net net;
  const Floats weights = random_floats(64 * 64, 5);
  const brim_value x = net.embedding({tokens(), n(64)});
  const brim_value w = net.weight({n(64), n(64)}, weights);
  const brim_value y = net.output({tokens(), n(64)});
  net.node(BRIM_OP_MATMUL, {w, x}, {y});
  Program program(machine, net, bucket_of(4));
  REQUIRE(program.create() == BRIM_OK);
  const auto refused = [&](const brim_program_info& info, const char* word) {
    brim_program* made = nullptr;
    CHECK(machine.backend->program_create(machine.device, &info, &made, &machine.error) == BRIM_INVALID_ARGUMENT);
    CHECK_MESSAGE(std::string(machine.error.message).find(word) != std::string::npos, machine.error.message);
  };
  brim_program_info info = program.info(true);
  const std::vector<brim_binding> good(static_cast<const brim_binding*>(info.bindings),
                                       static_cast<const brim_binding*>(info.bindings) + info.n_bindings);
  std::vector<brim_binding> bad = good;
  info.bindings = bad.data();
  bad.back().bytes -= 64;
  refused(info, "workspace");
  bad = good;
  bad[0].bytes -= 1;
  refused(info, "value 1");
  bad = good;
  bad[1].layout_id = 9;
  refused(info, "layout");
  bad = good;
  bad[1].offset = 1ull << 63;
  refused(info, "outside");
  info.n_bindings = 2;
  bad = good;
  refused(info, "no binding");
}

TEST_CASE("a step block that lies is refused before a kernel follows it") {
  Machine machine(variants().front());
  Net net;
  const brim_value q = net.embedding({tokens(), n(2), n(16)});
  const brim_value state = net.state(kv_state(2, 16, 16)), written = net.version(state);
  const brim_value y = net.output({tokens(), n(2), n(16)});
  net.node(BRIM_OP_KV_WRITE, {state, q, q}, {written});
  brim_attention_attr attr{};
  attr.n_head = attr.n_head_kv = 2;
  attr.scale = 0.25f;
  net.node(BRIM_OP_ATTENTION, {q, written}, {y}, attr, BRIM_ATTENTION_CAUSAL);
  Options options;
  options.n_blocks = 4;
  Program program(machine, net, bucket_of(8, 2, 64), options);
  REQUIRE_MESSAGE(program.create() == BRIM_OK, machine.error.message);
  std::fill_n(program.at(q), 8 * 32, 0.5f);
  const auto ints = [&](uint64_t offset) { return reinterpret_cast<int32_t*>(program.step_block() + offset); };
  const auto fresh = [&] { program.step({{5, 40, {0, 1}}, {3, 3, {3}}}); };
  fresh();
  REQUIRE_MESSAGE(program.run() == BRIM_OK, machine.error.message);
  const auto refused = [&] { CHECK(program.run() == BRIM_INVALID_ARGUMENT); };
  fresh(), ints(program.group().kv_slot)[2] = 4 * 32, refused();
  fresh(), ints(program.group().block_table)[1] = 4, refused();
  fresh(), ints(program.group().block_table)[0] = -1, refused();
  fresh(), ints(program.group().kv_len)[0] = 65, refused();
  fresh(), ints(program.group().kv_len)[0] = 4, refused();
  fresh(), ints(program.layout().q_begin)[1] = 9, refused();
  fresh(), ints(program.layout().sequence)[6] = 0, refused();
  fresh(), reinterpret_cast<brim_step_header*>(program.step_block())->n_tokens = 9, refused();
  fresh(), reinterpret_cast<brim_step_header*>(program.step_block())->n_tokens = 7, refused();
}

TEST_CASE("a cancelled run stops early and says so; the next one is whole") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    for (uint32_t threads : {1u, 3u}) {
      Machine machine(variant, threads);
      constexpr uint32_t kWidth = 256, kSteps = 200, kRows = 64;
      const Floats weights = random_floats(kWidth * kWidth, 7, 0.06f);
      Net net;
      std::vector<brim_value> chain = {net.embedding({tokens(), n(kWidth)})};
      const brim_value w = net.weight({n(kWidth), n(kWidth)}, weights);
      for (uint32_t i = 0; i < kSteps; ++i) {
        chain.push_back(i + 1 == kSteps ? net.output({tokens(), n(kWidth)}) : net.temp({tokens(), n(kWidth)}));
        net.node(BRIM_OP_MATMUL, {w, chain[i]}, {chain[i + 1]});
      }
      Program program(machine, net, bucket_of(kRows));
      REQUIRE(program.create() == BRIM_OK);
      const Floats values = random_floats(kRows * kWidth, 8);
      std::copy(values.begin(), values.end(), program.at(chain[0]));
      program.run_rows(kRows);
      const Floats whole = program.read(chain[kSteps], kRows * kWidth);

      volatile uint32_t cancel = 1;
      CHECK(program.run(&cancel) == BRIM_CANCELLED);
      cancel = 0;
      std::thread canceller([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        __atomic_store_n(&cancel, 1, __ATOMIC_RELAXED);
      });
      CHECK(program.run(&cancel) == BRIM_CANCELLED);
      canceller.join();
      cancel = 0;
      CHECK(program.run(&cancel) == BRIM_OK);
      CHECK(same_bits(whole, program.read(chain[kSteps], kRows * kWidth)));
    }
  }
}
