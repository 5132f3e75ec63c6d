// What each op makes of its inputs' shapes, and what it refuses, in words.
#include <doctest/doctest.h>

#include <cmath>
#include <graph/graph.hpp>
#include <graph/shape_rules.hpp>
#include <optional>
#include <vector>

#include "../support/failure.hpp"

using namespace brim;
using namespace brim::graph;

namespace {

constexpr brim_dim kT = {BRIM_SYM_N_TOKENS, 1}, kO = {BRIM_SYM_N_OUTPUTS, 1};
constexpr brim_dim n(uint32_t k) { return {BRIM_SYM_NONE, k}; }

brim_value_desc value(std::initializer_list<brim_dim> dims, uint32_t dtype = BRIM_DTYPE_F32) {
  brim_value_desc v{};
  v.kind = BRIM_VALUE_TEMP;
  v.dtype = dtype;
  for (const brim_dim d : dims) v.dim[v.rank++] = d;
  set_contiguous(v);
  return v;
}
brim_value_desc state(uint32_t heads, uint32_t k, uint32_t v) {
  brim_value_desc s{};
  s.kind = BRIM_VALUE_STATE;
  s.rank = 3;
  s.dim[0] = n(heads);
  s.dim[1] = n(k);
  s.dim[2] = n(v);
  return s;
}

using Inputs = std::vector<std::optional<brim_value_desc>>;

struct Inferred {
  std::vector<brim_value_desc> out;
  uint64_t must;
};
Inferred run(uint32_t op, const Inputs& in, const void* attr = nullptr, uint64_t must = 0, uint32_t n_out = 1,
             uint32_t rev = 1) {
  std::vector<const brim_value_desc*> pointers;
  std::vector<brim_value> ids;
  for (const auto& v : in) {
    pointers.push_back(v ? &*v : nullptr);
    ids.push_back(static_cast<brim_value>(v ? ids.size() + 1 : 0));
  }
  std::vector<brim_value_desc> out(n_out);
  NodeDraft draft{op, rev, must, attr, pointers, ids, out};
  infer(draft);
  return {out, draft.must};
}
std::string shape(uint32_t op, const Inputs& in, const void* attr = nullptr, uint64_t must = 0) {
  return shape_text(run(op, in, attr, must).out[0]);
}

const auto x2 = value({kT, n(8)});
const auto heads = value({kT, n(4), n(16)});
const auto index_t = value({kT}, BRIM_DTYPE_I32);

}  // namespace

TEST_CASE("reshape keeps the elements and wants a contiguous value") {
  brim_shape_attr a = {sizeof(a), 3, {kT, n(2), n(4)}};
  CHECK(shape(BRIM_OP_RESHAPE, {x2}, &a) == "[T, 2, 4]");
  a = {sizeof(a), 2, {kT, n(9)}};
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "number of elements differs", run(BRIM_OP_RESHAPE, {x2}, &a));
  a = {sizeof(a), 1, {n(8)}};
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "number of elements differs", run(BRIM_OP_RESHAPE, {x2}, &a));
  a = {sizeof(a), 7, {}};
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "rank is 7", run(BRIM_OP_RESHAPE, {x2}, &a));
  const brim_slice_attr s = {sizeof(s), 1, 2, 4};
  const auto cut = run(BRIM_OP_SLICE, {x2}, &s).out[0];
  a = {sizeof(a), 2, {kT, n(4)}};
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "COPY it first", run(BRIM_OP_RESHAPE, {cut}, &a));
}

TEST_CASE("slices, permutations and broadcasts are views with offsets and strides") {
  const brim_slice_attr s = {sizeof(s), 1, 1, 2};
  auto v = run(BRIM_OP_SLICE, {heads}, &s).out[0];
  CHECK(shape_text(v) == "[T, 2, 16]");
  CHECK(v.kind == BRIM_VALUE_VIEW);
  CHECK(v.base == 1);
  CHECK(v.offset == 16);
  CHECK(v.stride[0].k == 64);
  for (const brim_slice_attr bad : {brim_slice_attr{sizeof(s), 1, 3, 2},
                                    {sizeof(s), 1, 0, 0},
                                    {sizeof(s), 1, 5, 1},
                                    {sizeof(s), 1, 0xffffffff, 2}}) {
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, "lies outside", run(BRIM_OP_SLICE, {heads}, &bad));
  }
  for (const uint32_t axis : {0u, 3u}) {
    const brim_slice_attr bad = {sizeof(s), axis, 0, 1};
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, "no constant size", run(BRIM_OP_SLICE, {heads}, &bad));
  }
  brim_permute_attr p = {sizeof(p), 0, {1, 0, 2}};
  v = run(BRIM_OP_PERMUTE, {heads}, &p).out[0];
  CHECK(shape_text(v) == "[4, T, 16]");
  CHECK(v.stride[1].k == 64);
  p = {sizeof(p), 0, {1, 1, 2}};
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "no permutation", run(BRIM_OP_PERMUTE, {heads}, &p));
  brim_shape_attr b = {sizeof(b), 2, {kT, n(8)}};
  v = run(BRIM_OP_BROADCAST, {value({kT, n(1)})}, &b).out[0];
  CHECK(shape_text(v) == "[T, 8]");
  CHECK(v.stride[1].k == 0);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "is not 1", run(BRIM_OP_BROADCAST, {value({kT, n(2)})}, &b));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "a state cannot be viewed",
              run(BRIM_OP_BROADCAST, {state(2, 4, 4)}, &(b = {sizeof(b), 3, {}})));
}

TEST_CASE("rows are gathered, scattered and copied") {
  const auto table = value({n(100), n(32)}, BRIM_DTYPE_Q8_0);
  const auto rows = run(BRIM_OP_GATHER_ROWS, {table, index_t}).out[0];
  CHECK(shape_text(rows) == "[T, 32]");
  CHECK(rows.dtype == BRIM_DTYPE_F32);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "index is f32", run(BRIM_OP_GATHER_ROWS, {table, x2}));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "table has the shape", run(BRIM_OP_GATHER_ROWS, {heads, index_t}));
  const brim_scatter_attr s = {sizeof(s), BRIM_SCATTER_ADD};
  CHECK(shape(BRIM_OP_SCATTER_ROWS, {value({n(5), n(8)}), x2, index_t}, &s) == "[5, 8]");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "expected [9]", run(BRIM_OP_SCATTER_ROWS, {value({n(5), n(9)}), x2, index_t}, &s));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "expected [T]",
              run(BRIM_OP_SCATTER_ROWS, {value({n(5), n(8)}), x2, value({kO}, BRIM_DTYPE_I32)}, &s));
  const brim_scatter_attr unknown = {sizeof(s), 2};
  CHECK_FAILS(BRIM_UNSUPPORTED, "mode is 2", run(BRIM_OP_SCATTER_ROWS, {value({n(5), n(8)}), x2, index_t}, &unknown));
  brim_copy_attr c = {sizeof(c), BRIM_DTYPE_F16};
  CHECK(run(BRIM_OP_COPY, {x2}, &c).out[0].dtype == BRIM_DTYPE_F16);
  CHECK_FAILS(BRIM_UNSUPPORTED, "q8_0 can be copied to f32 only", run(BRIM_OP_COPY, {table}, &c));
  c.dtype = 999;
  CHECK_FAILS(BRIM_UNSUPPORTED, "dtype 999", run(BRIM_OP_COPY, {x2}, &c));
}

TEST_CASE("elementwise ops keep or broadcast shapes") {
  const brim_binary_attr add = {sizeof(add), BRIM_BINARY_ADD};
  CHECK(shape(BRIM_OP_BINARY, {x2, value({n(8)})}, &add) == "[T, 8]");
  CHECK(shape(BRIM_OP_BINARY, {value({kT, n(4), n(1)}), heads}, &add) == "[T, 4, 16]");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "do not broadcast", run(BRIM_OP_BINARY, {x2, value({n(7)})}, &add));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "do not broadcast", run(BRIM_OP_BINARY, {x2, value({kO, n(8)})}, &add));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "b is f16", run(BRIM_OP_BINARY, {x2, value({n(8)}, BRIM_DTYPE_F16)}, &add));
  const brim_binary_attr unknown = {sizeof(unknown), 99};
  CHECK_FAILS(BRIM_UNSUPPORTED, "kind is 99", run(BRIM_OP_BINARY, {x2, x2}, &unknown));
  const brim_unary_attr u = {sizeof(u), BRIM_UNARY_SILU}, no = {sizeof(no), 0};
  CHECK(shape(BRIM_OP_UNARY, {x2}, &u) == "[T, 8]");
  CHECK_FAILS(BRIM_UNSUPPORTED, "kind is 0", run(BRIM_OP_UNARY, {x2}, &no));
  const brim_glu_attr g = {sizeof(g), BRIM_GLU_SILU, 0, 0};
  CHECK(shape(BRIM_OP_GLU, {x2, x2}, &g) == "[T, 8]");
  CHECK(shape(BRIM_OP_GLU, {x2}, &g) == "[T, 4]");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "differ", run(BRIM_OP_GLU, {x2, heads}, &g));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "two halves", run(BRIM_OP_GLU, {value({kT, n(7)})}, &g));
}

TEST_CASE("norms and selections reduce what they say") {
  const brim_norm_attr norm = {sizeof(norm), 1e-5f, 0, 0}, bad = {sizeof(bad), NAN, 0, 0};
  CHECK(shape(BRIM_OP_RMS_NORM, {x2, value({n(8)})}, &norm) == "[T, 8]");
  CHECK(shape(BRIM_OP_RMS_NORM, {x2, std::nullopt}, &norm) == "[T, 8]");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "weight has the shape [9]", run(BRIM_OP_RMS_NORM, {x2, value({n(9)})}, &norm));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "eps", run(BRIM_OP_RMS_NORM, {x2}, &bad));
  const brim_softmax_attr s = {sizeof(s), 1};
  CHECK(shape(BRIM_OP_SOFTMAX, {x2, x2}, &s) == "[T, 8]");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "mask", run(BRIM_OP_SOFTMAX, {x2, heads}, &s));
  CHECK(run(BRIM_OP_ARGMAX, {x2}).out[0].dtype == BRIM_DTYPE_I32);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "x has the shape", run(BRIM_OP_ARGMAX, {heads}));
  const brim_topk_attr k = {sizeof(k), 3}, many = {sizeof(k), 9}, none = {sizeof(k), 0};
  const auto top = run(BRIM_OP_TOPK, {x2}, &k, 0, 2).out;
  CHECK(shape_text(top[1]) == "[T, 3]");
  CHECK(top[1].dtype == BRIM_DTYPE_I32);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "the 9 largest", run(BRIM_OP_TOPK, {x2}, &many, 0, 2));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "the 0 largest", run(BRIM_OP_TOPK, {x2}, &none, 0, 2));
}

TEST_CASE("matrix products take rows from the weight and mark a bias") {
  const auto w = value({n(24), n(8)}, BRIM_DTYPE_F16);
  CHECK(shape(BRIM_OP_MATMUL, {w, x2}) == "[T, 24]");
  CHECK(run(BRIM_OP_MATMUL, {w, x2, value({n(24)})}).must == BRIM_MATMUL_BIAS);
  CHECK(run(BRIM_OP_MATMUL, {w, x2, std::nullopt}).must == 0);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "innermost", run(BRIM_OP_MATMUL, {w, heads}));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "bias has the shape [8]", run(BRIM_OP_MATMUL, {w, x2, value({n(8)})}));
  const auto b = value({n(2), n(3), n(8)}), y = value({n(2), n(5), n(8)});
  CHECK(shape(BRIM_OP_MATMUL, {b, y}, nullptr, BRIM_MATMUL_BATCHED) == "[2, 5, 3]");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "w has the shape", run(BRIM_OP_MATMUL, {b, y}));
  const auto experts = value({n(6), n(24), n(8)}, BRIM_DTYPE_Q4_0), chosen = value({kT, n(2)}, BRIM_DTYPE_I32);
  CHECK(shape(BRIM_OP_GROUPED_MATMUL, {experts, x2, chosen}) == "[T, 2, 24]");
  CHECK(shape(BRIM_OP_GROUPED_MATMUL, {experts, value({kT, n(2), n(8)}), chosen}) == "[T, 2, 24]");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "expected [2]",
              run(BRIM_OP_GROUPED_MATMUL, {experts, value({kT, n(3), n(8)}), chosen}));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "index is f32", run(BRIM_OP_GROUPED_MATMUL, {experts, x2, x2}));
}

TEST_CASE("positions and attention fit heads and states") {
  const auto position = value({kT, n(1)}, BRIM_DTYPE_I32);
  brim_rope_attr r{};
  r.struct_size = sizeof(r);
  r.pairing = BRIM_ROPE_HALVES;
  r.n_rot = 16;
  r.base = 10000;
  CHECK(shape(BRIM_OP_ROPE, {heads, position}, &r) == "[T, 4, 16]");
  CHECK(run(BRIM_OP_ROPE, {heads, position, value({n(8)})}, &r).must == BRIM_ROPE_FACTORS);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "factors", run(BRIM_OP_ROPE, {heads, position, value({n(9)})}, &r));
  for (const uint32_t bad : {0u, 15u, 18u}) {
    r.n_rot = bad;
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, "cannot be rotated", run(BRIM_OP_ROPE, {heads, position}, &r));
  }
  r.n_rot = 16;
  r.pairing = 3;
  CHECK_FAILS(BRIM_UNSUPPORTED, "pairing is 3", run(BRIM_OP_ROPE, {heads, position}, &r));

  const auto kv = value({kT, n(2), n(16)});
  CHECK(run(BRIM_OP_KV_WRITE, {state(2, 16, 16), kv, kv}).out[0].kind == BRIM_VALUE_STATE);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "input 0 is no state", run(BRIM_OP_KV_WRITE, {kv, kv, kv}));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "expected [3]", run(BRIM_OP_KV_WRITE, {state(3, 16, 16), kv, kv}));
  brim_attention_attr a{};
  a.struct_size = sizeof(a);
  a.n_head = 4;
  a.n_head_kv = 2;
  CHECK(shape(BRIM_OP_ATTENTION, {heads, state(2, 16, 12)}, &a, BRIM_ATTENTION_CAUSAL) == "[T, 4, 12]");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "cannot share", run(BRIM_OP_ATTENTION, {heads, state(3, 16, 16)}, &a));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "window is 0",
              run(BRIM_OP_ATTENTION, {heads, state(2, 16, 16)}, &a, BRIM_ATTENTION_SLIDING_WINDOW));
}

TEST_CASE("latent states hold K only, and V is a part of it") {
  const auto k = value({kT, n(1), n(40)}), q = value({kT, n(4), n(40)});
  CHECK(run(BRIM_OP_KV_WRITE, {state(1, 40, 0), k}).out[0].kind == BRIM_VALUE_STATE);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "holds K only", run(BRIM_OP_KV_WRITE, {state(1, 40, 0), k, k}));
  brim_attention_attr a{};
  a.struct_size = sizeof(a);
  a.n_head = 4;
  a.n_head_kv = 1;
  a.v_width = 32;
  CHECK(shape(BRIM_OP_ATTENTION, {q, state(1, 40, 0)}, &a, BRIM_ATTENTION_V_FROM_K) == "[T, 4, 32]");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "wants V_FROM_K", run(BRIM_OP_ATTENTION, {q, state(1, 40, 0)}, &a));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "with a V of 40",
              run(BRIM_OP_ATTENTION, {q, state(1, 40, 40)}, &a, BRIM_ATTENTION_V_FROM_K));
  a.v_width = 41;
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "first 41 values",
              run(BRIM_OP_ATTENTION, {q, state(1, 40, 0)}, &a, BRIM_ATTENTION_V_FROM_K));
  a.v_width = 32;
  const auto given = run(BRIM_OP_ATTENTION, {q, state(1, 40, 40), value({n(4)})}, &a);
  CHECK(given.must == BRIM_ATTENTION_SINKS);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "sinks", run(BRIM_OP_ATTENTION, {q, state(1, 40, 40), value({n(5)})}, &a));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "(sinks) is missing",
              run(BRIM_OP_ATTENTION, {q, state(1, 40, 40)}, &a, BRIM_ATTENTION_SINKS));
}

TEST_CASE("recurrent ops step a state of exactly their size") {
  const auto slot = [](uint32_t elements) {
    brim_value_desc s{};
    s.kind = BRIM_VALUE_STATE;
    s.rank = 1;
    s.dim[0] = n(elements);
    return s;
  };
  const auto x = value({kT, n(6)}), taps = value({n(6), n(4)});
  brim_conv1d_attr conv{sizeof(conv), BRIM_UNARY_SILU};
  const auto stepped = run(BRIM_OP_CAUSAL_CONV1D, {x, slot(18), taps, value({n(6)})}, &conv, 0, 2);
  CHECK(shape_text(stepped.out[0]) == "[T, 6]");
  CHECK(stepped.out[1].kind == BRIM_VALUE_STATE);
  CHECK(stepped.must == BRIM_CONV1D_BIAS);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "expected 18 elements",
              run(BRIM_OP_CAUSAL_CONV1D, {x, slot(24), taps}, &conv, 0, 2));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "expected 18 elements",
              run(BRIM_OP_CAUSAL_CONV1D, {x, state(2, 3, 3), taps}, &conv, 0, 2));
  conv.activation = BRIM_UNARY_TANH;
  CHECK_FAILS(BRIM_UNSUPPORTED, "activation 9", run(BRIM_OP_CAUSAL_CONV1D, {x, slot(18), taps}, &conv, 0, 2));

  brim_linear_attention_attr linear{sizeof(linear), 1};
  const auto q = value({kT, n(2), n(8)}), v = value({kT, n(4), n(5)}), gate = value({kT, n(4)});
  const auto y = run(BRIM_OP_LINEAR_ATTENTION, {q, q, v, gate, gate, slot(160)}, &linear, 0, 2);
  CHECK(shape_text(y.out[0]) == "[T, 4, 5]");
  CHECK(y.must == (BRIM_LINEAR_DECAY | BRIM_LINEAR_DELTA));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "3 value heads cannot share 2",
              run(BRIM_OP_LINEAR_ATTENTION, {q, q, value({kT, n(3), n(5)}), {}, {}, slot(120)}, &linear, 0, 2));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "expected 160 elements",
              run(BRIM_OP_LINEAR_ATTENTION, {q, q, v, {}, {}, slot(159)}, &linear, 0, 2));
}

TEST_CASE("routes choose from the experts that there are") {
  brim_moe_route_attr a{};
  a.struct_size = sizeof(a);
  a.gate = BRIM_MOE_GATE_SIGMOID;
  a.k = 3;
  a.scale = 1;
  const auto logits = value({kT, n(8)});
  const auto route = run(BRIM_OP_MOE_ROUTE, {logits, value({n(8)})}, &a, 0, 2);
  CHECK(shape_text(route.out[0]) == "[T, 3]");
  CHECK(route.out[1].dtype == BRIM_DTYPE_I32);
  CHECK(route.must == BRIM_MOE_ROUTE_BIAS);
  a.n_group = 4;
  a.n_group_used = 1;
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "3 of 2 experts", run(BRIM_OP_MOE_ROUTE, {logits}, &a, BRIM_MOE_ROUTE_GROUPS, 2));
  a.n_group = 3;
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "1 of 3 groups", run(BRIM_OP_MOE_ROUTE, {logits}, &a, BRIM_MOE_ROUTE_GROUPS, 2));
  CHECK(shape(BRIM_OP_MOE_COMBINE, {value({kT, n(3), n(16)}), value({kT, n(3)})}) == "[T, 16]");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "weight", run(BRIM_OP_MOE_COMBINE, {value({kT, n(3), n(16)}), value({kT, n(2)})}));
  CHECK(shape(BRIM_OP_MATMUL, {value({n(4), n(7), n(5)}), value({kT, n(4), n(5)})}, nullptr, BRIM_MATMUL_HEADS) ==
        "[T, 4, 7]");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "expected [4]",
              run(BRIM_OP_MATMUL, {value({n(4), n(7), n(5)}), value({kT, n(3), n(5)})}, nullptr, BRIM_MATMUL_HEADS));
}

TEST_CASE("what this runtime does not know is refused, never guessed") {
  CHECK_FAILS(BRIM_UNSUPPORTED, "op 254", run(254, {x2}));
  CHECK_FAILS(BRIM_UNSUPPORTED, "op 129", run(BRIM_OP_SSM_SCAN, {x2}));
  CHECK_FAILS(BRIM_UNSUPPORTED, "revision 2", run(BRIM_OP_ARGMAX, {x2}, nullptr, 0, 1, 2));
  CHECK_FAILS(BRIM_UNSUPPORTED, "feature bits 0x20", run(BRIM_OP_MATMUL, {x2, x2}, nullptr, 0x20));
  CHECK_FAILS(BRIM_UNSUPPORTED, "feature bits",
              run(BRIM_OP_ATTENTION, {heads, state(2, 16, 16)}, &x2, BRIM_ATTENTION_BIAS));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "attributes are missing", run(BRIM_OP_UNARY, {x2}));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "3 inputs", run(BRIM_OP_GATHER_ROWS, {x2, index_t, x2}));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "input 1 (index) is missing", run(BRIM_OP_GATHER_ROWS, {x2, std::nullopt}));
  CHECK_FAILS(BRIM_UNSUPPORTED, "more than 2^32", value({n(2), n(1u << 20), n(1u << 20)}));
}
