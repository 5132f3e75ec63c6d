// Qwen 2 (and 2.5), Qwen 3 and the Qwen 3 mixtures: rotation in halves; biases on q, k and v in the second generation,
// norms over the heads of q and k in the third; of the mixtures' experts each token takes a few by a softmax over all,
// scaled to a sum of 1.
#include <brim/architecture_plugin.hpp>
#include <brim/layers.hpp>

namespace {

using namespace brim::arch;

struct Layer {
  uint32_t attention_norm, ffn_norm;
  Attention attention;
  FeedForward ffn;  // or
  Mixture experts;
};

struct Model {
  Decoder d;
  bool mixed;  // of experts
  Graph::Router router;
  Graph::Rope rope;
  std::vector<Layer> layers;
};

bool knows(std::string_view family) { return family == "qwen2" || family == "qwen3" || family == "qwen3moe"; }

Model read_model(const Meta& meta) {
  const std::string family = meta.string("general.architecture");
  Model m{};
  m.d = read_decoder(meta, family);
  m.mixed = family == "qwen3moe";
  Decoder& d = m.d;
  m.rope = read_rope(meta, d, BRIM_ROPE_HALVES, head_width(meta, d, "attention.key_length"));
  uint32_t experts = 0;
  if (m.mixed) {
    experts = meta.u32(d.key("expert_count"), 1, kMostExperts);
    m.router.k = meta.u32(d.key("expert_used_count"), 1, experts);
    m.router.normalise = true;
  }
  for (uint32_t i = 0; i < d.n_layers; ++i) {
    Layer& l = m.layers.emplace_back();
    l.attention_norm = d.tensor(i, "attn_norm.weight", {d.width});
    l.attention = attention(meta, d, i, family != "qwen2");
    l.ffn_norm = d.tensor(i, "ffn_norm.weight", {d.width});
    if (m.mixed) {
      l.experts = mixture(d, i, experts, hidden_width(meta, d, i, "expert_feed_forward_length"));
    } else {
      l.ffn = feed_forward(d, i, hidden_width(meta, d, i));
    }
  }
  return m;
}

struct Qwen {
  static constexpr std::string_view kId = "brim.qwen", kVersion = BRIM_PLUGIN_VERSION, kLicense = "Apache-2.0";

  static uint32_t match(const Meta& meta) { return knows(meta.architecture()) ? 90 : 0; }

  static void describe(const Meta& meta, Description& description) {
    const Model m = read_model(meta);
    brim::arch::describe(m.d, description);
    for (uint32_t i = 0; i < m.d.n_layers; ++i) description.state(kv_state(i, m.layers[i].attention));
  }

  static void build(const Meta& meta, const brim_build_info& info, Graph& g) {
    const Model m = read_model(meta);
    const auto norm = [&](Value x, uint32_t weight) { return g.rms_norm(x, g.weight(weight), m.d.eps); };
    Value x = embed(g, m.d, info);
    const Value position = g.input(BRIM_INPUT_POSITION);
    for (uint32_t i = 0; i < m.d.n_layers; ++i) {
      const Layer& l = m.layers[i];
      g.scope(i);
      const Value normed = norm(x, l.attention_norm);
      x = g.add(x, attention(g, l.attention, m.d.eps, g.state(i), normed, position, m.rope, l.attention.how()));
      if (i + 1 == m.d.n_layers) x = wanted_rows(g, x);
      const Value y = norm(x, l.ffn_norm);
      x = g.add(x, m.mixed ? mixture(g, l.experts, m.router, y, swiglu) : feed_forward(g, l.ffn, y));
    }
    finish(g, m.d, info, x);
  }
};

}  // namespace

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) {
  return brim::arch::plugin_header<Qwen>();
}
