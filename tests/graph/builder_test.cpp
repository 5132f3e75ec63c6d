// The builder: the first error sticks and names layer, op and shapes; what describe and build may not do; what a
// finished graph says of itself.
#include <doctest/doctest.h>

#include "../support/failure.hpp"
#include "emitted.hpp"

using namespace brim;
using namespace brim::test;

namespace {

constexpr uint64_t kHidden = 1ull << BRIM_OUTPUT_HIDDEN;

brim_value rows_of(const Emitter& e) { return e.gather(e.weight(0), e.input(BRIM_INPUT_TOKEN)); }

}  // namespace

TEST_CASE("the first error sticks: later calls are harmless and build reports it with layer, op and shapes") {
  brim_status later = BRIM_OK;
  brim_value nothing = 7;
  Emitted broken([&](const Emitter& e) {
    const brim_value x = rows_of(e);
    e.api->scope(e.builder, 3);
    brim_value out = 7;
    CHECK(e.emit(BRIM_OP_MATMUL, {e.weight(2), x}, &out) == BRIM_INVALID_ARGUMENT);
    CHECK(out == 0);
    later = e.emit(BRIM_OP_ARGMAX, {x}, &nothing);
    CHECK(e.input(99) == 0);
  });
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "layer 3, MATMUL([8, 40], [T, 8]): ", broken.graph());
  CHECK(later == BRIM_INVALID_ARGUMENT);
  CHECK(nothing == 0);
}

TEST_CASE("an architecture's own error comes out in its words") {
  Emitted broken([](const Emitter& e) { e.api->error(e.builder, BRIM_DATA_CORRUPT, {"head_count is 0", 15}); });
  CHECK_FAILS(BRIM_DATA_CORRUPT, "head_count is 0", broken.graph());
}

TEST_CASE("values, roles and ids that do not exist are refused") {
  const auto refused = [](brim_status code, const char* words, Emitted::Build build) {
    Emitted broken(std::move(build));
    CHECK_FAILS(code, words, broken.graph());
  };
  refused(BRIM_INVALID_ARGUMENT, "value 77 does not exist", [](const Emitter& e) { e.add(77, 77); });
  refused(BRIM_UNSUPPORTED, "input role 99", [](const Emitter& e) { e.input(99); });
  refused(BRIM_INVALID_ARGUMENT, "tensor 9", [](const Emitter& e) { e.weight(9); });
  refused(BRIM_INVALID_ARGUMENT, "state 1", [](const Emitter& e) { e.state(1); });
  refused(BRIM_UNSUPPORTED, "output role 9", [](const Emitter& e) { e.output(9, rows_of(e)); });
  refused(BRIM_INVALID_ARGUMENT, "output 2 has no value", [](const Emitter& e) { e.output(BRIM_OUTPUT_HIDDEN, 0); });
  refused(BRIM_FAILED_PRECONDITION, "add_tensor", [](const Emitter& e) {
    Emitted::tensor(e.api, e.builder, "table", {16, 8});
  });
  refused(BRIM_UNSUPPORTED, "op 250", [](const Emitter& e) {
    brim_value out = 0;
    e.emit(250, {rows_of(e)}, &out);
  });
}

TEST_CASE("attributes may be older or newer than this runtime, but nothing in them is ignored") {
  struct Grown {
    brim_unary_attr known;
    uint32_t more;
  };
  const auto emit = [](uint32_t more, uint32_t size) {
    return Emitted([=](const Emitter& e) {
      const Grown attr = {{size, BRIM_UNARY_SILU}, more};
      brim_value out = 0;
      e.emit(BRIM_OP_UNARY, {rows_of(e)}, &out, &attr);
      e.output(BRIM_OUTPUT_HIDDEN, out);
    });
  };
  CHECK(emit(0, sizeof(Grown)).graph()->nodes().size() == 2);
  auto newer = emit(1, sizeof(Grown));
  CHECK_FAILS(BRIM_UNSUPPORTED, "more than this runtime knows", newer.graph());
  auto cut = emit(0, sizeof(uint32_t));  // kind reads as 0
  CHECK_FAILS(BRIM_UNSUPPORTED, "kind is 0", cut.graph());
  auto nothing = emit(0, 2);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "struct_size is 2", nothing.graph());
}

TEST_CASE("a missing, misshapen or undescribed tensor is named with what was expected") {
  const auto with = [](std::string_view name, std::vector<uint64_t> shape, uint32_t flags = 0) {
    return Emitted(
        [](const Emitter&) {},
        [=](const brim_builder_api* api, brim_builder* builder) { Emitted::tensor(api, builder, name, shape, flags); });
  };
  auto missing = with("nowhere", {3});
  CHECK_FAILS(BRIM_NOT_FOUND, "nowhere", missing.describe());
  auto misshapen = with("wide", {8, 40});
  CHECK_FAILS(BRIM_DATA_CORRUPT, "[40, 8]", misshapen.describe());
  CHECK_FAILS(BRIM_DATA_CORRUPT, "[8, 40]", misshapen.describe());
  auto optional = with("wide", {8, 40}, BRIM_TENSOR_OPTIONAL);
  CHECK_FAILS(BRIM_DATA_CORRUPT, "wide", optional.describe());
  auto rank = with("wide", {});
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "rank 0", rank.describe());
  Emitted early([](const Emitter&) {},
                [](const brim_builder_api* api, brim_builder* b) { api->input(b, BRIM_INPUT_TOKEN); });
  CHECK_FAILS(BRIM_FAILED_PRECONDITION, "for build", early.describe());
}

TEST_CASE("an optional tensor that is absent is value 0, an output that was asked for and not given is refused") {
  brim_value absent = 7;
  Emitted e([&](const Emitter& x) {
    absent = x.weight(3);
    x.output(BRIM_OUTPUT_HIDDEN, rows_of(x));
  });
  e.graph(kHidden);
  CHECK(absent == 0);
  CHECK_FAILS(BRIM_UNSUPPORTED, "no logits", e.graph(kHidden | 1ull << BRIM_OUTPUT_LOGITS));
}

TEST_CASE("a finished graph counts uses, keeps one value a source, and copies what cannot be an output itself") {
  Emitted e([](const Emitter& x) {
    const brim_value a = rows_of(x), b = rows_of(x);
    const brim_value sum = x.add(a, b);
    x.add(sum, a);
    x.output(BRIM_OUTPUT_HIDDEN, sum);
    x.output(BRIM_OUTPUT_LOGITS, sum);  // an output already: a copy
  });
  const auto g = e.graph(kHidden);
  REQUIRE(g->nodes().size() == 5);
  CHECK(g->nodes()[4].op == BRIM_OP_COPY);
  CHECK(g->nodes()[0].in[0] == g->nodes()[1].in[0]);
  CHECK(g->value(g->nodes()[0].out[0]).n_uses == 2);
  CHECK(g->value(g->nodes()[2].out[0]).n_uses == 3);
  CHECK(g->value(g->nodes()[2].out[0]).kind == BRIM_VALUE_OUTPUT);
  CHECK(g->value(g->nodes()[3].out[0]).n_uses == 0);
  CHECK(g->view().n_nodes == 5);
}

TEST_CASE("the hash names what is computed: equal over phases, different for another attribute or order") {
  const auto hash = [](uint32_t kind, bool swapped, uint32_t phase) {
    Emitted e([=](const Emitter& x) {
      const brim_value a = rows_of(x), b = x.add(a, a);
      const brim_binary_attr attr = {sizeof(attr), kind};
      brim_value out = 0;
      x.emit(BRIM_OP_BINARY, swapped ? std::vector{b, a} : std::vector{a, b}, &out, &attr);
      x.output(BRIM_OUTPUT_HIDDEN, out);
    });
    return e.graph(0, phase)->hash();
  };
  const auto plain = hash(BRIM_BINARY_SUB, false, BRIM_PHASE_PREFILL);
  CHECK(plain == hash(BRIM_BINARY_SUB, false, BRIM_PHASE_DECODE));
  CHECK(plain != hash(BRIM_BINARY_DIV, false, BRIM_PHASE_PREFILL));
  CHECK(plain != hash(BRIM_BINARY_SUB, true, BRIM_PHASE_PREFILL));
}

TEST_CASE("a state with a window is attended to within the window only") {
  const auto attend = [](uint64_t must, uint32_t window) {
    return Emitted(
        [=](const Emitter& e) {
          brim_value heads = 0, out = 0;
          const brim_shape_attr shape = {sizeof(shape), 3, {{BRIM_SYM_N_TOKENS, 1}, {0, 2}, {0, 4}}};
          e.emit(BRIM_OP_RESHAPE, {rows_of(e)}, &heads, &shape);
          brim_attention_attr a{};
          a.struct_size = sizeof(a);
          a.n_head = a.n_head_kv = 2;
          a.window = window;
          e.emit(BRIM_OP_ATTENTION, {heads, e.state(1), 0}, &out, &a, BRIM_ATTENTION_CAUSAL | must);
        },
        [](const brim_builder_api* api, brim_builder* builder) {
          brim_state_desc s{};
          s.struct_size = sizeof(s);
          s.kind = BRIM_STATE_KV_WINDOW;
          s.n_head = 2;
          s.k_width = s.v_width = 4;
          s.window = 16;
          uint32_t id = 0;
          api->add_state(builder, &s, &id);
        });
  };
  CHECK_NOTHROW(attend(BRIM_ATTENTION_SLIDING_WINDOW, 16).graph());
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "window of 16", attend(BRIM_ATTENTION_SLIDING_WINDOW, 17).graph());
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "window of 16", attend(0, 0).graph());
}
