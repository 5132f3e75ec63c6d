// Gemma 1, 2 and 3 (text): embeddings scaled by the root of the width, GEGLU, a head tied to the embedding. Gemma 2 and
// 3 have norms behind attention and feed-forward too and let most layers see a sliding window only; Gemma 2 caps scores
// and logits, Gemma 3 norms queries and keys and rotates its local layers with another base. Files store norm weights
// with the 1 added. Images are not handled.
#include <brim/architecture_plugin.hpp>
#include <brim/layers.hpp>

namespace {

using namespace brim::arch;

struct Layer {
  uint32_t window;  // 0: sees everything
  uint32_t attention_norm, post_attention_norm, ffn_norm, post_ffw_norm;
  Attention attention;
  FeedForward ffn;
};

struct Model {
  Decoder d;
  bool post_norms;
  float scale, attention_cap, logit_cap;  // a cap of 0 is none
  Graph::Rope rope, local_rope;
  std::vector<Layer> layers;
};

bool knows(std::string_view family) { return family == "gemma" || family == "gemma2" || family == "gemma3"; }

Model read_model(const Meta& meta) {
  const std::string family = meta.string("general.architecture");
  const bool second = family == "gemma2", third = family == "gemma3";
  Model m{};
  m.d = read_decoder(meta, family);
  Decoder& d = m.d;
  m.post_norms = second || third;
  const uint32_t k_width = head_width(meta, d, "attention.key_length");
  // The largest of either generation divides by the root of width / heads, all others by that of the head's width.
  const bool largest = (second && d.n_layers == 46) || (third && d.n_layers == 62);
  const uint32_t scaled_by = largest ? d.width / read_heads(meta, d, 0).q : k_width;
  m.scale = 1 / std::sqrt(static_cast<float>(scaled_by));
  m.attention_cap = second ? meta.f32_or(d.key("attn_logit_softcapping"), 50, 0) : 0;
  m.logit_cap = second || third ? meta.f32_or(d.key("final_logit_softcapping"), second ? 30 : 0, 0) : 0;
  m.rope = m.local_rope = read_rope(meta, d, BRIM_ROPE_HALVES, k_width);
  if (third) {  // only global layers are stretched
    m.local_rope.base = meta.f32_or(d.key("rope.freq_base_swa"), 10000, 1);
    m.local_rope.freq_scale = m.local_rope.magnitude = 1;
    m.local_rope.yarn = false;
  }
  const uint32_t window = m.post_norms ? meta.u32_or(d.key("attention.sliding_window"), second ? 4096 : 0) : 0;
  const uint32_t period = second ? 2 : 6;
  for (uint32_t i = 0; i < d.n_layers; ++i) {
    Layer& l = m.layers.emplace_back();
    const auto norm = [&](const char* name) { return d.tensor(i, std::string(name) + ".weight", {d.width}); };
    l.window = i % period == period - 1 ? 0 : window;  // the last of each period sees everything
    l.attention_norm = norm("attn_norm");
    l.attention = attention(meta, d, i, third);
    l.ffn_norm = norm("ffn_norm");
    l.ffn = feed_forward(d, i, hidden_width(meta, d, i));
    if (m.post_norms) {
      l.post_attention_norm = norm("post_attention_norm");
      l.post_ffw_norm = norm("post_ffw_norm");
    }
  }
  return m;
}

struct Gemma {
  static constexpr std::string_view kId = "brim.gemma", kVersion = BRIM_PLUGIN_VERSION, kLicense = "Apache-2.0";

  static uint32_t match(const Meta& meta) { return knows(meta.architecture()) ? 90 : 0; }

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
    const auto post_norm = [&](Value x, uint32_t weight) { return m.post_norms ? norm(x, weight) : x; };
    Value x = g.affine(embed(g, m.d, info), std::sqrt(static_cast<float>(m.d.width)));
    const Value position = g.input(BRIM_INPUT_POSITION);
    for (uint32_t i = 0; i < m.d.n_layers; ++i) {
      const Layer& l = m.layers[i];
      g.scope(i);
      Graph::Attention how = l.attention.how();
      how.scale = m.scale;
      how.softcap = m.attention_cap;
      how.window = l.window;
      const Value mixed = attention(g, l.attention, m.d.eps, g.state(i), norm(x, l.attention_norm), position,
                                    l.window ? m.local_rope : m.rope, how);
      x = g.add(x, post_norm(mixed, l.post_attention_norm));
      if (i + 1 == m.d.n_layers) x = wanted_rows(g, x);
      const Value y = feed_forward(g, l.ffn, norm(x, l.ffn_norm), BRIM_GLU_GELU_TANH);
      x = g.add(x, post_norm(y, l.post_ffw_norm));
    }
    finish(g, m.d, info, x, m.logit_cap);
  }
};

}  // namespace

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) {
  return brim::arch::plugin_header<Gemma>();
}
