// KV_WRITE and ATTENTION against float64, over storage dtypes, head groups, block and chunk boundaries and windows; and
// the promise that a row's bits depend on nothing but the row and what it sees.
#include "ops/attention.hpp"

#include <algorithm>

#include "net.hpp"

using namespace cpu_test;
namespace reference = brim_cpu::reference;

namespace {

struct Shape {
  uint32_t heads, kv_heads, k_width, v_width;
  uint32_t window = 0;
  float softcap = 0;
};

// q, k, v given as rows; K and V are written, then attended to.
struct Graph {
  Net net;
  brim_value q, k, v, y;
  Shape shape;

  explicit Graph(const Shape& s) : shape(s) {
    q = net.embedding({tokens(), n(s.heads), n(s.k_width)});
    k = net.embedding({tokens(), n(s.kv_heads), n(s.k_width)});
    v = net.embedding({tokens(), n(s.kv_heads), n(s.v_width)});
    const brim_value state = net.state(kv_state(s.kv_heads, s.k_width, s.v_width, s.window));
    const brim_value written = net.version(state);
    net.node(BRIM_OP_KV_WRITE, {state, k, v}, {written});
    y = net.output({tokens(), n(s.heads), n(s.v_width)});
    brim_attention_attr attr{};
    attr.n_head = s.heads;
    attr.n_head_kv = s.kv_heads;
    attr.scale = 1.0f / std::sqrt(static_cast<float>(s.k_width));
    attr.window = s.window;
    attr.softcap = s.softcap;
    uint64_t must = BRIM_ATTENTION_CAUSAL;
    if (s.window != 0) must |= BRIM_ATTENTION_SLIDING_WINDOW;
    if (s.softcap != 0) must |= BRIM_ATTENTION_SOFTCAP;
    net.node(BRIM_OP_ATTENTION, {q, written}, {y}, attr, must);
  }
};

// One sequence's whole input.
struct Rows {
  Floats q, k, v;
  Rows(const Shape& s, uint32_t length, uint32_t seed)
      : q(random_floats(length * s.heads * s.k_width, seed, 1.5f)),
        k(random_floats(length * s.kv_heads * s.k_width, seed + 1, 1.5f)),
        v(random_floats(length * s.kv_heads * s.v_width, seed + 2)) {}
};

std::vector<uint32_t> blocks_from(uint32_t first, uint32_t count) {
  std::vector<uint32_t> blocks;
  for (uint32_t i = 0; i < count; ++i) blocks.push_back(first + (count - 1 - i));  // not in order
  return blocks;
}

void give(Program& program, const Graph& graph, const Rows& rows, uint32_t from, uint32_t count, uint32_t at_row) {
  const Shape& s = graph.shape;
  const auto copy = [&](brim_value to, const Floats& all, uint32_t width) {
    std::copy_n(all.begin() + from * width, count * width, program.at(to) + at_row * width);
  };
  copy(graph.q, rows.q, s.heads * s.k_width);
  copy(graph.k, rows.k, s.kv_heads * s.k_width);
  copy(graph.v, rows.v, s.kv_heads * s.v_width);
}

// The output rows of one sequence, fed in steps of the given sizes; K and V of `held` become what the state holds of
// it.
Floats feed(Machine& machine, const Graph& graph, const Rows& rows, const std::vector<uint32_t>& steps,
            uint32_t kv_dtype, uint32_t bucket_tokens, uint32_t numerics = BRIM_NUMERICS_FAST, Rows* held = nullptr) {
  uint32_t length = 0;
  for (uint32_t step : steps) length += step;
  const uint32_t blocks = (length + 31) / 32 + 1;
  Options options;
  options.kv = kv_dtype;
  options.numerics = numerics;
  options.n_blocks = blocks + 3;
  Program program(machine, graph.net, bucket_of(bucket_tokens, 1, blocks * 32), options);
  REQUIRE_MESSAGE(program.create() == BRIM_OK, machine.error.message);
  // No number anywhere that a token has not been written to.
  brim_state_layout layout{};
  layout.struct_size = sizeof layout;
  machine.backend->state_layout(machine.device, &graph.net.states[0], kv_dtype, &layout, &machine.error);
  std::memset(machine.map(program.states()[0].buffer), 0xff, layout.block_bytes * options.n_blocks);
  const uint32_t width = graph.shape.heads * graph.shape.v_width;
  Floats out;
  uint32_t seen = 0;
  for (uint32_t step : steps) {
    give(program, graph, rows, seen, step, 0);
    seen += step;
    program.step({{step, seen, blocks_from(2, blocks)}});
    const int64_t allocations = machine.host.allocations;
    REQUIRE_MESSAGE(program.run() == BRIM_OK, machine.error.message);
    CHECK(machine.host.allocations == allocations);
    out.insert(out.end(), program.at(graph.y), program.at(graph.y) + step * width);
  }
  if (held != nullptr) {
    Floats both(held->k.size() + held->v.size());
    REQUIRE(machine.backend->state_export(machine.queue, &graph.net.states[0], &program.states()[0],
                                          blocks_from(2, blocks).data(), 0, length, BRIM_DTYPE_F32, both.data(),
                                          &machine.error) == BRIM_OK);
    const auto middle = both.begin() + static_cast<std::ptrdiff_t>(held->k.size());
    held->k.assign(both.begin(), middle);
    held->v.assign(middle, both.end());
  }
  return out;
}

double worst_row_error(const Graph& graph, const Rows& rows, const Floats& out, uint32_t length) {
  const Shape& s = graph.shape;
#if defined(BRIM_TEST_EMULATED)
  constexpr uint32_t kStep = 11;  // a sample of the rows, and the last ones
#else
  constexpr uint32_t kStep = 1;
#endif
  double worst = 0;
  for (uint32_t t = 0; t < length; t += t + 4 < length ? kStep : 1) {
    const uint32_t first = s.window == 0 || t + 1 < s.window ? 0 : t + 1 - s.window;
    for (uint32_t h = 0; h < s.heads; ++h) {
      const uint32_t g = h / (s.heads / s.kv_heads);
      Floats k, v;
      for (uint32_t i = first; i <= t; ++i) {
        const float* key = rows.k.data() + (i * s.kv_heads + g) * s.k_width;
        const float* value = rows.v.data() + (i * s.kv_heads + g) * s.v_width;
        k.insert(k.end(), key, key + s.k_width);
        v.insert(v.end(), value, value + s.v_width);
      }
      std::vector<double> expected(s.v_width);
      const float scale = 1.0f / std::sqrt(static_cast<float>(s.k_width));
      reference::attention(rows.q.data() + (t * s.heads + h) * s.k_width, k.data(), v.data(), t + 1 - first, s.k_width,
                           s.v_width, scale, s.softcap, expected.data());
      const float* got = out.data() + (t * s.heads + h) * s.v_width;
      worst = std::max(worst, rms_error(Floats(got, got + s.v_width), expected));
    }
  }
  return worst;
}

std::vector<uint32_t> ones(uint32_t count) { return std::vector<uint32_t>(count, 1); }

const Shape kShapes[] = {{4, 4, 64, 64},     {8, 2, 32, 32},          {5, 1, 80, 48}, {4, 2, 8, 8},
                         {6, 3, 40, 24, 70}, {4, 1, 64, 64, 0, 3.0f}, {2, 1, 33, 17}};

}  // namespace

TEST_CASE("attention agrees with float64 in every storage dtype and shape") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    Machine machine(variant);
    for (const Shape& shape : kShapes) {
      CAPTURE(shape.k_width);
      const Graph graph(shape);
      constexpr uint32_t kLength = 300;  // nine blocks and a piece, over a chunk boundary
      const Rows rows(shape, kLength, 41);
      // Against what was given and, apart from storage's own rounding, against what the state holds.
      const auto check = [&](uint32_t kv, uint32_t numerics, double of_given, double of_held) {
        CAPTURE(kv);
        CAPTURE(numerics);
        Rows held = rows;
        const Floats out = feed(machine, graph, rows, {kLength}, kv, 512, numerics, &held);
        CHECK(worst_row_error(graph, rows, out, kLength) < of_given);
        CHECK(worst_row_error(graph, held, out, kLength) < of_held);
      };
      check(BRIM_DTYPE_F32, BRIM_NUMERICS_FAST, 4e-6, 4e-6);
      check(BRIM_DTYPE_F16, BRIM_NUMERICS_FAST, 2e-2, 4e-6);
      check(BRIM_DTYPE_Q8_0, BRIM_NUMERICS_FAST, 2e-1, 4e-4);  // some variants multiply in 16 bits
      check(BRIM_DTYPE_Q8_0, BRIM_NUMERICS_STRICT, 2e-1, 4e-6);
    }
  }
}

TEST_CASE("a query that is no number spoils its own rows and no others") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    Machine machine(variant);
    for (uint32_t kv : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0}) {
      CAPTURE(kv);
      const Shape shape{4, 2, 40, 72};
      const Graph graph(shape);
      constexpr uint32_t kLength = 40, kBad = 33;
      Rows rows(shape, kLength, 47);
      const Floats good = feed(machine, graph, rows, {kLength}, kv, 64);
      for (uint32_t head = 0; head < shape.heads; ++head)
        rows.q[(kBad * shape.heads + head) * shape.k_width + 39] = std::nanf("");
      const Floats bad = feed(machine, graph, rows, {kLength}, kv, 64);
      const uint32_t width = shape.heads * shape.v_width;
      for (uint32_t i = 0; i < kLength * width; ++i) {
        const bool spoilt = i / width == kBad;
        if (spoilt ? !std::isnan(bad[i]) : std::memcmp(&bad[i], &good[i], sizeof(float)) != 0) {
          FAIL("row ", i / width, " value ", i % width, " is ", bad[i]);
        }
      }
    }
  }
}

TEST_CASE("a row's attention is the same bits however the prompt is chunked and however many threads there are") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    for (const Shape& shape : kShapes) {
      for (uint32_t kv : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0}) {
        CAPTURE(shape.k_width);
        CAPTURE(kv);
        const Graph graph(shape);
        constexpr uint32_t kLength = 560;  // over two chunk boundaries
        const Rows rows(shape, kLength, 43);
        Machine one(variant, 1), four(variant, 4);
        const Floats whole = feed(one, graph, rows, {kLength}, kv, 1024);
        CHECK(same_bits(whole, feed(four, graph, rows, {kLength}, kv, 1024)));
        CHECK(same_bits(whole, feed(four, graph, rows, {1, 255, 37, 267}, kv, 512)));
        std::vector<uint32_t> steps = ones(kLength - 500);
        steps.insert(steps.begin(), 500);
        CHECK(same_bits(whole, feed(four, graph, rows, steps, kv, 512)));
        // Decode programs, whose attention is split over the context.
        const Floats tail(whole.begin() + 500 * shape.heads * shape.v_width, whole.end());
        Options options;
        options.kv = kv;
        options.numerics = BRIM_NUMERICS_FAST;
        options.n_blocks = 40;
        Program fill(four, graph.net, bucket_of(512, 1, 1024), options),
            decode(four, graph.net, bucket_of(1, 1, 1024), options, &fill);
        REQUIRE(fill.create() == BRIM_OK);
        REQUIRE(decode.create() == BRIM_OK);
        give(fill, graph, rows, 0, 500, 0);
        fill.step({{500, 500, blocks_from(0, 18)}});
        REQUIRE(fill.run() == BRIM_OK);
        Floats decoded;
        for (uint32_t t = 500; t < kLength; ++t) {
          give(decode, graph, rows, t, 1, 0);
          decode.step({{1, t + 1, blocks_from(0, 18)}});
          REQUIRE(decode.run() == BRIM_OK);
          decoded.insert(decoded.end(), decode.at(graph.y), decode.at(graph.y) + shape.heads * shape.v_width);
        }
        CHECK(same_bits(tail, decoded));
      }
    }
  }
}

TEST_CASE("a sequence's rows are the same bits alone and among others, and padding changes nothing") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    const Shape shape{8, 2, 64, 64};
    const Graph graph(shape);
    Machine machine(variant, 3);
    constexpr uint32_t kLength = 90;
    const uint32_t width = shape.heads * shape.v_width;
    const Rows mine(shape, kLength, 51), other(shape, kLength, 61);
    const Floats alone = feed(machine, graph, mine, {kLength}, BRIM_DTYPE_F16, 128);
    Options options;
    options.kv = BRIM_DTYPE_F16;
    options.n_blocks = 20;
    Program program(machine, graph.net, bucket_of(256, 4, 128), options);
    REQUIRE(program.create() == BRIM_OK);
    std::fill_n(program.at(graph.q), 256 * shape.heads * shape.k_width, std::nanf(""));
    give(program, graph, other, 0, 33, 0);
    give(program, graph, mine, 0, kLength, 33);
    give(program, graph, other, 0, 70, 33 + kLength);
    program.step({{33, 33, blocks_from(0, 2)}, {kLength, kLength, blocks_from(8, 3)}, {70, 70, blocks_from(3, 3)}});
    REQUIRE_MESSAGE(program.run() == BRIM_OK, machine.error.message);
    CHECK(same_bits(alone, Floats(program.at(graph.y) + 33 * width, program.at(graph.y) + (33 + kLength) * width)));
  }
}

TEST_CASE("a window's table may begin late, and the bits stay") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    const Shape shape{4, 2, 32, 32, 50};
    const Graph graph(shape);
    Machine machine(variant);
    constexpr uint32_t kLength = 700;
    const Rows rows(shape, kLength, 71);
    const Floats whole = feed(machine, graph, rows, {kLength}, BRIM_DTYPE_F32, 1024);
    Options options;
    options.n_blocks = 40;
    Program fill(machine, graph.net, bucket_of(1024, 1, 1024), options),
        decode(machine, graph.net, bucket_of(1, 1, 128), options, &fill);
    REQUIRE(fill.create() == BRIM_OK);
    REQUIRE(decode.create() == BRIM_OK);
    give(fill, graph, rows, 0, kLength - 1, 0);
    fill.step({{kLength - 1, kLength - 1, blocks_from(0, 22)}});
    REQUIRE(fill.run() == BRIM_OK);
    give(decode, graph, rows, kLength - 1, 1, 0);
    decode.step({{1, kLength, blocks_from(0, 22), 640}});
    REQUIRE_MESSAGE(decode.run() == BRIM_OK, machine.error.message);
    const uint32_t width = shape.heads * shape.v_width;
    CHECK(same_bits(Floats(whole.end() - width, whole.end()), decode.read(graph.y, width)));

    decode.step({{1, kLength, blocks_from(0, 22), 672}});  // the window begins at token 650
    CHECK(decode.run() == BRIM_INVALID_ARGUMENT);
  }
}

TEST_CASE("long contexts run in fewer, longer runs with the same bits for one thread and four, one row and three") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    const Shape shape{2, 1, 8, 8};
    const Graph graph(shape);
    constexpr uint32_t kLength = 9000, kWidth = 16;  // more than 32 chunks
    const Rows rows(shape, kLength, 81);
    const std::vector<uint32_t> blocks = blocks_from(0, 282);
    Floats past(rows.k);
    past.insert(past.end(), rows.v.begin(), rows.v.end());
    Floats results[4];
    for (uint32_t threads : {1u, 4u}) {
      Machine machine(variant, threads);
      Options options;
      options.kv = BRIM_DTYPE_F16;
      options.n_blocks = 282;
      Program wide(machine, graph.net, bucket_of(512, 1, 9216), options);
      Program decode(machine, graph.net, bucket_of(1, 1, 9216), options, &wide);
      REQUIRE(wide.create() == BRIM_OK);
      REQUIRE(decode.create() == BRIM_OK);
      REQUIRE(machine.backend->state_import(machine.queue, &graph.net.states[0], &wide.states()[0], blocks.data(), 0,
                                            kLength, BRIM_DTYPE_F32, past.data(), &machine.error) == BRIM_OK);
      give(wide, graph, rows, kLength - 3, 3, 0);
      wide.step({{3, kLength, blocks}});
      REQUIRE(wide.run() == BRIM_OK);
      results[threads / 4] = Floats(wide.at(graph.y) + 2 * kWidth, wide.at(graph.y) + 3 * kWidth);
      give(decode, graph, rows, kLength - 1, 1, 0);
      decode.step({{1, kLength, blocks}});
      REQUIRE(decode.run() == BRIM_OK);
      results[2 + threads / 4] = decode.read(graph.y, kWidth);
    }
    for (int i = 1; i < 4; ++i) CHECK(same_bits(results[0], results[i]));
  }
}

TEST_CASE("export and import reproduce the blocks") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    Machine machine(variant);
    for (uint32_t kv : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0}) {
      for (uint32_t canonical : {BRIM_DTYPE_F32, BRIM_DTYPE_F16}) {
        if (canonical == BRIM_DTYPE_F16 && kv != BRIM_DTYPE_F16) continue;
        CAPTURE(kv);
        const Shape shape{4, 2, 40, 72};
        const Graph graph(shape);
        constexpr uint32_t kLength = 70;
        Rows rows(shape, kLength, 91);
        for (size_t i = 0; i < 300; ++i) rows.k[i] *= 1e-6f;  // scales that F16 can hardly hold
        Options options;
        options.kv = kv;
        options.n_blocks = 8;
        Program program(machine, graph.net, bucket_of(128, 1, 128), options);
        REQUIRE(program.create() == BRIM_OK);
        give(program, graph, rows, 0, kLength, 0);
        const std::vector<uint32_t> blocks = blocks_from(1, 3);
        program.step({{kLength, kLength, blocks}});
        REQUIRE(program.run() == BRIM_OK);

        const brim_program_state& storage = program.states()[0];
        const uint64_t floats = kLength * shape.kv_heads * (shape.k_width + shape.v_width);
        Floats first(floats), second(floats);
        const auto exported = [&](Floats& out, const std::vector<uint32_t>& of) {
          REQUIRE(machine.backend->state_export(machine.queue, &graph.net.states[0], &storage, of.data(), 0, kLength,
                                                canonical, out.data(), &machine.error) == BRIM_OK);
        };
        exported(first, blocks);
        if (canonical == BRIM_DTYPE_F32) {
          const double tolerance = kv == BRIM_DTYPE_F32 ? 0.0 : kv == BRIM_DTYPE_F16 ? 1e-3 : 1e-2;
          Floats given = rows.k;
          given.insert(given.end(), rows.v.begin(), rows.v.end());
          CHECK(rms_error(first, given) <= tolerance);
        }
        // Into other blocks of a buffer of other bytes: what the tokens occupy must come out equal.
        brim_state_layout layout{};
        layout.struct_size = sizeof layout;
        machine.backend->state_layout(machine.device, &graph.net.states[0], kv, &layout, &machine.error);
        std::byte* bytes = machine.map(storage.buffer);
        const std::vector<uint32_t> others = {5, 6, 7};
        for (uint32_t i = 0; i < 3; ++i) {
          std::memcpy(bytes + others[i] * layout.block_bytes, bytes + blocks[i] * layout.block_bytes,
                      layout.block_bytes);
        }
        std::vector<std::byte> before(bytes + 5 * layout.block_bytes, bytes + 8 * layout.block_bytes);
        REQUIRE(machine.backend->state_import(machine.queue, &graph.net.states[0], &storage, others.data(), 0, kLength,
                                              canonical, first.data(), &machine.error) == BRIM_OK);
        CHECK(std::memcmp(before.data(), bytes + 5 * layout.block_bytes, before.size()) == 0);
        exported(second, others);
        CHECK(same_bits(first, second));

        const uint32_t wrong[] = {1, 2, 8};
        CHECK(machine.backend->state_export(machine.queue, &graph.net.states[0], &storage, wrong, 0, kLength, canonical,
                                            second.data(), &machine.error) == BRIM_INVALID_ARGUMENT);
      }
    }
  }
}
