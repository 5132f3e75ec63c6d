// Qwen 3 Next and Qwen 3.5 (text): three of four layers carry a matrix per head from token to token (gated delta net,
// arXiv:2412.06464), the fourth attends to all tokens through a gate. Positions rotate the first part of a head; a
// text's sections of positions all say the same. Feed-forward is a mixture with a shared expert that has a gate of its
// own, or plain in the dense Qwen 3.5. The two differ further in where the decay and the step of the delta rule come
// from and in which key head a value head reads. Images and the layers that guess further tokens are not handled.
#include <brim/architecture_plugin.hpp>
#include <brim/layers.hpp>

namespace {

using namespace brim::arch;

// A layer's states come in this order.
constexpr uint32_t kConv = 0, kMemory = 1;

struct DeltaNet {
  Linear qkv, z, beta, alpha, beta_alpha, output;
  uint32_t conv, dt_bias, decay, norm;
};

struct Layer {
  bool attends;
  uint32_t state;  // the first of its own
  uint32_t attention_norm, ffn_norm;
  Attention attention;  // or
  DeltaNet net;
  FeedForward ffn;  // or, with the shared expert in ffn,
  Mixture experts;
  uint32_t shared_gate;
};

struct Model {
  Decoder d;
  bool next, mixed;                                             // qwen3next; with experts
  uint32_t key_heads, value_heads, head_width, taps, channels;  // of the delta net
  Graph::Router router;
  Graph::Rope rope;
  std::vector<Layer> layers;
};

bool knows(std::string_view family) { return family == "qwen3next" || family == "qwen35" || family == "qwen35moe"; }

void read_delta_net(const Meta& meta, Model& m) {
  Decoder& d = m.d;
  m.head_width = meta.u32(d.key("ssm.state_size"), 1, kMostHeads);
  m.key_heads = meta.u32(d.key("ssm.group_count"), 1, kMostHeads);
  m.value_heads = meta.u32(d.key("ssm.time_step_rank"), 1, kMostHeads);
  m.taps = meta.u32(d.key("ssm.conv_kernel"), 2, 64);
  const uint64_t inner = meta.u32(d.key("ssm.inner_size"), 1, kMostWidth);
  if (m.value_heads % m.key_heads != 0) {
    throw Failure(BRIM_DATA_CORRUPT, d.key("ssm.time_step_rank") + " " + std::to_string(m.value_heads) +
                                         " is no multiple of " + d.key("ssm.group_count") + " " +
                                         std::to_string(m.key_heads));
  }
  if (inner != uint64_t{m.value_heads} * m.head_width) {
    throw Failure(BRIM_UNSUPPORTED, d.key("ssm.inner_size") + " is " + std::to_string(inner) +
                                        "; expected the heads of values to be as wide as those of keys: " +
                                        std::to_string(uint64_t{m.value_heads} * m.head_width));
  }
  const uint64_t channels = inner + uint64_t{2} * m.key_heads * m.head_width;
  if (channels > kMostWidth) {
    throw Failure(BRIM_DATA_CORRUPT, d.key("ssm.group_count") + " and " + d.key("ssm.state_size") + " make " +
                                         std::to_string(channels) + " channels; the file is damaged");
  }
  m.channels = static_cast<uint32_t>(channels);
}

DeltaNet delta_net(Model& m, uint32_t layer) {
  Decoder& d = m.d;
  DeltaNet n{};
  const uint64_t inner = uint64_t{m.value_heads} * m.head_width;
  n.qkv = d.linear(layer, "attn_qkv", m.channels, d.width);
  n.z = d.linear(layer, "attn_gate", inner, d.width);
  if (m.next) {
    n.beta_alpha = d.linear(layer, "ssm_ba", uint64_t{2} * m.value_heads, d.width);
  } else {
    n.beta = d.linear(layer, "ssm_beta", m.value_heads, d.width);
    n.alpha = d.linear(layer, "ssm_alpha", m.value_heads, d.width);
  }
  n.conv = d.tensor(layer, "ssm_conv1d.weight", {m.channels, m.taps});
  n.dt_bias = d.tensor(layer, "ssm_dt.bias", {m.value_heads});
  n.decay = d.tensor(layer, "ssm_a", {m.value_heads});
  n.norm = d.tensor(layer, "ssm_norm.weight", {m.head_width});
  n.output = d.linear(layer, "ssm_out", d.width, inner);
  return n;
}

Model read_model(const Meta& meta) {
  const std::string family = meta.string("general.architecture");
  Model m{};
  m.d = read_decoder(meta, family);
  m.next = family == "qwen3next";
  m.mixed = family != "qwen35";
  Decoder& d = m.d;
  m.rope = read_rope(meta, d, BRIM_ROPE_HALVES, head_width(meta, d, "attention.key_length"));
  read_delta_net(meta, m);
  const uint32_t period = meta.u32_or(d.key("full_attention_interval"), 4, 1);
  uint32_t experts = 0, states = 0;
  if (m.mixed) {
    experts = meta.u32(d.key("expert_count"), 1, kMostExperts);
    m.router.k = meta.u32(d.key("expert_used_count"), 1, experts);
    m.router.normalise = true;
  }
  for (uint32_t i = 0; i < d.n_layers; ++i) {
    Layer& l = m.layers.emplace_back();
    l.attends = (i + 1) % period == 0;
    l.state = states;
    states += l.attends ? 1 : 2;
    l.attention_norm = d.tensor(i, "attn_norm.weight", {d.width});
    if (l.attends) {
      l.attention = attention(meta, d, i, true, 2);  // q and, behind it in each head, the gate
    } else {
      l.net = delta_net(m, i);
    }
    l.ffn_norm = d.tensor(i, "post_attention_norm.weight", {d.width});
    if (m.mixed) {
      l.experts = mixture(d, i, experts, hidden_width(meta, d, i, "expert_feed_forward_length"));
      l.ffn = feed_forward(d, i, hidden_width(meta, d, i, "expert_shared_feed_forward_length"), "_shexp");
      l.shared_gate = d.tensor(i, "ffn_gate_inp_shexp.weight", {d.width});
    } else {
      l.ffn = feed_forward(d, i, hidden_width(meta, d, i));
    }
  }
  return m;
}

// x [T, width] -> [T, width].
Value gated_attention(Graph& g, const Model& m, const Layer& l, Value x, Value position) {
  const Attention& a = l.attention;
  const Value both = in_heads(g, a.q, x, a.heads.q, 2 * a.k_width);
  const Value q = placed(g, a, a.q_norm, m.d.eps, g.slice(both, 2, 0, a.k_width), position, m.rope);
  const Value gate = g.slice(both, 2, a.k_width, a.k_width);
  const Value k = placed(g, a, a.k_norm, m.d.eps, in_heads(g, a.k, x, a.heads.kv, a.k_width), position, m.rope);
  const State written = g.kv_write(g.state(l.state), k, in_heads(g, a.v, x, a.heads.kv, a.v_width));
  const Value mixed = g.glu(gate, g.attention(q, written, a.how()), BRIM_GLU_SIGMOID);
  return linear(g, a.output, g.reshape(mixed, {kTokens, dim(a.heads.q * a.v_width)}));
}

// x [T, width] -> [T, width].
Value delta_net(Graph& g, const Model& m, const Layer& l, Value x) {
  const DeltaNet& n = l.net;
  const uint32_t keys = m.key_heads, values = m.value_heads, d = m.head_width;
  const Value conv =
      g.causal_conv1d(linear(g, n.qkv, x), g.state(l.state + kConv), g.weight(n.conv), {}, BRIM_UNARY_SILU).y;
  const Value heads = g.reshape(conv, {kTokens, dim(2 * keys + values), dim(d)});
  const Value q = g.l2_norm(g.slice(heads, 1, 0, keys), m.d.eps);
  const Value k = g.l2_norm(g.slice(heads, 1, keys, keys), m.d.eps);
  const Value v = g.slice(heads, 1, 2 * keys, values);

  // The logits of beta, and alpha + bias: [T, value heads].
  Value beta, alpha;
  if (m.next) {  // per key head: beta of its value heads, then alpha
    const uint32_t group = values / keys;
    const Value both = g.reshape(linear(g, n.beta_alpha, x), {kTokens, dim(keys), dim(2), dim(group)});
    const Value bias = g.reshape(g.weight(n.dt_bias), {dim(keys), dim(1), dim(group)});
    beta = g.slice(both, 2, 0, 1);
    alpha = g.reshape(g.add(g.slice(both, 2, 1, 1), bias), {kTokens, dim(values)});
  } else {
    beta = linear(g, n.beta, x);
    alpha = g.add(linear(g, n.alpha, x), g.weight(n.dt_bias));
  }
  beta = g.reshape(g.unary(beta, BRIM_UNARY_SIGMOID), {kTokens, dim(values)});
  const Value decay = g.mul(g.unary(alpha, BRIM_UNARY_SOFTPLUS), g.weight(n.decay));

  Graph::LinearAttention how;
  how.scale = 1 / std::sqrt(static_cast<float>(d));
  how.heads_modulo = !m.next;
  const Value y = g.linear_attention(q, k, v, decay, beta, g.state(l.state + kMemory), how).y;
  const Value gated = g.glu(in_heads(g, n.z, x, values, d), g.rms_norm(y, g.weight(n.norm), m.d.eps), BRIM_GLU_SILU);
  return linear(g, n.output, g.reshape(gated, {kTokens, dim(values * d)}));
}

// x [rows, width] -> [rows, width].
Value feed_forward(Graph& g, const Model& m, const Layer& l, Value x) {
  const Value ffn = brim::arch::feed_forward(g, l.ffn, x);
  if (!m.mixed) return ffn;
  const Value gate = g.matmul(g.reshape(g.weight(l.shared_gate), {dim(1), dim(m.d.width)}), x);
  return g.add(mixture(g, l.experts, m.router, x, swiglu), g.mul(ffn, g.unary(gate, BRIM_UNARY_SIGMOID)));
}

struct QwenNext {
  static constexpr std::string_view kId = "brim.qwen-next", kVersion = BRIM_PLUGIN_VERSION, kLicense = "Apache-2.0";

  static uint32_t match(const Meta& meta) { return knows(meta.architecture()) ? 90 : 0; }

  static void describe(const Meta& meta, Description& description) {
    const Model m = read_model(meta);
    brim::arch::describe(m.d, description);
    for (uint32_t i = 0; i < m.d.n_layers; ++i) {
      if (m.layers[i].attends) {
        description.state(kv_state(i, m.layers[i].attention));
        continue;
      }
      auto state = sized<brim_state_desc>();
      state.layer = i;
      state.kind = BRIM_STATE_CONV;
      state.elements = uint64_t{m.taps - 1} * m.channels;
      description.state(state);
      state.kind = BRIM_STATE_RECURRENT;
      state.elements = uint64_t{m.value_heads} * m.head_width * m.head_width;
      description.state(state);
    }
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
      x = g.add(x, l.attends ? gated_attention(g, m, l, normed, position) : delta_net(g, m, l, normed));
      if (i + 1 == m.d.n_layers) x = wanted_rows(g, x);
      x = g.add(x, feed_forward(g, m, l, norm(x, l.ffn_norm)));
    }
    finish(g, m.d, info, x);
  }
};

}  // namespace

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) {
  return brim::arch::plugin_header<QwenNext>();
}
