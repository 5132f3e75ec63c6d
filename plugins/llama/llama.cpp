// The llama family: Llama 1 to 3.x, Mistral, TinyLlama, SmolLM and Mixtral. A pre-norm transformer with grouped-query
// attention, rotary positions on adjacent pairs, and a SwiGLU feed-forward layer, or a mixture of such layers of which
// each token takes the few with the largest router logits.
//
// The head runs for wanted rows only: after the attention of the last layer, which is the last place where rows meet,
// the residual is cut down to them. A sliding window of early Mistral files is not applied, as in other readers of
// such files. Rotary scaling of the kinds none, linear and yarn; longrope is refused.
#include <brim/architecture_plugin.hpp>
#include <cmath>
#include <vector>

namespace {

using brim::arch::Description;
using brim::arch::dim;
using brim::arch::Failure;
using brim::arch::gguf;
using brim::arch::Graph;
using brim::arch::hugging_face;
using brim::arch::kOutputs;
using brim::arch::kTokens;
using brim::arch::Meta;
using brim::arch::sized;
using brim::arch::Source;
using brim::arch::State;
using brim::arch::Tensor;
using brim::arch::TensorList;
using brim::arch::Value;

// A weight and its optional bias, as indices in the tensor list.
struct Linear {
  uint32_t weight = 0, bias = 0;
};

struct Layer {
  uint32_t n_head, n_head_kv, n_ff;
  uint32_t attention_norm, ffn_norm, router;
  Linear q, k, v, output, gate, up, down;
};

// All that metadata says, and every tensor in the order in which describe declares them.
struct Model {
  uint32_t width, n_layers, n_vocab, n_ctx_train, k_width, v_width, n_experts, n_experts_used;
  float eps;
  Graph::Rope rope;
  TensorList tensors;
  uint32_t embedding, output_norm, output, rope_factors;
  std::vector<Layer> layers;
};

Graph::Rope read_rope(const Meta& meta, uint32_t k_width, uint32_t n_ctx_train) {
  Graph::Rope rope;
  rope.pairing = BRIM_ROPE_ADJACENT;
  const char* const count_key = "llama.rope.dimension_count";
  rope.n_rot = meta.u32_or(count_key, k_width, 2, k_width);
  if (rope.n_rot % 2 != 0) {
    throw Failure(BRIM_DATA_CORRUPT, std::string(count_key) + " is " + std::to_string(rope.n_rot) +
                                         "; values are rotated in pairs, so an even number was expected");
  }
  rope.base = meta.f32_or("llama.rope.freq_base", 10000);
  if (!(rope.base > 1)) throw Failure(BRIM_DATA_CORRUPT, "llama.rope.freq_base has to be above 1");

  const char* const kind_key = "llama.rope.scaling.type";
  const std::string kind = meta.string_or(kind_key, "linear");
  if (kind != "none" && kind != "linear" && kind != "yarn") {
    throw Failure(BRIM_UNSUPPORTED, std::string(kind_key) + " is '" + kind + "'; known are none, linear and yarn");
  }
  // Files of 2023 have the older name; a factor of 0 means that none was given.
  const char* const factor_key = "llama.rope.scaling.factor";
  float factor = meta.f32_or(factor_key, meta.f32_or("llama.rope.scale_linear", 0));
  if (factor < 0) throw Failure(BRIM_DATA_CORRUPT, std::string(factor_key) + " is negative");
  if (factor == 0 || kind == "none") factor = 1;
  rope.freq_scale = 1 / factor;
  rope.magnitude = meta.f32_or("llama.rope.scaling.attn_factor", 1);
  if (kind == "yarn") {
    rope.yarn = true;
    rope.n_ctx_orig = meta.u32_or("llama.rope.scaling.original_context_length", n_ctx_train, 1);
    if (factor > 1) rope.magnitude *= 1 + 0.1f * std::log(factor);
  }
  return rope;
}

Model read_model(const Meta& meta) {
  constexpr uint32_t kMost = 65535;  // of what is multiplied with another such number
  Model m;
  m.width = meta.u32("llama.embedding_length", 1, 1u << 24);
  m.n_layers = meta.u32("llama.block_count", 1, kMost);
  m.n_ctx_train = meta.u32("llama.context_length", 1);
  m.eps = meta.f32("llama.attention.layer_norm_rms_epsilon");
  const auto heads = [&](uint32_t layer) {
    return meta.u32_of_layer("llama.attention.head_count", layer, m.n_layers, 1, kMost);
  };
  const auto head_width = [&](const char* key) {
    const uint32_t n_head = heads(0), given = meta.u32_or(key, 0, 0, kMost);
    if (given == 0 && m.width % n_head != 0) {
      throw Failure(BRIM_DATA_CORRUPT, "llama.embedding_length " + std::to_string(m.width) +
                                           " is no multiple of llama.attention.head_count " + std::to_string(n_head) +
                                           ", and " + key + " is not given");
    }
    return given ? given : m.width / n_head;
  };
  m.k_width = head_width("llama.attention.key_length");
  m.v_width = head_width("llama.attention.value_length");
  m.n_experts = meta.u32_or("llama.expert_count", 0, 0, kMost);
  m.n_experts_used = m.n_experts ? meta.u32("llama.expert_used_count", 1, m.n_experts) : 0;
  m.rope = read_rope(meta, m.k_width, m.n_ctx_train);

  const auto table = meta.tensor("token_embd.weight");
  if (!table || table->rank != 2 || table->dim[0] == 0 || table->dim[0] > INT32_MAX) {
    throw Failure(table ? BRIM_DATA_CORRUPT : BRIM_NOT_FOUND,
                  std::string("tensor token_embd.weight ") +
                      (table ? "has another shape than" : "is missing; expected") + " [vocabulary, " +
                      std::to_string(m.width) + "]; a file that holds a vocabulary only cannot be loaded as a model");
  }
  m.n_vocab = static_cast<uint32_t>(table->dim[0]);

  const auto add = [&](std::vector<uint64_t> shape, std::vector<Source> sources, uint32_t flags = 0,
                       uint32_t layer = BRIM_NO_LAYER) {
    return m.tensors.add(Tensor{std::move(shape), std::move(sources), flags, layer});
  };
  // Without a head of its own the model multiplies by the embedding, which then is more than a table of rows.
  const bool tied = !meta.tensor("output.weight");
  m.embedding = add({m.n_vocab, m.width}, {gguf("token_embd.weight"), hugging_face("model.embed_tokens.weight")},
                    tied ? 0 : BRIM_TENSOR_LOOKUP);
  m.output_norm = add({m.width}, {gguf("output_norm.weight"), hugging_face("model.norm.weight")});
  m.output = add({m.n_vocab, m.width}, {gguf("output.weight"), hugging_face("lm_head.weight")}, BRIM_TENSOR_OPTIONAL);
  m.rope_factors = add({m.rope.n_rot / 2}, {gguf("rope_freqs.weight")}, BRIM_TENSOR_OPTIONAL);

  for (uint32_t i = 0; i < m.n_layers; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".", hf = "model.layers." + std::to_string(i) + ".";
    const auto linear = [&](const char* name, uint64_t n, uint64_t k, const std::string& hf_name,
                            uint32_t transform = BRIM_TRANSFORM_NONE, uint32_t argument = 0) {
      Linear l;
      l.weight = add(
          {n, k}, {gguf(block + name + ".weight"), hugging_face(hf + hf_name + ".weight", transform, argument)}, 0, i);
      l.bias = add({n}, {gguf(block + name + ".bias"), hugging_face(hf + hf_name + ".bias", transform, argument)},
                   BRIM_TENSOR_OPTIONAL, i);
      return l;
    };
    const auto norm = [&](const char* name, const char* hf_name) {
      return add({m.width}, {gguf(block + name), hugging_face(hf + hf_name)}, 0, i);
    };
    Layer& l = m.layers.emplace_back();
    l.n_head = heads(i);
    l.n_head_kv = meta.u32_of_layer_or("llama.attention.head_count_kv", i, m.n_layers, l.n_head, 1, l.n_head);
    if (l.n_head % l.n_head_kv != 0) {
      throw Failure(BRIM_DATA_CORRUPT, "llama.attention.head_count " + std::to_string(l.n_head) +
                                           " is no multiple of llama.attention.head_count_kv " +
                                           std::to_string(l.n_head_kv));
    }
    l.n_ff = meta.u32_of_layer("llama.feed_forward_length", i, m.n_layers, 1, 1u << 24);
    // Hugging Face stores the rows of each head for rotation in halves.
    constexpr uint32_t kPermute = BRIM_TRANSFORM_ROPE_HALVES_TO_ADJACENT;
    l.attention_norm = norm("attn_norm.weight", "input_layernorm.weight");
    l.q = linear("attn_q", l.n_head * m.k_width, m.width, "self_attn.q_proj", kPermute, l.n_head);
    l.k = linear("attn_k", l.n_head_kv * m.k_width, m.width, "self_attn.k_proj", kPermute, l.n_head_kv);
    l.v = linear("attn_v", l.n_head_kv * m.v_width, m.width, "self_attn.v_proj");
    l.output = linear("attn_output", m.width, l.n_head * m.v_width, "self_attn.o_proj");
    l.ffn_norm = norm("ffn_norm.weight", "post_attention_layernorm.weight");
    if (m.n_experts == 0) {
      l.gate = linear("ffn_gate", l.n_ff, m.width, "mlp.gate_proj");
      l.up = linear("ffn_up", l.n_ff, m.width, "mlp.up_proj");
      l.down = linear("ffn_down", m.width, l.n_ff, "mlp.down_proj");
      continue;
    }
    const std::string moe = hf + "block_sparse_moe.";
    const auto experts = [&](const char* name, uint64_t n, uint64_t k, const char* hf_name) {
      return add({m.n_experts, n, k},
                 {gguf(block + name),
                  hugging_face(moe + "experts.{}." + hf_name + ".weight", BRIM_TRANSFORM_STACK, m.n_experts)},
                 BRIM_TENSOR_EXPERTS, i);
    };
    l.router =
        add({m.n_experts, m.width}, {gguf(block + "ffn_gate_inp.weight"), hugging_face(moe + "gate.weight")}, 0, i);
    l.gate.weight = experts("ffn_gate_exps.weight", l.n_ff, m.width, "w1");
    l.up.weight = experts("ffn_up_exps.weight", l.n_ff, m.width, "w3");
    l.down.weight = experts("ffn_down_exps.weight", m.width, l.n_ff, "w2");
  }
  return m;
}

// x [rows, width] -> [rows, width].
Value feed_forward(Graph& g, const Layer& l, Value x) {
  const auto linear = [&](const Linear& w, Value in) { return g.matmul(g.weight(w.weight), in, g.weight(w.bias)); };
  return linear(l.down, g.glu(linear(l.gate, x), linear(l.up, x), BRIM_GLU_SILU));
}

// A softmax over all experts of which the chosen ones are scaled to a sum of 1 is the softmax over the chosen logits.
Value mixture(Graph& g, const Model& m, const Layer& l, Value x, brim_dim rows) {
  const uint32_t n = m.n_experts_used;
  const Graph::TopK chosen = g.topk(g.matmul(g.weight(l.router), x), n);
  const Value weights = g.reshape(g.softmax(chosen.values), {rows, dim(n), dim(1)});
  const auto grouped = [&](const Linear& w, Value in) {
    return g.grouped_matmul(g.weight(w.weight), in, chosen.index);
  };
  const Value parts =
      g.mul(grouped(l.down, g.glu(grouped(l.gate, x), grouped(l.up, x), BRIM_GLU_SILU)), weights);  // [rows, n, width]
  Value sum = n == 1 ? parts : g.slice(parts, 1, 0, 1);
  for (uint32_t j = 1; j < n; ++j) sum = g.add(sum, g.slice(parts, 1, j, 1));
  return g.reshape(sum, {rows, dim(m.width)});
}

// x [T, width] -> [T, width].
Value attention(Graph& g, const Model& m, const Layer& l, State state, Value x, Value position, Value factors) {
  const auto heads = [&](const Linear& w, uint32_t n, uint32_t d) {
    return g.reshape(g.matmul(g.weight(w.weight), x, g.weight(w.bias)), {kTokens, dim(n), dim(d)});
  };
  const Value q = g.rope(heads(l.q, l.n_head, m.k_width), position, m.rope, factors);
  const Value k = g.rope(heads(l.k, l.n_head_kv, m.k_width), position, m.rope, factors);
  const State written = g.kv_write(state, k, heads(l.v, l.n_head_kv, m.v_width));
  Graph::Attention attr;
  attr.n_head = l.n_head;
  attr.n_head_kv = l.n_head_kv;
  attr.scale = 1 / std::sqrt(static_cast<float>(m.k_width));
  const Value mixed = g.reshape(g.attention(q, written, attr), {kTokens, dim(l.n_head * m.v_width)});
  return g.matmul(g.weight(l.output.weight), mixed, g.weight(l.output.bias));
}

struct Llama {
  static constexpr std::string_view kId = "brim.llama", kVersion = BRIM_PLUGIN_VERSION, kLicense = "Apache-2.0";

  // Below 100, so that a plugin for one model of the family can win.
  static uint32_t match(const Meta& meta) { return meta.string_or("general.architecture", "") == "llama" ? 90 : 0; }

  static void describe(const Meta& meta, Description& description) {
    const Model m = read_model(meta);
    auto desc = sized<brim_model_desc>();
    desc.n_layers = m.n_layers;
    desc.n_vocab = m.n_vocab;
    desc.width = m.width;
    desc.n_ctx_train = m.n_ctx_train;
    desc.n_position = 1;
    desc.outputs = 1ull << BRIM_OUTPUT_LOGITS | 1ull << BRIM_OUTPUT_HIDDEN;
    description.model(desc);
    description.tensors(m.tensors);
    for (uint32_t i = 0; i < m.n_layers; ++i) {
      auto state = sized<brim_state_desc>();
      state.kind = BRIM_STATE_KV_FULL;
      state.layer = i;
      state.n_head = m.layers[i].n_head_kv;
      state.k_width = m.k_width;
      state.v_width = m.v_width;
      description.state(state);
    }
  }

  static void build(const Meta& meta, const brim_build_info& info, Graph& g) {
    const Model m = read_model(meta);
    g.scope(BRIM_NO_LAYER);
    const Value embedding = g.weight(m.embedding);
    const Value position = g.input(BRIM_INPUT_POSITION);
    const Value factors = g.weight(m.rope_factors);
    Value x = info.embeddings ? g.input(BRIM_INPUT_EMBEDDING) : g.gather_rows(embedding, g.input(BRIM_INPUT_TOKEN));
    for (uint32_t i = 0; i < m.n_layers; ++i) {
      const Layer& l = m.layers[i];
      g.scope(i);
      const Value normed = g.rms_norm(x, g.weight(l.attention_norm), m.eps);
      x = g.add(x, attention(g, m, l, g.state(i), normed, position, factors));
      const bool last = i + 1 == m.n_layers;
      if (last) x = g.gather_rows(x, g.input(BRIM_INPUT_OUTPUT_ROW));
      const Value y = g.rms_norm(x, g.weight(l.ffn_norm), m.eps);
      x = g.add(x, m.n_experts ? mixture(g, m, l, y, last ? kOutputs : kTokens) : feed_forward(g, l, y));
    }
    g.scope(BRIM_NO_LAYER);
    x = g.rms_norm(x, g.weight(m.output_norm), m.eps);
    if (info.outputs >> BRIM_OUTPUT_HIDDEN & 1) g.output(BRIM_OUTPUT_HIDDEN, x);
    if (info.outputs >> BRIM_OUTPUT_LOGITS & 1) {
      const Value head = g.weight(m.output);
      g.output(BRIM_OUTPUT_LOGITS, g.matmul(head ? head : embedding, x));
    }
  }
};

}  // namespace

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) {
  return brim::arch::plugin_header<Llama>();
}
