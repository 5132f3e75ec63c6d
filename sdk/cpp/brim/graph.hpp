// Typed helpers for architecture authors: one function per op of ops.h over brim_builder_api::emit, a list of tensors
// that describe and build share, and the metadata reader of meta.hpp. A failed call throws Failure; the plugin's edge
// (architecture_plugin.hpp) turns it into a status. Nothing here knows a model family, and no shape is checked here:
// the host infers and checks them all.
#pragma once

#include <brim/architecture.h>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "failure.hpp"
#include "meta.hpp"

namespace brim::arch {

// A value of the graph; false where an optional one is absent.
struct Value {
  brim_value id = 0;
  explicit operator bool() const { return id != 0; }
};

// One version of a state. Ops that write a state return the next one.
struct State {
  brim_value id = 0;
};

// Dimensions: dim(64) is a constant, kTokens the rows of the step, kOutputs the rows whose outputs are wanted.
inline constexpr brim_dim dim(uint32_t k) { return {BRIM_SYM_NONE, k}; }
inline constexpr brim_dim kTokens = {BRIM_SYM_N_TOKENS, 1};
inline constexpr brim_dim kOutputs = {BRIM_SYM_N_OUTPUTS, 1};

// A zeroed attribute or description with its size set.
template <class T>
T sized() {
  T value{};
  value.struct_size = sizeof(T);
  return value;
}

// ---- tensors and states, for describe ----------------------------------------------------------------------------

struct Source {
  uint32_t files = BRIM_FILES_GGUF;
  std::string name;
  uint32_t transform = BRIM_TRANSFORM_NONE;
  uint32_t argument = 0;
};
inline Source gguf(std::string name) { return {BRIM_FILES_GGUF, std::move(name)}; }
inline Source hugging_face(std::string name, uint32_t transform = BRIM_TRANSFORM_NONE, uint32_t argument = 0) {
  return {BRIM_FILES_HUGGING_FACE, std::move(name), transform, argument};
}

struct Tensor {
  std::vector<uint64_t> shape;  // outermost first
  std::vector<Source> sources;
  uint32_t flags = 0;  // BRIM_TENSOR_*
  uint32_t layer = BRIM_NO_LAYER;
};

// The tensors of a model in one order. describe declares the list, build asks for its values: both walk the same list,
// so an index means the same tensor in both.
class TensorList {
 public:
  // The tensor's index.
  uint32_t add(Tensor tensor) {
    if (tensor.shape.size() > BRIM_MAX_RANK)
      throw Failure(BRIM_INVALID_ARGUMENT, "a tensor has more than 6 dimensions");
    tensors_.push_back(std::move(tensor));
    return static_cast<uint32_t>(tensors_.size() - 1);
  }
  const std::vector<Tensor>& tensors() const { return tensors_; }

 private:
  std::vector<Tensor> tensors_;
};

class Description {
 public:
  Description(const brim_builder_api& api, brim_builder* builder) : api_(&api), builder_(builder) {}

  void model(const brim_model_desc& desc) { api_->model(builder_, &desc); }

  void tensors(const TensorList& list) {
    std::vector<brim_tensor_source> sources;
    for (const Tensor& tensor : list.tensors()) {
      sources.clear();
      for (const Source& s : tensor.sources) sources.push_back({s.files, s.transform, s.argument, 0, str(s.name)});
      auto desc = sized<brim_tensor_desc>();
      desc.flags = tensor.flags;
      desc.layer = tensor.layer;
      desc.rank = static_cast<uint32_t>(tensor.shape.size());
      for (size_t i = 0; i < tensor.shape.size(); ++i) desc.dim[i] = tensor.shape[i];
      desc.sources = sources.data();
      desc.n_sources = static_cast<uint32_t>(sources.size());
      desc.source_stride = sizeof(brim_tensor_source);
      uint32_t id = 0;
      const brim_status status = api_->add_tensor(builder_, &desc, &id);
      if (status != BRIM_OK) throw Failure(status);
    }
  }

  uint32_t state(const brim_state_desc& desc) {
    uint32_t id = 0;
    const brim_status status = api_->add_state(builder_, &desc, &id);
    if (status != BRIM_OK) throw Failure(status);
    return id;
  }

 private:
  const brim_builder_api* api_;
  brim_builder* builder_;
};

// ---- ops, for build -------------------------------------------------------------------------------------------------

class Graph {
 public:
  Graph(const brim_builder_api& api, brim_builder* builder) : api_(&api), builder_(builder) {}

  Value input(uint32_t role) { return {api_->input(builder_, role)}; }
  // False where an optional tensor is absent from the file.
  Value weight(uint32_t tensor) { return {api_->weight(builder_, tensor)}; }
  State state(uint32_t id) { return {api_->state(builder_, id)}; }
  // The layer of what is emitted next; BRIM_NO_LAYER outside of layers.
  void scope(uint32_t layer) { api_->scope(builder_, layer); }
  void output(uint32_t role, Value value) { api_->output(builder_, role, value.id); }

  // -- views --
  Value reshape(Value x, std::initializer_list<brim_dim> shape) { return shaped(BRIM_OP_RESHAPE, x, shape); }
  Value broadcast(Value x, std::initializer_list<brim_dim> shape) { return shaped(BRIM_OP_BROADCAST, x, shape); }
  // x[.., begin : begin + length, ..] along `axis`.
  Value slice(Value x, uint32_t axis, uint32_t begin, uint32_t length) {
    auto attr = sized<brim_slice_attr>();
    attr.axis = axis;
    attr.begin = begin;
    attr.length = length;
    return one(BRIM_OP_SLICE, 0, &attr, {x.id});
  }
  // Axis i of the result is axis order[i] of x.
  Value permute(Value x, std::initializer_list<uint32_t> order) {
    auto attr = sized<brim_permute_attr>();
    fit(order.size());
    uint32_t i = 0;
    for (const uint32_t axis : order) attr.axis[i++] = axis;
    return one(BRIM_OP_PERMUTE, 0, &attr, {x.id});
  }

  // -- movement --
  Value copy(Value x, uint32_t dtype) {
    auto attr = sized<brim_copy_attr>();
    attr.dtype = dtype;
    return one(BRIM_OP_COPY, 0, &attr, {x.id});
  }
  // a and b behind each other along `axis`.
  Value concat(Value a, Value b, uint32_t axis) {
    auto attr = sized<brim_concat_attr>();
    attr.axis = axis;
    return one(BRIM_OP_CONCAT, 0, &attr, {a.id, b.id});
  }
  // Rows of table [rows, n] by index i32 [m]: f32 [m, n].
  Value gather_rows(Value table, Value index) { return one(BRIM_OP_GATHER_ROWS, 0, nullptr, {table.id, index.id}); }
  Value scatter_rows(Value into, Value x, Value index, uint32_t mode) {
    auto attr = sized<brim_scatter_attr>();
    attr.mode = mode;
    return one(BRIM_OP_SCATTER_ROWS, 0, &attr, {into.id, x.id, index.id});
  }

  // -- elementwise --
  Value unary(Value x, uint32_t kind) {
    auto attr = sized<brim_unary_attr>();
    attr.kind = kind;
    return one(BRIM_OP_UNARY, 0, &attr, {x.id});
  }
  Value binary(Value a, Value b, uint32_t kind) {
    auto attr = sized<brim_binary_attr>();
    attr.kind = kind;
    return one(BRIM_OP_BINARY, 0, &attr, {a.id, b.id});
  }
  Value add(Value a, Value b) { return binary(a, b, BRIM_BINARY_ADD); }
  Value mul(Value a, Value b) { return binary(a, b, BRIM_BINARY_MUL); }
  // factor * x + offset.
  Value affine(Value x, float factor, float offset = 0) {
    auto attr = sized<brim_affine_attr>();
    attr.scale = factor;
    attr.bias = offset;
    attr.lo = -std::numeric_limits<float>::infinity();
    attr.hi = std::numeric_limits<float>::infinity();
    return one(BRIM_OP_AFFINE_CLAMP, 0, &attr, {x.id});
  }
  Value clamp(Value x, float lo, float hi) {
    auto attr = sized<brim_affine_attr>();
    attr.scale = 1;
    attr.lo = lo;
    attr.hi = hi;
    return one(BRIM_OP_AFFINE_CLAMP, 0, &attr, {x.id});
  }
  // cap * tanh(x / cap).
  Value softcap(Value x, float cap) {
    auto attr = sized<brim_affine_attr>();
    attr.scale = 1;
    attr.lo = -std::numeric_limits<float>::infinity();
    attr.hi = std::numeric_limits<float>::infinity();
    attr.cap = cap;
    return one(BRIM_OP_AFFINE_CLAMP, BRIM_AFFINE_SOFTCAP, &attr, {x.id});
  }
  // act(gate) * up; kind: BRIM_GLU_*.
  Value glu(Value gate, Value up, uint32_t kind) {
    auto attr = sized<brim_glu_attr>();
    attr.kind = kind;
    return one(BRIM_OP_GLU, 0, &attr, {gate.id, up.id});
  }
  // The same where one input holds gate and up side by side: [.., 2 n].
  Value glu_halves(Value gate_up, uint32_t kind) {
    auto attr = sized<brim_glu_attr>();
    attr.kind = kind;
    return one(BRIM_OP_GLU, 0, &attr, {gate_up.id});
  }
  Value swiglu_limit(Value gate, Value up, float alpha, float limit) {
    auto attr = sized<brim_glu_attr>();
    attr.kind = BRIM_GLU_SWIGLU_LIMIT;
    attr.alpha = alpha;
    attr.limit = limit;
    return one(BRIM_OP_GLU, 0, &attr, {gate.id, up.id});
  }

  // -- norms and selection --
  // softmax(scale * x + mask) over the innermost dimension.
  Value softmax(Value x, float scale = 1, Value mask = {}) {
    auto attr = sized<brim_softmax_attr>();
    attr.scale = scale;
    return one(BRIM_OP_SOFTMAX, 0, &attr, {x.id, mask.id});
  }
  Value rms_norm(Value x, Value weight, float eps, float weight_offset = 0) {
    auto attr = sized<brim_norm_attr>();
    attr.eps = eps;
    attr.weight_offset = weight_offset;
    return one(BRIM_OP_RMS_NORM, 0, &attr, {x.id, weight.id});
  }
  Value layer_norm(Value x, Value weight, Value bias, float eps) {
    auto attr = sized<brim_norm_attr>();
    attr.eps = eps;
    return one(BRIM_OP_LAYER_NORM, 0, &attr, {x.id, weight.id, bias.id});
  }
  // x / sqrt(sum(x^2) + eps).
  Value l2_norm(Value x, float eps) {
    auto attr = sized<brim_norm_attr>();
    attr.eps = eps;
    return one(BRIM_OP_L2_NORM, 0, &attr, {x.id});
  }
  Value argmax(Value x) { return one(BRIM_OP_ARGMAX, 0, nullptr, {x.id}); }
  struct TopK {
    Value values, index;  // f32 and i32 [m, k], descending
  };
  TopK topk(Value x, uint32_t k) {
    auto attr = sized<brim_topk_attr>();
    attr.k = k;
    brim_value out[2] = {};
    emit(BRIM_OP_TOPK, 0, &attr, {x.id}, out);
    return {{out[0]}, {out[1]}};
  }

  // -- matrix multiply --
  // x w^T + bias: w [n, k], x [.., k], bias [n] or absent.
  Value matmul(Value w, Value x, Value bias = {}) {
    return one(BRIM_OP_MATMUL, bias ? BRIM_MATMUL_BIAS : 0, nullptr, {w.id, x.id, bias.id});
  }
  // w [B.., n, k], x [B.., m, k].
  Value matmul_batched(Value w, Value x) { return one(BRIM_OP_MATMUL, BRIM_MATMUL_BATCHED, nullptr, {w.id, x.id, 0}); }
  // Each head's own matrix: w [h, n, k], x [m, h, k] -> [m, h, n].
  Value matmul_heads(Value w, Value x) { return one(BRIM_OP_MATMUL, BRIM_MATMUL_HEADS, nullptr, {w.id, x.id, 0}); }
  // Row (i, j) of [m, g, n] is w[index[i, j]] times x[i] or x[i, j].
  Value grouped_matmul(Value w, Value x, Value index, Value bias = {}) {
    return one(BRIM_OP_GROUPED_MATMUL, bias ? BRIM_GROUPED_MATMUL_BIAS : 0, nullptr, {w.id, x.id, index.id, bias.id});
  }

  // -- mixture of experts --
  struct Router {
    uint32_t gate = BRIM_MOE_GATE_SOFTMAX;  // BRIM_MOE_GATE_*
    uint32_t k = 1;                         // experts a row is sent to
    bool normalise = false;
    float scale = 1;
    uint32_t n_group = 1, n_group_used = 1;
  };
  struct Route {
    Value weight, index;  // f32 and i32 [m, k]
  };
  // logits [m, e]; bias [e] or absent moves the choice, not the weights.
  Route moe_route(Value logits, const Router& router, Value bias = {}) {
    auto attr = sized<brim_moe_route_attr>();
    attr.gate = router.gate;
    attr.k = router.k;
    attr.normalise = router.normalise;
    attr.scale = router.scale;
    attr.n_group = router.n_group;
    attr.n_group_used = router.n_group_used;
    brim_value out[2] = {};
    emit(BRIM_OP_MOE_ROUTE, (bias ? BRIM_MOE_ROUTE_BIAS : 0) | (router.n_group > 1 ? BRIM_MOE_ROUTE_GROUPS : 0), &attr,
         {logits.id, bias.id}, out);
    return {{out[0]}, {out[1]}};
  }
  // The sum over j of weight[m, j] * x[m, j, n].
  Value moe_combine(Value x, Value weight) { return one(BRIM_OP_MOE_COMBINE, 0, nullptr, {x.id, weight.id}); }

  // -- position and attention --
  struct Rope {
    uint32_t pairing = BRIM_ROPE_HALVES;  // BRIM_ROPE_ADJACENT or _HALVES
    uint32_t n_rot = 0;                   // leading values of a head that are rotated, even
    float base = 10000;
    float freq_scale = 1, magnitude = 1;
    // With yarn:
    bool yarn = false;
    uint32_t n_ctx_orig = 0;
    float ext_factor = 1, beta_fast = 32, beta_slow = 1;
  };
  // x [T, heads, d], position i32 [T, C], factors f32 [n_rot / 2] or absent.
  Value rope(Value x, Value position, const Rope& rope, Value factors = {}) {
    auto attr = sized<brim_rope_attr>();
    attr.pairing = rope.pairing;
    attr.n_rot = rope.n_rot;
    attr.base = rope.base;
    attr.freq_scale = rope.freq_scale;
    attr.magnitude = rope.magnitude;
    uint64_t must = factors ? BRIM_ROPE_FACTORS : 0;
    if (rope.yarn) {
      must |= BRIM_ROPE_YARN;
      attr.n_ctx_orig = rope.n_ctx_orig;
      attr.ext_factor = rope.ext_factor;
      attr.beta_fast = rope.beta_fast;
      attr.beta_slow = rope.beta_slow;
    }
    return one(BRIM_OP_ROPE, must, &attr, {x.id, position.id, factors.id});
  }
  // k [T, heads_kv, d_k], v [T, heads_kv, d_v] (absent in a latent state) into the state; what reads them later takes
  // the version returned.
  State kv_write(State state, Value k, Value v) {
    return {one(BRIM_OP_KV_WRITE, 0, nullptr, {state.id, k.id, v.id}).id};
  }
  struct Attention {
    uint32_t n_head = 0, n_head_kv = 0;
    float scale = 1;
    bool causal = true;
    uint32_t window = 0;    // tokens; 0: all
    float softcap = 0;      // 0: none
    Value sinks = {};       // f32 [heads] or absent
    uint32_t v_from_k = 0;  // of a latent state: how many values of a row of K are V
  };
  // q [T, heads, d_k] -> [T, heads, d_v].
  Value attention(Value q, State state, const Attention& attention) {
    auto attr = sized<brim_attention_attr>();
    attr.n_head = attention.n_head;
    attr.n_head_kv = attention.n_head_kv;
    attr.scale = attention.scale;
    attr.window = attention.window;
    attr.softcap = attention.softcap;
    attr.v_width = attention.v_from_k;
    const uint64_t must =
        (attention.causal ? BRIM_ATTENTION_CAUSAL : 0) | (attention.window ? BRIM_ATTENTION_SLIDING_WINDOW : 0) |
        (attention.softcap != 0 ? BRIM_ATTENTION_SOFTCAP : 0) | (attention.sinks ? BRIM_ATTENTION_SINKS : 0) |
        (attention.v_from_k ? BRIM_ATTENTION_V_FROM_K : 0);
    return one(BRIM_OP_ATTENTION, must, &attr, {q.id, state.id, attention.sinks.id});
  }

  // -- recurrent --
  struct Stepped {
    Value y;
    State state;
  };
  // x [T, c], weight [c, taps], bias [c] or absent -> [T, c]; activation: 0 or BRIM_UNARY_SILU.
  Stepped causal_conv1d(Value x, State state, Value weight, Value bias, uint32_t activation) {
    auto attr = sized<brim_conv1d_attr>();
    attr.activation = activation;
    brim_value out[2] = {};
    emit(BRIM_OP_CAUSAL_CONV1D, bias ? BRIM_CONV1D_BIAS : 0, &attr, {x.id, state.id, weight.id, bias.id}, out);
    return {{out[0]}, {out[1]}};
  }
  struct LinearAttention {
    float scale = 1;
    bool heads_modulo = false;  // value head h reads key head h % h_k, else h / (h_v / h_k)
  };
  // q, k [T, h_k, d_k], v [T, h_v, d_v], log decay and beta [T, h_v], either absent -> [T, h_v, d_v].
  Stepped linear_attention(Value q, Value k, Value v, Value decay, Value beta, State state,
                           const LinearAttention& linear) {
    auto attr = sized<brim_linear_attention_attr>();
    attr.scale = linear.scale;
    const uint64_t must = (decay ? BRIM_LINEAR_DECAY : 0) | (beta ? BRIM_LINEAR_DELTA : 0) |
                          (linear.heads_modulo ? BRIM_LINEAR_HEADS_MODULO : 0);
    brim_value out[2] = {};
    emit(BRIM_OP_LINEAR_ATTENTION, must, &attr, {q.id, k.id, v.id, decay.id, beta.id, state.id}, out);
    return {{out[0]}, {out[1]}};
  }

  // The general form, for ops without a helper: revision 1, outputs into `out`.
  void emit(uint32_t op, uint64_t must, const void* attr, std::initializer_list<brim_value> in,
            std::span<brim_value> out) {
    const brim_status status = api_->emit(builder_, op, 1, must, 0, attr, in.begin(), static_cast<uint32_t>(in.size()),
                                          out.data(), static_cast<uint32_t>(out.size()));
    if (status != BRIM_OK) throw Failure(status);
  }

 private:
  Value one(uint32_t op, uint64_t must, const void* attr, std::initializer_list<brim_value> in) {
    brim_value out[1] = {};
    emit(op, must, attr, in, out);
    return {out[0]};
  }
  Value shaped(uint32_t op, Value x, std::initializer_list<brim_dim> shape) {
    auto attr = sized<brim_shape_attr>();
    fit(shape.size());
    for (const brim_dim d : shape) attr.dim[attr.rank++] = d;
    return one(op, 0, &attr, {x.id});
  }
  static void fit(size_t rank) {
    if (rank > BRIM_MAX_RANK) throw Failure(BRIM_INVALID_ARGUMENT, "a shape has more than 6 dimensions");
  }

  const brim_builder_api* api_;
  brim_builder* builder_;
};

}  // namespace brim::arch
