// CAUSAL_CONV1D and LINEAR_ATTENTION against float64; the promise that neither the chunking of a prompt nor company nor
// the team changes a bit; what slots they read and write. And the attention of latent states and with sinks.
#include <algorithm>

#include "net.hpp"

using namespace cpu_test;

namespace {

brim_state_desc slots(uint32_t kind, uint64_t elements) {
  brim_state_desc state{};
  state.struct_size = sizeof state;
  state.kind = kind;
  state.elements = elements;
  return state;
}

// A convolution whose output, cut into q, k and v, feeds a gated delta rule.
struct Recurrent {
  static constexpr uint32_t kKeyHeads = 2, kHeads = 4, kWidth = 20, kValues = 37, kTaps = 4;
  static constexpr uint32_t kChannels = 2 * kKeyHeads * kWidth + kHeads * kValues;
  Net net;
  brim_value x, decay, beta, mixed, y;
  Floats weight = random_floats(kChannels * kTaps, 1, 0.6f), bias = random_floats(kChannels, 2, 0.3f);
  bool modulo;

  explicit Recurrent(bool heads_modulo) : modulo(heads_modulo) {
    x = net.embedding({tokens(), n(kChannels)});
    decay = net.embedding({tokens(), n(kHeads)});
    beta = net.embedding({tokens(), n(kHeads)});
    const brim_value conv = net.state(slots(BRIM_STATE_CONV, (kTaps - 1) * kChannels));
    const brim_value matrix = net.state(slots(BRIM_STATE_RECURRENT, kHeads * kWidth * kValues));
    mixed = net.output({tokens(), n(kChannels)});
    brim_conv1d_attr conv_attr{};
    conv_attr.activation = BRIM_UNARY_SILU;
    net.node(BRIM_OP_CAUSAL_CONV1D,
             {x, conv, net.weight({n(kChannels), n(kTaps)}, weight), net.weight({n(kChannels)}, bias)},
             {mixed, net.version(conv)}, conv_attr, BRIM_CONV1D_BIAS);
    const auto part = [&](uint32_t heads, uint32_t width, uint32_t offset) {
      return net.view(mixed, {tokens(), n(heads), n(width)}, {n(kChannels), n(width), n(1)}, offset);
    };
    y = net.output({tokens(), n(kHeads), n(kValues)});
    brim_linear_attention_attr attr{};
    attr.scale = 0.25f;
    net.node(BRIM_OP_LINEAR_ATTENTION,
             {part(kKeyHeads, kWidth, 0), part(kKeyHeads, kWidth, kKeyHeads * kWidth),
              part(kHeads, kValues, 2 * kKeyHeads * kWidth), decay, beta, matrix},
             {y, net.version(matrix)}, attr,
             BRIM_LINEAR_DECAY | BRIM_LINEAR_DELTA | (modulo ? BRIM_LINEAR_HEADS_MODULO : 0));
  }
};

struct Given {
  Floats x, decay, beta;
  Given(uint32_t length, uint32_t seed)
      : x(random_floats(length * Recurrent::kChannels, seed, 0.5f)),
        decay(random_floats(length * Recurrent::kHeads, seed + 1, 0.2f)),
        beta(random_floats(length * Recurrent::kHeads, seed + 2, 0.5f)) {
    for (float& d : decay) d = -std::fabs(d);
  }
};

void give(Program& program, const Recurrent& graph, const Given& given, uint32_t from, uint32_t count, uint32_t at) {
  const auto copy = [&](brim_value to, const Floats& all, uint32_t width) {
    std::copy_n(all.begin() + from * width, count * width, program.at(to) + at * width);
  };
  copy(graph.x, given.x, Recurrent::kChannels);
  copy(graph.decay, given.decay, Recurrent::kHeads);
  copy(graph.beta, given.beta, Recurrent::kHeads);
}

// Outputs of one sequence fed in steps of these sizes, its state going to and fro between slots 1 and 2.
Floats feed(Machine& machine, const Recurrent& graph, const Given& given, const std::vector<uint32_t>& steps) {
  Options options;
  options.n_blocks = 3;
  Program program(machine, graph.net, bucket_of(64), options);
  REQUIRE_MESSAGE(program.create() == BRIM_OK, machine.error.message);
  Floats all;
  uint32_t at = 0;
  int32_t slot = -1;
  for (const uint32_t count : steps) {
    give(program, graph, given, at, count, 0);
    Sequence sequence{count, at + count, {}};
    sequence.state_read = slot;
    sequence.state_write = slot = slot == 1 ? 2 : 1;
    program.step({sequence});
    REQUIRE_MESSAGE(program.run() == BRIM_OK, machine.error.message);
    const Floats rows = program.read(graph.y, count * Recurrent::kHeads * Recurrent::kValues);
    all.insert(all.end(), rows.begin(), rows.end());
    at += count;
  }
  return all;
}

// The definition of ops.h in float64.
std::vector<double> defined(const Recurrent& graph, const Given& given, uint32_t length) {
  using R = Recurrent;
  std::vector<double> state(R::kHeads * R::kWidth * R::kValues), out;
  for (uint32_t t = 0; t < length; ++t) {
    std::vector<double> mixed(R::kChannels);
    for (uint32_t c = 0; c < R::kChannels; ++c) {
      double sum = graph.bias[c];
      for (uint32_t j = 0; j < R::kTaps; ++j) {
        const int64_t row = int64_t{t} + j - (R::kTaps - 1);
        if (row >= 0)
          sum += double{graph.weight[c * R::kTaps + j]} * given.x[static_cast<size_t>(row) * R::kChannels + c];
      }
      mixed[c] = sum / (1 + std::exp(-sum));
    }
    for (uint32_t h = 0; h < R::kHeads; ++h) {
      const uint32_t key = graph.modulo ? h % R::kKeyHeads : h / (R::kHeads / R::kKeyHeads);
      const double* q = &mixed[key * R::kWidth];
      const double* k = &mixed[(R::kKeyHeads + key) * R::kWidth];
      const double* v = &mixed[2 * R::kKeyHeads * R::kWidth + h * R::kValues];
      double* s = &state[h * R::kWidth * R::kValues];
      const double kept = std::exp(double{given.decay[t * R::kHeads + h]}), beta = given.beta[t * R::kHeads + h];
      for (uint32_t j = 0; j < R::kValues; ++j) {
        double known = 0, y = 0;
        for (uint32_t i = 0; i < R::kWidth; ++i) known += (s[i * R::kValues + j] *= kept) * k[i];
        for (uint32_t i = 0; i < R::kWidth; ++i) y += (s[i * R::kValues + j] += k[i] * beta * (v[j] - known)) * q[i];
        out.push_back(0.25 * y);
      }
    }
  }
  return out;
}

}  // namespace

TEST_CASE("a convolution and a gated delta rule follow their definition") {
  for (const Variant& variant : variants()) {
    Machine machine(variant);
    for (const bool modulo : {false, true}) {
      const Recurrent graph(modulo);
      const Given given(50, 7);
      CHECK(rms_error(feed(machine, graph, given, {50}), defined(graph, given, 50)) < 2e-6);
    }
  }
}

TEST_CASE("chunks, company and threads change no bit of a recurrent row") {
  for (const Variant& variant : variants()) {
    const Recurrent graph(false);
    const Given given(50, 7), other(9, 20);
    Machine machine(variant);
    const Floats whole = feed(machine, graph, given, {50});
    CHECK(same_bits(feed(machine, graph, given, {1, 2, 3, 44}), whole));
    CHECK(same_bits(feed(machine, graph, given, std::vector<uint32_t>(50, 1)), whole));
    Machine alone(variant, 1);
    CHECK(same_bits(feed(alone, graph, given, {17, 33}), whole));

    // Beside another sequence, whose rows come first.
    Options options;
    options.n_blocks = 6;
    Program program(machine, graph.net, bucket_of(64, 2), options);
    REQUIRE(program.create() == BRIM_OK);
    give(program, graph, other, 0, 9, 0);
    give(program, graph, given, 0, 50, 9);
    Sequence first{9, 9, {}}, second{50, 50, {}};
    first.state_write = 5;
    second.state_write = 3;
    program.step({first, second});
    REQUIRE(program.run() == BRIM_OK);
    const uint32_t row = Recurrent::kHeads * Recurrent::kValues;
    const Floats both = program.read(graph.y, 59 * row);
    CHECK(same_bits(Floats(both.begin() + 9 * row, both.end()), whole));
    CHECK(same_bits(Floats(both.begin(), both.begin() + 9 * row), feed(machine, graph, other, {9})));
  }
}

TEST_CASE("only the slot to write changes, and slots outside of the state are refused") {
  Machine machine(variants().front());
  const Recurrent graph(false);
  const Given given(8, 3);
  Options options;
  options.n_blocks = 4;
  Program program(machine, graph.net, bucket_of(16), options);
  REQUIRE(program.create() == BRIM_OK);
  give(program, graph, given, 0, 8, 0);
  const auto with = [&](int32_t read, int32_t write) {
    Sequence sequence{8, 8, {}};
    sequence.state_read = read;
    sequence.state_write = write;
    program.step({sequence});
    return program.run();
  };
  REQUIRE(with(-1, 0) == BRIM_OK);
  const auto bytes = [&] {
    std::vector<std::vector<std::byte>> all;
    for (const brim_program_state& state : program.states()) {
      brim_state_layout layout{};
      layout.struct_size = sizeof layout;
      REQUIRE(machine.backend->state_layout(machine.device, &graph.net.states[state.state], BRIM_DTYPE_F32, &layout,
                                            &machine.error) == BRIM_OK);
      for (uint32_t slot = 0; slot < 4; ++slot) {
        const std::byte* at = machine.map(state.buffer) + slot * layout.block_bytes;
        all.emplace_back(at, at + graph.net.states[state.state].elements * sizeof(float));
      }
    }
    return all;
  };
  const auto before = bytes();
  REQUIRE(with(0, 2) == BRIM_OK);
  auto after = bytes();
  CHECK(after[2] != before[2]);
  CHECK(after[6] != before[6]);
  after[2] = before[2];
  after[6] = before[6];
  CHECK(after == before);
  REQUIRE(with(0, -1) == BRIM_OK);  // leaves no trace
  CHECK(with(0, 4) == BRIM_INVALID_ARGUMENT);
  CHECK(with(4, 0) == BRIM_INVALID_ARGUMENT);
  CHECK(with(1, 1) == BRIM_INVALID_ARGUMENT);

  // What one state exports another imports: the next step is the same.
  const brim_program_state& state = program.states()[1];
  Floats values(graph.net.states[1].elements);
  const uint32_t from = 0, to = 3;
  REQUIRE(machine.backend->state_export(machine.queue, &graph.net.states[1], &state, &from, 0, 0, BRIM_DTYPE_F32,
                                        values.data(), &machine.error) == BRIM_OK);
  REQUIRE(machine.backend->state_import(machine.queue, &graph.net.states[1], &state, &to, 0, 0, BRIM_DTYPE_F32,
                                        values.data(), &machine.error) == BRIM_OK);
  CHECK(bytes()[7] == bytes()[4]);
}

TEST_CASE("latent attention reads its values from K, and a sink takes its share, in every storage dtype") {
  constexpr uint32_t kHeads = 5, kWidth = 40, kValues = 24, kLength = 300;
  for (const Variant& variant : variants()) {
    for (const uint32_t dtype : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0}) {
      Machine machine(variant);
      Net net;
      const brim_value q = net.embedding({tokens(), n(kHeads), n(kWidth)});
      const brim_value k = net.embedding({tokens(), n(1), n(kWidth)});
      brim_state_desc latent = kv_state(1, kWidth, 0);
      latent.kind = BRIM_STATE_KV_LATENT;
      const brim_value state = net.state(latent), written = net.version(state);
      net.node(BRIM_OP_KV_WRITE, {state, k, 0}, {written});
      const Floats sinks = random_floats(kHeads, 4, 2);
      const brim_value y = net.output({tokens(), n(kHeads), n(kValues)});
      brim_attention_attr attr{};
      attr.n_head = kHeads;
      attr.n_head_kv = 1;
      attr.scale = 0.2f;
      attr.v_width = kValues;
      net.node(BRIM_OP_ATTENTION, {q, written, net.weight({n(kHeads)}, sinks)}, {y}, attr,
               BRIM_ATTENTION_CAUSAL | BRIM_ATTENTION_SINKS | BRIM_ATTENTION_V_FROM_K);
      const Floats queries = random_floats(kLength * kHeads * kWidth, 5), keys = random_floats(kLength * kWidth, 6);
      std::vector<uint32_t> blocks;
      for (uint32_t i = 0; i < 10; ++i) blocks.push_back(9 - i);
      Options options;
      options.kv = dtype;
      options.n_blocks = 10;
      Program program(machine, net, bucket_of(kLength, 1, 320), options);
      REQUIRE_MESSAGE(program.create() == BRIM_OK, machine.error.message);
      const auto feed_in = [&](const std::vector<uint32_t>& steps) {
        Floats all;
        uint32_t at = 0;
        for (const uint32_t count : steps) {
          std::copy_n(queries.begin() + at * kHeads * kWidth, count * kHeads * kWidth, program.at(q));
          std::copy_n(keys.begin() + at * kWidth, count * kWidth, program.at(k));
          at += count;
          program.step({{count, at, blocks}});
          REQUIRE_MESSAGE(program.run() == BRIM_OK, machine.error.message);
          const Floats rows = program.read(y, count * kHeads * kValues);
          all.insert(all.end(), rows.begin(), rows.end());
        }
        return all;
      };
      const Floats whole = feed_in({kLength});
      CHECK(same_bits(feed_in({100, 1, 1, 198}), whole));
      std::vector<double> exact;
      for (uint32_t t = 0; t < kLength; ++t) {
        for (uint32_t h = 0; h < kHeads; ++h) {
          double total = std::exp(double{sinks[h]});
          std::vector<double> sum(kValues);
          for (uint32_t s = 0; s <= t; ++s) {
            double score = 0;
            for (uint32_t i = 0; i < kWidth; ++i) {
              score += double{queries[(t * kHeads + h) * kWidth + i]} * keys[s * kWidth + i];
            }
            const double weight = std::exp(score * double{attr.scale});
            total += weight;
            for (uint32_t i = 0; i < kValues; ++i) sum[i] += weight * keys[s * kWidth + i];
          }
          for (const double v : sum) exact.push_back(v / total);
        }
      }
      CHECK(rms_error(whole, exact) < (dtype == BRIM_DTYPE_F32 ? 2e-6 : dtype == BRIM_DTYPE_F16 ? 1e-3 : 2e-2));
    }
  }
}
