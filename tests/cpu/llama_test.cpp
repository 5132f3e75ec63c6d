// A two-layer Llama by hand: embedding, grouped attention with rope, gated feed-forward, output rows picked before the
// last norm. Strict numerics against float64; both numerics for equal bits however the work is cut.
#include "net.hpp"
#include "ops/attention.hpp"
#include "ops/binary.hpp"
#include "ops/norm.hpp"
#include "ops/product.hpp"
#include "ops/rope.hpp"

using namespace cpu_test;
namespace reference = brim_cpu::reference;

namespace {

constexpr uint32_t kLayers = 2, kHeads = 4, kKvHeads = 2, kHead = 32, kWidth = kHeads * kHead, kInner = 352,
                   kVocabulary = 320;

brim_rope_attr rope_attr() {
  brim_rope_attr attr{};
  attr.pairing = BRIM_ROPE_ADJACENT;
  attr.n_rot = kHead;
  attr.base = 10000.0f;
  attr.freq_scale = 1.0f;
  attr.magnitude = 1.0f;
  return attr;
}

brim_norm_attr norm_attr() {
  brim_norm_attr attr{};
  attr.eps = 1e-5f;
  return attr;
}

// Q8_0: 32 elements, an F16 scale and 32 codes. Scales are powers of two here, so that the codes are easily decoded.
std::vector<uint8_t> quantise(Floats& values) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < values.size(); i += 32) {
    float most = 1e-10f;
    for (size_t j = 0; j < 32; ++j) most = std::max(most, std::fabs(values[i + j]));
    const int exponent = static_cast<int>(std::ceil(std::log2(most / 127)));
    const auto half = static_cast<uint16_t>((exponent + 15) << 10);
    bytes.push_back(static_cast<uint8_t>(half & 255));
    bytes.push_back(static_cast<uint8_t>(half >> 8));
    for (size_t j = 0; j < 32; ++j) {
      const auto code = static_cast<int8_t>(std::lround(std::ldexp(values[i + j], -exponent)));
      bytes.push_back(static_cast<uint8_t>(code));
      values[i + j] = std::ldexp(static_cast<float>(code), exponent);
    }
  }
  return bytes;
}

struct Layer {
  Floats attention_norm, q, k, v, o, feed_norm, gate, up, down;
};

struct Model {
  Net net;
  brim_value logits;
  Floats embedding = random_floats(kVocabulary * kWidth, 100), last_norm = random_floats(kWidth, 101), head;
  std::vector<Layer> layers;

  explicit Model(bool quantised) {
    uint32_t seed = 200;
    const auto matrix = [&](uint32_t rows, uint32_t columns, Floats& values) {
      values = random_floats(rows * columns, seed++, 1.0f / std::sqrt(static_cast<float>(columns)));
      if (!quantised) return net.weight({n(rows), n(columns)}, values);
      const std::vector<uint8_t> bytes = quantise(values);
      return net.weight({n(rows), n(columns)}, BRIM_DTYPE_Q8_0, bytes.data(), bytes.size());
    };
    const auto scales = [&](Floats& values) {
      values = random_floats(kWidth, seed++);
      return net.weight({n(kWidth)}, values);
    };
    const auto matmul = [&](brim_value w, brim_value x, const Dims& dims) {
      const brim_value y = net.temp(dims);
      net.node(BRIM_OP_MATMUL, {w, x}, {y});
      return y;
    };
    const auto norm = [&](brim_value x, brim_value w, const Dims& dims) {
      const brim_value y = net.temp(dims);
      net.node(BRIM_OP_RMS_NORM, {x, w}, {y}, norm_attr());
      return y;
    };
    const auto add = [&](brim_value a, brim_value b) {
      const brim_value y = net.temp({tokens(), n(kWidth)});
      brim_binary_attr attr{};
      attr.kind = BRIM_BINARY_ADD;
      net.node(BRIM_OP_BINARY, {a, b}, {y}, attr);
      return y;
    };
    const brim_value token = net.token(), position = net.position(), output_row = net.output_row();
    const auto heads = [&](brim_value x, uint32_t count) {  // [T, count * d] as [T, count, d]
      return net.view(x, {tokens(), n(count), n(kHead)}, {n(count * kHead), n(kHead), n(1)});
    };
    const auto rope = [&](brim_value x, uint32_t count) {
      const brim_value y = net.temp({tokens(), n(count), n(kHead)});
      net.node(BRIM_OP_ROPE, {x, position}, {y}, rope_attr());
      return y;
    };
    brim_value x = net.temp({tokens(), n(kWidth)});
    net.node(BRIM_OP_GATHER_ROWS, {net.weight({n(kVocabulary), n(kWidth)}, embedding), token}, {x});
    for (uint32_t l = 0; l < kLayers; ++l) {
      Layer layer;
      const brim_value normed = norm(x, scales(layer.attention_norm), {tokens(), n(kWidth)});
      const brim_value q = matmul(matrix(kWidth, kWidth, layer.q), normed, {tokens(), n(kWidth)});
      const brim_value k = matmul(matrix(kKvHeads * kHead, kWidth, layer.k), normed, {tokens(), n(kKvHeads * kHead)});
      const brim_value v = matmul(matrix(kKvHeads * kHead, kWidth, layer.v), normed, {tokens(), n(kKvHeads * kHead)});
      const brim_value state = net.state(kv_state(kKvHeads, kHead, kHead)), written = net.version(state);
      net.node(BRIM_OP_KV_WRITE, {state, rope(heads(k, kKvHeads), kKvHeads), heads(v, kKvHeads)}, {written});
      const brim_value attended = net.temp({tokens(), n(kHeads), n(kHead)});
      brim_attention_attr attr{};
      attr.n_head = kHeads;
      attr.n_head_kv = kKvHeads;
      attr.scale = 1.0f / std::sqrt(static_cast<float>(kHead));
      net.node(BRIM_OP_ATTENTION, {rope(heads(q, kHeads), kHeads), written}, {attended}, attr, BRIM_ATTENTION_CAUSAL);
      const brim_value flat = net.view(attended, {tokens(), n(kWidth)}, {n(kWidth), n(1)});
      x = add(x, matmul(matrix(kWidth, kWidth, layer.o), flat, {tokens(), n(kWidth)}));
      const brim_value fed = norm(x, scales(layer.feed_norm), {tokens(), n(kWidth)});
      const brim_value gate = matmul(matrix(kInner, kWidth, layer.gate), fed, {tokens(), n(kInner)});
      const brim_value up = matmul(matrix(kInner, kWidth, layer.up), fed, {tokens(), n(kInner)});
      const brim_value inner = net.temp({tokens(), n(kInner)});
      brim_glu_attr glu{};
      glu.kind = BRIM_GLU_SILU;
      net.node(BRIM_OP_GLU, {gate, up}, {inner}, glu);
      x = add(x, matmul(matrix(kWidth, kInner, layer.down), inner, {tokens(), n(kWidth)}));
      layers.push_back(layer);
    }
    const brim_value picked = net.temp({outputs(), n(kWidth)});
    net.node(BRIM_OP_GATHER_ROWS, {x, output_row}, {picked});
    const brim_value last = norm(picked, net.weight({n(kWidth)}, last_norm), {outputs(), n(kWidth)});
    logits = net.output({outputs(), n(kVocabulary)});
    net.node(BRIM_OP_MATMUL, {matrix(kVocabulary, kWidth, head), last}, {logits});
  }
};

// Logits [tokens, vocabulary] in float64, values between ops rounded to F32 as the contract has them.
std::vector<double> exact_logits(const Model& model, const std::vector<int32_t>& ids) {
  const auto rows = static_cast<int64_t>(ids.size());
  const auto floats = [](const std::vector<double>& v) { return Floats(v.begin(), v.end()); };
  const auto matmul = [&](const Floats& w, const Floats& x, int64_t out, int64_t in) {
    std::vector<double> y(rows * out);
    reference::matmul(w.data(), x.data(), nullptr, rows, out, in, y.data());
    return y;
  };
  const auto norm = [&](const std::vector<double>& x, const Floats& w) {
    std::vector<double> y(x.size());
    const Floats rounded = floats(x);
    for (int64_t t = 0; t < rows; ++t) {
      reference::rms_norm(rounded.data() + t * kWidth, w.data(), norm_attr(), kWidth, y.data() + t * kWidth);
    }
    return floats(y);
  };
  const auto rope = [&](const std::vector<double>& x, int64_t heads) {
    std::vector<double> y(x.size());
    const Floats rounded = floats(x);
    for (int64_t r = 0; r < rows * heads; ++r) {
      reference::rope(rounded.data() + r * kHead, rope_attr(), false, nullptr, static_cast<int32_t>(r / heads), kHead,
                      y.data() + r * kHead);
    }
    return floats(y);
  };
  std::vector<double> x;
  for (int32_t id : ids)
    x.insert(x.end(), model.embedding.begin() + id * kWidth, model.embedding.begin() + (id + 1) * kWidth);
  for (const Layer& layer : model.layers) {
    const Floats normed = norm(x, layer.attention_norm);
    const Floats q = rope(matmul(layer.q, normed, kWidth, kWidth), kHeads);
    const Floats k = rope(matmul(layer.k, normed, kKvHeads * kHead, kWidth), kKvHeads);
    const Floats v = floats(matmul(layer.v, normed, kKvHeads * kHead, kWidth));
    std::vector<double> attended(rows * kWidth);
    for (int64_t h = 0; h < kHeads; ++h) {
      Floats keys, values;
      for (int64_t t = 0; t < rows; ++t) {
        const int64_t at = (t * kKvHeads + h / (kHeads / kKvHeads)) * kHead;
        keys.insert(keys.end(), k.begin() + at, k.begin() + at + kHead);
        values.insert(values.end(), v.begin() + at, v.begin() + at + kHead);
        reference::attention(q.data() + (t * kHeads + h) * kHead, keys.data(), values.data(), t + 1, kHead, kHead,
                             1.0f / std::sqrt(static_cast<float>(kHead)), 0,
                             attended.data() + (t * kHeads + h) * kHead);
      }
    }
    const auto o = matmul(layer.o, floats(attended), kWidth, kWidth);
    for (size_t i = 0; i < x.size(); ++i) x[i] += o[i];
    const Floats fed = norm(x, layer.feed_norm);
    const auto gate = matmul(layer.gate, fed, kInner, kWidth), up = matmul(layer.up, fed, kInner, kWidth);
    std::vector<double> inner(gate.size());
    brim_glu_attr glu{};
    glu.kind = BRIM_GLU_SILU;
    for (size_t i = 0; i < inner.size(); ++i) inner[i] = reference::glu(glu, gate[i], up[i]);
    const auto down = matmul(layer.down, floats(inner), kWidth, kInner);
    for (size_t i = 0; i < x.size(); ++i) x[i] += down[i];
  }
  return matmul(model.head, norm(x, model.last_norm), kVocabulary, kWidth);
}

std::vector<int32_t> some_tokens(uint32_t count, uint32_t seed) {
  std::vector<int32_t> ids(count);
  for (uint32_t i = 0; i < count; ++i) ids[i] = static_cast<int32_t>((i * 37 + seed * 101) % kVocabulary);
  return ids;
}

// Logits of all tokens of one sequence, fed in the given steps, beside another sequence if `company`.
Floats generate(Machine& machine, const Model& model, const std::vector<int32_t>& ids,
                const std::vector<uint32_t>& steps, uint32_t numerics, uint32_t kv, bool company) {
  Options options;
  options.numerics = numerics;
  options.kv = kv;
  options.n_blocks = 12;
  Program wide(machine, model.net, bucket_of(128, 2, 128, 128), options);
  Program narrow(machine, model.net, bucket_of(2, 2, 128, 2), options, &wide);
  REQUIRE_MESSAGE(wide.create() == BRIM_OK, machine.error.message);
  REQUIRE_MESSAGE(narrow.create() == BRIM_OK, machine.error.message);
  const std::vector<int32_t> others = some_tokens(128, 9);
  Floats all;
  uint32_t seen = 0;
  for (uint32_t step : steps) {
    const uint32_t company_rows = !company ? 0 : step == 1 ? 1 : 7, before = company_rows;
    Program& program = step + company_rows <= 2 ? narrow : wide;
    std::vector<int32_t> fed(others.begin(), others.begin() + before);
    fed.insert(fed.end(), ids.begin() + seen, ids.begin() + seen + step);
    seen += step;
    std::vector<Sequence> sequences;
    if (company) sequences.push_back({company_rows, company_rows, {10, 3}});
    sequences.push_back({step, seen, {7, 2, 5, 0}});
    std::vector<int32_t> rows;
    for (uint32_t i = 0; i < step; ++i) rows.push_back(static_cast<int32_t>(before + i));
    program.step(sequences, fed, rows);
    REQUIRE_MESSAGE(program.run() == BRIM_OK, machine.error.message);
    all.insert(all.end(), program.at(model.logits), program.at(model.logits) + step * kVocabulary);
  }
  return all;
}

}  // namespace

TEST_CASE("a Llama in strict numerics agrees with float64") {
  const std::vector<int32_t> ids = some_tokens(50, 1);
  for (bool quantised : {false, true}) {
    const Model model(quantised);
    const std::vector<double> expected = exact_logits(model, ids);
    for (const Variant& variant : variants()) {
      CAPTURE(variant.name);
      Machine machine(variant);
      const Floats got = generate(machine, model, ids, {50}, BRIM_NUMERICS_STRICT, BRIM_DTYPE_F32, false);
      CHECK(rms_error(got, expected) < 3e-6);
      if (!quantised) continue;
      const Floats fast = generate(machine, model, ids, {50}, BRIM_NUMERICS_FAST, BRIM_DTYPE_F16, false);
      CHECK(rms_error(fast, expected) < 3e-2);
      CHECK(rms_error(fast, expected) > 1e-5);
    }
  }
}

TEST_CASE("a Llama's logits are the same bits whole, token by token, in company, on one to four threads") {
  const std::vector<int32_t> ids = some_tokens(75, 2);
  const Model model(true);
  for (const Variant& variant : variants()) {
    for (uint32_t numerics : {BRIM_NUMERICS_FAST, BRIM_NUMERICS_STRICT}) {
      for (uint32_t kv : {BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0}) {
        CAPTURE(variant.name);
        CAPTURE(numerics);
        CAPTURE(kv);
        Machine one(variant, 1);
        const Floats whole = generate(one, model, ids, {75}, numerics, kv, false);
        for (uint32_t threads = 1; threads <= 4; ++threads) {
          CAPTURE(threads);
          Machine machine(variant, threads);
          CHECK(same_bits(whole, generate(machine, model, ids, {75}, numerics, kv, false)));
          CHECK(same_bits(whole, generate(machine, model, ids, {31, 1, 2, 41}, numerics, kv, true)));
          CHECK(same_bits(whole,
                          generate(machine, model, ids, std::vector<uint32_t>(75, 1), numerics, kv, threads % 2 == 0)));
        }
      }
    }
  }
}
