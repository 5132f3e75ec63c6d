// gpt-oss: a mixture in every layer, biases on everything, every other layer with a sliding window, YaRN, a learnt sink
// per head that takes a share of the softmax, and a SwiGLU that is clamped and leans by one.
#include <brim/architecture_plugin.hpp>
#include <brim/layers.hpp>

namespace {

using namespace brim::arch;

constexpr float kAlpha = 1.702f, kLimit = 7;  // of the SwiGLU; files do not store them

struct Layer {
  uint32_t window;  // 0: sees everything
  uint32_t attention_norm, ffn_norm, sinks;
  Attention attention;
  Mixture experts;
};

struct Model {
  Decoder d;
  Graph::Router router;
  Graph::Rope rope;
  std::vector<Layer> layers;
};

Model read_model(const Meta& meta) {
  Model m{};
  m.d = read_decoder(meta, "gpt-oss");
  Decoder& d = m.d;
  m.rope = read_rope(meta, d, BRIM_ROPE_HALVES, head_width(meta, d, "attention.key_length"));
  const uint32_t window = meta.u32(d.key("attention.sliding_window"), 1);
  const uint32_t experts = meta.u32(d.key("expert_count"), 1, kMostExperts);
  const uint32_t hidden = meta.u32(d.key("expert_feed_forward_length"), 1, kMostWidth);
  m.router.gate = BRIM_MOE_GATE_SOFTMAX_CHOSEN;
  m.router.k = meta.u32(d.key("expert_used_count"), 1, experts);
  for (uint32_t i = 0; i < d.n_layers; ++i) {
    Layer& l = m.layers.emplace_back();
    l.window = i % 2 == 0 ? window : 0;
    l.attention_norm = d.tensor(i, "attn_norm.weight", {d.width});
    l.attention = attention(meta, d, i);
    l.sinks = d.tensor(i, "attn_sinks.weight", {l.attention.heads.q});
    l.ffn_norm = d.tensor(i, "post_attention_norm.weight", {d.width});
    l.experts = mixture(d, i, experts, hidden);
  }
  return m;
}

struct GptOss {
  static constexpr std::string_view kId = "brim.gpt-oss", kVersion = BRIM_PLUGIN_VERSION, kLicense = "Apache-2.0";

  static uint32_t match(const Meta& meta) { return meta.architecture() == "gpt-oss" ? 90 : 0; }

  static void describe(const Meta& meta, Description& description) {
    const Model m = read_model(meta);
    brim::arch::describe(m.d, description);
    for (uint32_t i = 0; i < m.d.n_layers; ++i) {
      description.state(kv_state(i, m.layers[i].attention, m.layers[i].window));
    }
  }

  static void build(const Meta& meta, const brim_build_info& info, Graph& g) {
    const Model m = read_model(meta);
    const auto norm = [&](Value x, uint32_t weight) { return g.rms_norm(x, g.weight(weight), m.d.eps); };
    const auto act = [](Graph& to, Value gate, Value up) { return to.swiglu_limit(gate, up, kAlpha, kLimit); };
    Value x = embed(g, m.d, info);
    const Value position = g.input(BRIM_INPUT_POSITION);
    for (uint32_t i = 0; i < m.d.n_layers; ++i) {
      const Layer& l = m.layers[i];
      g.scope(i);
      Graph::Attention how = l.attention.how();
      how.window = l.window;
      how.sinks = g.weight(l.sinks);
      const Value normed = norm(x, l.attention_norm);
      x = g.add(x, attention(g, l.attention, m.d.eps, g.state(i), normed, position, m.rope, how));
      if (i + 1 == m.d.n_layers) x = wanted_rows(g, x);
      x = g.add(x, mixture(g, l.experts, m.router, norm(x, l.ffn_norm), act));
    }
    finish(g, m.d, info, x);
  }
};

}  // namespace

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) {
  return brim::arch::plugin_header<GptOss>();
}
