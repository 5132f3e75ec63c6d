// Single ops through one-node programs, against the float64 references that stand beside the kernels.
#include <algorithm>
#include <limits>

#include "net.hpp"
#include "ops/binary.hpp"
#include "ops/norm.hpp"
#include "ops/product.hpp"
#include "ops/rope.hpp"
#include "ops/rows.hpp"
#include "ops/select.hpp"

using namespace cpu_test;
namespace reference = brim_cpu::reference;

namespace {

template <class Test>
void on_every_variant(Test&& test) {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    Machine machine(variant);
    test(machine);
  }
}

// Distance in units of the last place of the exact value.
double ulps(float got, double exact) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : 1e30;
  const auto rounded = static_cast<float>(exact);
  if (got == rounded) return 0;
  if (std::isinf(rounded) || std::isinf(got)) return 1e30;
  const float size = std::fabs(rounded);
  const double unit = static_cast<double>(std::nextafter(size, std::numeric_limits<float>::infinity())) - size;
  return std::fabs(got - exact) / unit;
}

struct Compiled {
  Program program;
  Compiled(Machine& machine, const Net& net, brim_bucket bucket, Options options = {})
      : program(machine, net, bucket, options) {
    const brim_status status = program.create();
    REQUIRE_MESSAGE(status == BRIM_OK, machine.error.message);
    CHECK(static_cast<int64_t>(program.cost.persistent) == program.held);
  }
};

}  // namespace

TEST_CASE("unary functions are within a few ulp, in every lane and tail") {
  // 4 ulp (ops.h, STRICT); compositions like silu add the roundings of their steps.
  on_every_variant([](Machine& machine) {
    for (uint32_t kind = BRIM_UNARY_NEG; kind <= BRIM_UNARY_FLOOR; ++kind) {
      CAPTURE(kind);
      constexpr uint32_t kWidth = 4099;  // several pieces and a tail
      Net net;
      const brim_value x = net.embedding({tokens(), n(kWidth)});
      const brim_value y = net.output({tokens(), n(kWidth)});
      brim_unary_attr attr{};
      attr.kind = kind;
      net.node(BRIM_OP_UNARY, {x}, {y}, attr);
      Compiled compiled(machine, net, bucket_of(3));
      Floats values = random_floats(2 * kWidth, kind, 4);
      const bool positive = kind == BRIM_UNARY_SQRT || kind == BRIM_UNARY_RSQRT || kind == BRIM_UNARY_LOG;
      for (size_t i = 0; i < values.size(); ++i) {
        if (positive) values[i] = std::fabs(values[i]);
        if (kind == BRIM_UNARY_EXP && i < 2000) values[i] = static_cast<float>(i) * 0.1f - 105.0f;
        if (kind == BRIM_UNARY_TANH && i < 2000) values[i] = static_cast<float>(i) * 0.001f - 1.0f;
      }
      values[5] = std::numeric_limits<float>::quiet_NaN();
      std::copy(values.begin(), values.end(), compiled.program.at(x));
      compiled.program.run_rows(2);
      const double limit = kind == BRIM_UNARY_EXP ? 2 : kind <= BRIM_UNARY_SIGMOID ? 4 : 8;
      double worst = 0;
      float worst_at = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        const double exact = reference::unary(kind, values[i]);
        const float got = compiled.program.at(y)[i];
        // A product whose other factor has all but vanished is judged by the size of x.
        const bool product = kind == BRIM_UNARY_SILU || kind == BRIM_UNARY_GELU_TANH || kind == BRIM_UNARY_GELU_QUICK;
        const double beside_x = std::fabs(got - exact) / (std::fabs(values[i]) * 0x1p-24);
        const double off = product ? std::min(ulps(got, exact), beside_x) : ulps(got, exact);
        if (off <= worst) continue;
        worst = off;
        worst_at = values[i];
      }
      CAPTURE(worst_at);
      CHECK(worst <= limit);
    }
  });
}

TEST_CASE("exp reaches its limits exactly") {
  on_every_variant([](Machine& machine) {
    Net net;
    const brim_value x = net.embedding({tokens(), n(6)});
    const brim_value y = net.output({tokens(), n(6)});
    brim_unary_attr attr{};
    attr.kind = BRIM_UNARY_EXP;
    net.node(BRIM_OP_UNARY, {x}, {y}, attr);
    Compiled compiled(machine, net, bucket_of(1));
    const float inf = std::numeric_limits<float>::infinity();
    const Floats values = {0.0f, -0.0f, inf, -inf, 1000.0f, -1000.0f};
    std::copy(values.begin(), values.end(), compiled.program.at(x));
    compiled.program.run_rows(1);
    const Floats expected = {1.0f, 1.0f, inf, 0.0f, inf, 0.0f};
    CHECK(compiled.program.read(y, 6) == expected);
  });
}

TEST_CASE("binary ops broadcast like NumPy and read views with outer strides") {
  on_every_variant([](Machine& machine) {
    for (uint32_t kind = BRIM_BINARY_ADD; kind <= BRIM_BINARY_POW; ++kind) {
      CAPTURE(kind);
      Net net;
      const brim_value whole = net.embedding({tokens(), n(2), n(37)});
      const brim_value a =
          net.view(whole, {tokens(), n(1), n(37)}, {n(74), n(37), n(1)}, 37);  // the second of each pair
      const Floats row = random_floats(5, 3), column = random_floats(37, 4);
      const brim_value b = net.weight({n(5), n(1)}, row);
      const brim_value c = net.weight({n(37)}, column);
      const brim_value ab = net.temp({tokens(), n(5), n(37)});
      const brim_value y = net.output({tokens(), n(5), n(37)});
      brim_binary_attr attr{};
      attr.kind = kind;
      net.node(BRIM_OP_BINARY, {a, b}, {ab}, attr);
      attr.kind = BRIM_BINARY_ADD;
      net.node(BRIM_OP_BINARY, {ab, c}, {y}, attr);
      Compiled compiled(machine, net, bucket_of(4));
      const Floats values = random_floats(3 * 74, 5);
      std::copy(values.begin(), values.end(), compiled.program.at(whole));
      compiled.program.run_rows(3);
      for (int t = 0; t < 3; ++t) {
        for (int i = 0; i < 5; ++i) {
          for (int j = 0; j < 37; ++j) {
            const auto first = static_cast<float>(reference::binary(kind, values[t * 74 + 37 + j], row[i]));
            const float expected = first + column[j], got = compiled.program.at(y)[(t * 5 + i) * 37 + j];
            CHECK((got == expected || (std::isnan(got) && std::isnan(expected))));
          }
        }
      }
    }
  });
}

TEST_CASE("max and min let a NaN through from either side") {
  on_every_variant([](Machine& machine) {
    for (uint32_t kind : {BRIM_BINARY_MAX, BRIM_BINARY_MIN}) {
      Net net;
      const brim_value a = net.embedding({tokens(), n(2)});
      const float nan = std::numeric_limits<float>::quiet_NaN();
      const brim_value b = net.weight({n(2)}, Floats{1.0f, nan});
      const brim_value y = net.output({tokens(), n(2)});
      brim_binary_attr attr{};
      attr.kind = kind;
      net.node(BRIM_OP_BINARY, {a, b}, {y}, attr);
      Compiled compiled(machine, net, bucket_of(1));
      compiled.program.at(a)[0] = nan;
      compiled.program.at(a)[1] = 1.0f;
      compiled.program.run_rows(1);
      CHECK(std::isnan(compiled.program.at(y)[0]));
      CHECK(std::isnan(compiled.program.at(y)[1]));
    }
  });
}

TEST_CASE("affine, glu, norm and softmax agree with float64") {
  on_every_variant([](Machine& machine) {
    constexpr uint32_t kWidth = 83;
    Net net;
    const brim_value x = net.embedding({tokens(), n(2 * kWidth)});
    const brim_value gate = net.view(x, {tokens(), n(kWidth)}, {n(2 * kWidth), n(1)});
    const Floats scale = random_floats(kWidth, 8);
    const brim_value weight = net.weight({n(kWidth)}, scale);
    brim_affine_attr affine{};
    affine.scale = 3.0f;
    affine.bias = 0.5f;
    affine.lo = -2.0f;
    affine.hi = 4.0f;
    affine.cap = 5.0f;
    const brim_value capped = net.output({tokens(), n(kWidth)});
    net.node(BRIM_OP_AFFINE_CLAMP, {gate}, {capped}, affine, BRIM_AFFINE_SOFTCAP);
    brim_norm_attr norm{};
    norm.eps = 1e-5f;
    norm.weight_offset = 1.0f;
    const brim_value normed = net.output({tokens(), n(kWidth)});
    net.node(BRIM_OP_RMS_NORM, {gate, weight}, {normed}, norm);
    brim_softmax_attr softmax{};
    softmax.scale = 0.7f;
    const brim_value shares = net.output({tokens(), n(kWidth)});
    net.node(BRIM_OP_SOFTMAX, {gate, capped}, {shares}, softmax);
    std::vector<brim_value> glued;
    for (uint32_t kind = BRIM_GLU_SILU; kind <= BRIM_GLU_SWIGLU_LIMIT; ++kind) {
      brim_glu_attr glu{};
      glu.kind = kind;
      glu.alpha = 1.7f;
      glu.limit = 1.5f;
      glued.push_back(net.output({tokens(), n(kWidth)}));
      net.node(BRIM_OP_GLU, {x}, {glued.back()}, glu);
    }
    Compiled compiled(machine, net, bucket_of(4));
    const Floats values = random_floats(3 * 2 * kWidth, 9, 2);
    std::copy(values.begin(), values.end(), compiled.program.at(x));
    compiled.program.run_rows(3);
    for (int t = 0; t < 3; ++t) {
      const float* row = values.data() + t * 2 * kWidth;
      std::vector<double> expected(kWidth);
      const auto got = [&](brim_value v) { return compiled.program.at(v) + t * kWidth; };
      for (uint32_t i = 0; i < kWidth; ++i) expected[i] = reference::affine_clamp(row[i], affine, true);
      CHECK(rms_error(Floats(got(capped), got(capped) + kWidth), expected) < 2e-7);
      reference::rms_norm(row, scale.data(), norm, kWidth, expected.data());
      CHECK(rms_error(Floats(got(normed), got(normed) + kWidth), expected) < 2e-7);
      reference::softmax(row, got(capped), softmax.scale, kWidth, expected.data());
      CHECK(rms_error(Floats(got(shares), got(shares) + kWidth), expected) < 5e-7);
      for (uint32_t kind = BRIM_GLU_SILU; kind <= BRIM_GLU_SWIGLU_LIMIT; ++kind) {
        CAPTURE(kind);
        brim_glu_attr glu{};
        glu.kind = kind;
        glu.alpha = 1.7f;
        glu.limit = 1.5f;
        for (uint32_t i = 0; i < kWidth; ++i) expected[i] = reference::glu(glu, row[i], row[kWidth + i]);
        const brim_value v = glued[kind - 1];
        CHECK(rms_error(Floats(got(v), got(v) + kWidth), expected) < 3e-7);
      }
    }
  });
}

TEST_CASE("gather reads tables in pieces and gives zeros outside; scatter keeps the index's order") {
  on_every_variant([](Machine& machine) {
    {
      const Floats table = random_floats(7 * 5, 10);
      Net net;
      const brim_value picked = net.output({n(3), n(5)});
      net.node(BRIM_OP_GATHER_ROWS,
               {net.weight({n(7), n(5)}, table), net.weight({n(3)}, std::vector<int32_t>{6, 2, 0})}, {picked});
      Options options;
      options.pieces = 3;
      Compiled compiled(machine, net, bucket_of(1), options);
      compiled.program.run_rows(1);
      for (int i = 0; i < 5; ++i) {
        CHECK(compiled.program.at(picked)[i] == table[6 * 5 + i]);
        CHECK(compiled.program.at(picked)[5 + i] == table[2 * 5 + i]);
        CHECK(compiled.program.at(picked)[10 + i] == table[i]);
      }
    }
    const Floats table = random_floats(7 * 5, 11), added = random_floats(6 * 5, 12);
    const std::vector<int32_t> index = {6, -1, 0, 7, 3, 6};
    Net net;
    const brim_value rows = net.weight({n(7), n(5)}, table);
    const brim_value at = net.weight({n(6)}, index);
    const brim_value picked = net.output({n(6), n(5)});
    net.node(BRIM_OP_GATHER_ROWS, {rows, at}, {picked});
    const brim_value into = net.weight({n(7), n(5)}, table);
    const brim_value x = net.weight({n(6), n(5)}, added);
    const brim_value sum = net.output({n(7), n(5)});
    const brim_value set = net.output({n(7), n(5)});
    brim_scatter_attr scatter{};
    scatter.mode = BRIM_SCATTER_ADD;
    net.node(BRIM_OP_SCATTER_ROWS, {into, x, at}, {sum}, scatter);
    scatter.mode = BRIM_SCATTER_SET;
    net.node(BRIM_OP_SCATTER_ROWS, {into, x, at}, {set}, scatter);
    Compiled compiled(machine, net, bucket_of(1));
    compiled.program.run_rows(1);
    Floats expected(6 * 5, 0.0f);
    for (int i = 0; i < 6; ++i) {
      if (index[i] >= 0 && index[i] < 7) std::copy_n(table.begin() + index[i] * 5, 5, expected.begin() + i * 5);
    }
    CHECK(compiled.program.read(picked, 30) == expected);
    Floats summed = table, replaced = table;
    reference::scatter_rows(BRIM_SCATTER_ADD, added.data(), index.data(), 6, 7, 5, summed.data());
    reference::scatter_rows(BRIM_SCATTER_SET, added.data(), index.data(), 6, 7, 5, replaced.data());
    CHECK(compiled.program.read(sum, 35) == summed);
    CHECK(compiled.program.read(set, 35) == replaced);
  });
}

TEST_CASE("copy converts, transposes and quantises") {
  on_every_variant([](Machine& machine) {
    const Floats values = random_floats(3 * 64, 13);
    Net net;
    const brim_value x = net.weight({n(3), n(64)}, values);
    const brim_value transposed = net.view(x, {n(64), n(3)}, {n(1), n(64)});
    const auto copied = [&](brim_value from, const Dims& dims, uint32_t dtype, uint32_t kind = BRIM_VALUE_OUTPUT) {
      const brim_value to = net.add(kind, BRIM_OUTPUT_HIDDEN, dtype, dims);
      brim_copy_attr attr{};
      attr.dtype = dtype;
      net.node(BRIM_OP_COPY, {from}, {to}, attr);
      return to;
    };
    const brim_value turned = copied(transposed, {n(64), n(3)}, BRIM_DTYPE_F32);
    const brim_value half = copied(x, {n(3), n(64)}, BRIM_DTYPE_F16, BRIM_VALUE_TEMP);
    const brim_value back = copied(half, {n(3), n(64)}, BRIM_DTYPE_F32);
    const brim_value coded = copied(x, {n(3), n(64)}, BRIM_DTYPE_Q8_0, BRIM_VALUE_TEMP);
    const brim_value decoded = copied(coded, {n(3), n(64)}, BRIM_DTYPE_F32);
    const brim_value whole = copied(x, {n(3), n(64)}, BRIM_DTYPE_I32, BRIM_VALUE_TEMP);
    const brim_value truncated = copied(whole, {n(3), n(64)}, BRIM_DTYPE_F32);
    Compiled compiled(machine, net, bucket_of(1));
    compiled.program.run_rows(1);
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 64; ++j) {
        CHECK(compiled.program.at(turned)[j * 3 + i] == values[i * 64 + j]);
        CHECK(compiled.program.at(truncated)[i * 64 + j] == std::trunc(values[i * 64 + j]));
      }
    }
    CHECK(rms_error(compiled.program.read(back, 192), values) < 5e-4);
    CHECK(rms_error(compiled.program.read(back, 192), values) > 0);
    CHECK(rms_error(compiled.program.read(decoded, 192), values) < 1e-2);
  });
}

TEST_CASE("argmax and top-k order by value, then index, NaN last") {
  on_every_variant([](Machine& machine) {
    constexpr uint32_t kWidth = 300, kTop = 40;
    Net net;
    const brim_value x = net.embedding({tokens(), n(kWidth)});
    const brim_value best = net.output({tokens()}, BRIM_DTYPE_I32);
    const brim_value values = net.output({tokens(), n(kTop)});
    const brim_value index = net.output({tokens(), n(kTop)}, BRIM_DTYPE_I32);
    net.node(BRIM_OP_ARGMAX, {x}, {best});
    brim_topk_attr attr{};
    attr.k = kTop;
    net.node(BRIM_OP_TOPK, {x}, {values, index}, attr);
    Compiled compiled(machine, net, bucket_of(2));
    Floats rows = random_floats(2 * kWidth, 17);
    for (float& v : rows) v = std::round(v * 4) / 4;  // many equal values
    rows[0] = std::numeric_limits<float>::quiet_NaN();
    std::copy(rows.begin(), rows.end(), compiled.program.at(x));
    compiled.program.run_rows(2);
    for (int t = 0; t < 2; ++t) {
      const float* row = rows.data() + t * kWidth;
      std::vector<int32_t> order(kWidth);
      for (uint32_t i = 0; i < kWidth; ++i) order[i] = static_cast<int32_t>(i);
      std::sort(order.begin(), order.end(),
                [&](int32_t a, int32_t b) { return brim_cpu::ranks_before(row[a], a, row[b], b); });
      CHECK(compiled.program.at<int32_t>(best)[t] == order[0]);
      for (uint32_t i = 0; i < kTop; ++i) {
        CHECK(compiled.program.at<int32_t>(index)[t * kTop + i] == order[i]);
        CHECK(compiled.program.at(values)[t * kTop + i] == row[order[i]]);
      }
    }
  });
}

TEST_CASE("rope rotates pairs of both kinds, with factors and YaRN") {
  on_every_variant([](Machine& machine) {
    const Floats factors = {1.0f, 1.5f, 2.0f, 4.0f};
    for (uint32_t pairing : {BRIM_ROPE_ADJACENT, BRIM_ROPE_HALVES}) {
      for (uint64_t features : std::vector<uint64_t>{0, BRIM_ROPE_YARN, BRIM_ROPE_FACTORS}) {
        CAPTURE(pairing);
        CAPTURE(features);
        Net net;
        const brim_value x = net.embedding({tokens(), n(3), n(10)});
        const brim_value position = net.position();
        const brim_value y = net.output({tokens(), n(3), n(10)});
        brim_rope_attr attr{};
        attr.pairing = pairing;
        attr.n_rot = 8;
        attr.n_ctx_orig = 128;
        attr.base = 10000.0f;
        attr.freq_scale = 0.25f;
        attr.magnitude = 1.1f;
        attr.ext_factor = 1.0f;
        attr.beta_fast = 32.0f;
        attr.beta_slow = 1.0f;
        std::vector<brim_value> in = {x, position};
        if (features == BRIM_ROPE_FACTORS) in.push_back(net.weight({n(4)}, factors));
        net.node(BRIM_OP_ROPE, in, {y}, attr, features);
        Compiled compiled(machine, net, bucket_of(8));
        const Floats values = random_floats(5 * 30, 19);
        std::copy(values.begin(), values.end(), compiled.program.at(x));
        compiled.program.step({{5, 1005, {}}});
        REQUIRE_MESSAGE(compiled.program.run() == BRIM_OK, machine.error.message);
        for (int r = 0; r < 15; ++r) {
          std::vector<double> expected(10);
          reference::rope(values.data() + r * 10, attr, features == BRIM_ROPE_YARN,
                          features == BRIM_ROPE_FACTORS ? factors.data() : nullptr, 1000 + r / 3, 10, expected.data());
          const float* got = compiled.program.at(y) + r * 10;
          CHECK(rms_error(Floats(got, got + 10), expected) < 2e-7);
        }
      }
    }
  });
}

TEST_CASE("matmul adds its bias, takes weights in pieces, batches with broadcast") {
  on_every_variant([](Machine& machine) {
    constexpr int kIn = 96, kOut = 51;
    const Floats weights = random_floats(kIn * kOut, 21), bias = random_floats(kOut, 22);
    for (uint32_t pieces : {1u, 3u}) {
      for (uint32_t numerics : {BRIM_NUMERICS_STRICT, BRIM_NUMERICS_FAST}) {
        CAPTURE(pieces);
        CAPTURE(numerics);
        Net net;
        const brim_value x = net.embedding({tokens(), n(kIn)});
        const brim_value w = net.weight({n(kOut), n(kIn)}, weights);
        const brim_value b = net.weight({n(kOut)}, bias);
        const brim_value y = net.output({tokens(), n(kOut)});
        net.node(BRIM_OP_MATMUL, {w, x, b}, {y}, 0u, BRIM_MATMUL_BIAS);
        Options options;
        options.pieces = pieces;
        options.numerics = numerics;
        Compiled compiled(machine, net, bucket_of(32), options);
        const Floats values = random_floats(19 * kIn, 23);
        std::copy(values.begin(), values.end(), compiled.program.at(x));
        compiled.program.run_rows(19);
        std::vector<double> expected(19 * kOut);
        reference::matmul(weights.data(), values.data(), bias.data(), 19, kOut, kIn, expected.data());
        CHECK(rms_error(compiled.program.read(y, 19 * kOut), expected) <
              (numerics == BRIM_NUMERICS_STRICT ? 1e-6 : 1e-3));
      }
    }
    Net net;
    const brim_value x = net.embedding({n(4), tokens(), n(33)});
    const Floats stacked = random_floats(7 * 33, 24);
    const brim_value w = net.weight({n(1), n(7), n(33)}, stacked);
    const brim_value y = net.output({n(4), tokens(), n(7)});
    net.node(BRIM_OP_MATMUL, {w, x}, {y}, 0u, BRIM_MATMUL_BATCHED);
    Compiled compiled(machine, net, bucket_of(5));
    const Floats values = random_floats(4 * 5 * 33, 25);
    std::copy(values.begin(), values.end(), compiled.program.at(x));
    compiled.program.run_rows(5);
    std::vector<double> expected(4 * 5 * 7);
    reference::matmul(stacked.data(), values.data(), nullptr, 20, 7, 33, expected.data());
    CHECK(rms_error(compiled.program.read(y, 4 * 5 * 7), expected) < 1e-6);
  });
}

TEST_CASE("grouped matmul picks experts by row; an expert outside gives zeros") {
  on_every_variant([](Machine& machine) {
    constexpr int kExperts = 5, kIn = 64, kOut = 70, kChoices = 2, kRows = 37;
    const Floats weights = random_floats(kExperts * kIn * kOut, 31), bias = random_floats(kExperts * kOut, 32);
    for (uint32_t pieces : {1u, 3u}) {  // a bias lies in one piece, so experts in pieces come without
      for (bool row_per_pair : {false, true}) {
        CAPTURE(pieces);
        CAPTURE(row_per_pair);
        std::vector<int32_t> index(kRows * kChoices);
        for (size_t i = 0; i < index.size(); ++i) index[i] = static_cast<int32_t>(i * 7 % 6) - (i % 11 == 0 ? 3 : 0);
        Net net;
        const brim_value x =
            row_per_pair ? net.embedding({tokens(), n(kChoices), n(kIn)}) : net.embedding({tokens(), n(kIn)});
        const brim_value w = net.weight({n(kExperts), n(kOut), n(kIn)}, weights);
        const brim_value chosen = net.add(BRIM_VALUE_TEMP, 0, BRIM_DTYPE_I32, {tokens(), n(kChoices)});
        const brim_value y = net.output({tokens(), n(kChoices), n(kOut)});
        const bool biased = pieces == 1;
        std::vector<brim_value> in = {w, x, chosen};
        if (biased) in.push_back(net.weight({n(kExperts), n(kOut)}, bias));
        net.node(BRIM_OP_GROUPED_MATMUL, in, {y}, 0u, biased ? BRIM_GROUPED_MATMUL_BIAS : 0);
        Options options;
        options.pieces = pieces;
        Compiled compiled(machine, net, bucket_of(64), options);
        const Floats values = random_floats(kRows * kIn * (row_per_pair ? kChoices : 1), 33);
        std::copy(values.begin(), values.end(), compiled.program.at(x));
        std::copy(index.begin(), index.end(), compiled.program.at<int32_t>(chosen));
        compiled.program.run_rows(kRows);
        for (int p = 0; p < kRows * kChoices; ++p) {
          std::vector<double> expected(kOut, 0.0);
          const int32_t e = index[p];
          if (e >= 0 && e < kExperts) {
            reference::matmul(weights.data() + e * kIn * kOut, values.data() + (row_per_pair ? p : p / kChoices) * kIn,
                              biased ? bias.data() + e * kOut : nullptr, 1, kOut, kIn, expected.data());
          }
          const float* got = compiled.program.at(y) + p * kOut;
          CHECK(rms_error(Floats(got, got + kOut), expected) < 1e-6);
        }
      }
    }
  });
}
