// The llama family: Llama 1 to 3.x, Mistral, TinyLlama, SmolLM and Mixtral. A pre-norm transformer with grouped-query
// attention, rotary positions on adjacent pairs, and a SwiGLU feed-forward layer, or a mixture of such layers of which
// each token takes the few with the largest router logits.
//
// The head runs for wanted rows only: after the attention of the last layer, which is the last place where rows meet,
// the residual is cut down to them. A sliding window of early Mistral files is not applied, as in other readers of
// such files. Rotary scaling of the kinds none, linear and yarn; longrope is refused.
#include <brim/architecture_plugin.hpp>
#include <brim/layers.hpp>

namespace {

using namespace brim::arch;

struct Layer {
  uint32_t attention_norm, ffn_norm, router;
  Attention attention;
  FeedForward ffn;  // or, with a router, that of every expert
};

// All that metadata says, and every tensor in the order in which describe declares them.
struct Model {
  Decoder d;
  uint32_t n_experts, n_experts_used, rope_factors;
  Graph::Rope rope;
  std::vector<Layer> layers;
};

Model read_model(const Meta& meta) {
  Model m{};
  m.d = read_decoder(meta, "llama");
  Decoder& d = m.d;
  const uint32_t k_width = head_width(meta, d, "attention.key_length");
  const uint32_t v_width = head_width(meta, d, "attention.value_length");
  m.n_experts = meta.u32_or("llama.expert_count", 0, 0, kMostExperts);
  m.n_experts_used = m.n_experts ? meta.u32("llama.expert_used_count", 1, m.n_experts) : 0;
  m.rope = read_rope(meta, d, BRIM_ROPE_ADJACENT, k_width);
  const auto add = [&](std::vector<uint64_t> shape, std::vector<Source> sources, uint32_t flags = 0,
                       uint32_t layer = BRIM_NO_LAYER) {
    return d.tensors.add(Tensor{std::move(shape), std::move(sources), flags, layer});
  };
  m.rope_factors = add({m.rope.n_rot / 2}, {gguf("rope_freqs.weight")}, BRIM_TENSOR_OPTIONAL);

  for (uint32_t i = 0; i < d.n_layers; ++i) {
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
      return add({d.width}, {gguf(block + name), hugging_face(hf + hf_name)}, 0, i);
    };
    Layer& l = m.layers.emplace_back();
    Attention& a = l.attention;
    a.heads = read_heads(meta, d, i);
    a.k_width = k_width;
    a.v_width = v_width;
    // Hugging Face stores the rows of each head for rotation in halves.
    constexpr uint32_t kPermute = BRIM_TRANSFORM_ROPE_HALVES_TO_ADJACENT;
    l.attention_norm = norm("attn_norm.weight", "input_layernorm.weight");
    a.q = linear("attn_q", a.heads.q * k_width, d.width, "self_attn.q_proj", kPermute, a.heads.q);
    a.k = linear("attn_k", a.heads.kv * k_width, d.width, "self_attn.k_proj", kPermute, a.heads.kv);
    a.v = linear("attn_v", a.heads.kv * v_width, d.width, "self_attn.v_proj");
    a.output = linear("attn_output", d.width, a.heads.q * v_width, "self_attn.o_proj");
    l.ffn_norm = norm("ffn_norm.weight", "post_attention_layernorm.weight");
    const uint64_t hidden = hidden_width(meta, d, i);
    if (m.n_experts == 0) {
      l.ffn = {linear("ffn_gate", hidden, d.width, "mlp.gate_proj"), linear("ffn_up", hidden, d.width, "mlp.up_proj"),
               linear("ffn_down", d.width, hidden, "mlp.down_proj")};
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
        add({m.n_experts, d.width}, {gguf(block + "ffn_gate_inp.weight"), hugging_face(moe + "gate.weight")}, 0, i);
    l.ffn.gate.weight = experts("ffn_gate_exps.weight", hidden, d.width, "w1");
    l.ffn.up.weight = experts("ffn_up_exps.weight", hidden, d.width, "w3");
    l.ffn.down.weight = experts("ffn_down_exps.weight", d.width, hidden, "w2");
  }
  return m;
}

// x [rows, width] -> [rows, width]. A softmax over all experts of which the chosen ones are scaled to a sum of 1 is the
// softmax over the chosen logits.
Value mixture(Graph& g, const Model& m, const Layer& l, Value x, brim_dim rows) {
  const uint32_t n = m.n_experts_used;
  const Graph::TopK chosen = g.topk(g.matmul(g.weight(l.router), x), n);
  const Value weights = g.reshape(g.softmax(chosen.values), {rows, dim(n), dim(1)});
  const auto grouped = [&](const Linear& w, Value in) {
    return g.grouped_matmul(g.weight(w.weight), in, chosen.index);
  };
  const Value hidden = g.glu(grouped(l.ffn.gate, x), grouped(l.ffn.up, x), BRIM_GLU_SILU);
  const Value parts = g.mul(grouped(l.ffn.down, hidden), weights);  // [rows, n, width]
  Value sum = n == 1 ? parts : g.slice(parts, 1, 0, 1);
  for (uint32_t j = 1; j < n; ++j) sum = g.add(sum, g.slice(parts, 1, j, 1));
  return g.reshape(sum, {rows, dim(m.d.width)});
}

struct Llama {
  static constexpr std::string_view kId = "brim.llama", kVersion = BRIM_PLUGIN_VERSION, kLicense = "Apache-2.0";

  // Below 100, so that a plugin for one model of the family can win.
  static uint32_t match(const Meta& meta) { return meta.architecture() == "llama" ? 90 : 0; }

  static void describe(const Meta& meta, Description& description) {
    const Model m = read_model(meta);
    brim::arch::describe(m.d, description);
    for (uint32_t i = 0; i < m.d.n_layers; ++i) description.state(kv_state(i, m.layers[i].attention));
  }

  static void build(const Meta& meta, const brim_build_info& info, Graph& g) {
    const Model m = read_model(meta);
    const auto norm = [&](Value x, uint32_t weight) { return g.rms_norm(x, g.weight(weight), m.d.eps); };
    Value x = embed(g, m.d, info);
    const Value position = g.input(BRIM_INPUT_POSITION), factors = g.weight(m.rope_factors);
    for (uint32_t i = 0; i < m.d.n_layers; ++i) {
      const Layer& l = m.layers[i];
      g.scope(i);
      const Value normed = norm(x, l.attention_norm);
      const Graph::Attention how = l.attention.how();
      x = g.add(x, attention(g, l.attention, m.d.eps, g.state(i), normed, position, m.rope, how, factors));
      const bool last = i + 1 == m.d.n_layers;
      if (last) x = wanted_rows(g, x);
      const Value y = norm(x, l.ffn_norm);
      x = g.add(x, m.n_experts ? mixture(g, m, l, y, last ? kOutputs : kTokens) : feed_forward(g, l.ffn, y));
    }
    finish(g, m.d, info, x);
  }
};

}  // namespace

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) {
  return brim::arch::plugin_header<Llama>();
}
