// DeepSeek 2 and 3 (and those built like them): multi-head latent attention, of which a token leaves one short row, and
// after a few plain layers mixtures with shared experts, in the third generation routed by a sigmoid, a bias that moves
// the choice only, and groups of experts.
//
// Files come in two forms. The newer ones have the up-projections of keys and values apart (attn_k_b, attn_v_b): the
// first is taken into the query and the second behind the attention ("absorbed"), so that all heads share one K of rank
// + rotated values whose first `rank` values are V too. Prefill does the same as decode: there the scores cost more
// than with keys written out for every head, but a chunk would have to write them out for all tokens before it, again
// and again, and a row would get other bits than in decode. The older files have one projection for both (attn_kv_b),
// whose half for keys would be wanted transposed: their keys and values are written out and kept for every head.
#include <brim/architecture_plugin.hpp>
#include <brim/layers.hpp>

namespace {

using namespace brim::arch;

struct Layer {
  uint32_t attention_norm, ffn_norm, q_norm, kv_norm;
  Linear q_down, q, kv_down, kv_up, output;
  uint32_t k_up, v_up;
  bool mixed;       // of experts
  FeedForward ffn;  // of a mixture: the shared experts
  Mixture experts;
  uint32_t selection_bias;
};

struct Model {
  Decoder d;
  uint32_t n_head, q_rank, kv_rank;  // q_rank 0: q in one product
  uint32_t plain, rotated, v_width;  // values of a head of q and k before and in the rotation, and of v
  bool absorbed, shared;
  float scale;
  Graph::Router router;
  Graph::Rope rope;
  std::vector<Layer> layers;
};

void read_attention(const Meta& meta, Model& m) {
  const Decoder& d = m.d;
  m.n_head = meta.u32_of_layer(d.key("attention.head_count"), 0, d.n_blocks, 1, kMostHeads);
  m.q_rank = meta.u32_or(d.key("attention.q_lora_rank"), 0, 0, kMostHeads);
  m.kv_rank = meta.u32(d.key("attention.kv_lora_rank"), 1, kMostHeads);
  m.absorbed = meta.tensor("blk.0.attn_k_b.weight").has_value();
  // Where heads share a row of K, key_length is that row's.
  const char* const k_key = m.absorbed ? "attention.key_length_mla" : "attention.key_length";
  const char* const v_key = m.absorbed ? "attention.value_length_mla" : "attention.value_length";
  const uint32_t k_width = meta.u32(d.key(k_key), 2, kMostHeads);
  m.v_width = meta.u32(d.key(v_key), 1, kMostHeads);
  m.rope = read_rope(meta, d, BRIM_ROPE_ADJACENT, k_width);
  m.rotated = m.rope.n_rot;
  m.plain = k_width - m.rotated;
  if (m.plain == 0) {
    throw Failure(BRIM_DATA_CORRUPT, d.key(k_key) + " is " + std::to_string(k_width) + "; expected more than " +
                                         d.key("rope.dimension_count") + ", since a part of a head is not rotated");
  }
  m.scale = 1 / std::sqrt(static_cast<float>(k_width));
  if (m.rope.yarn) {  // its magnitude is in the scores' scale, squared
    const float magnitude =
        1 + meta.f32_or(d.key("rope.scaling.yarn_log_multiplier"), 0, 0) * std::log(1 / m.rope.freq_scale);
    m.rope.magnitude = 1;
    m.scale *= magnitude * magnitude;
  }
}

uint32_t read_router(const Meta& meta, Model& m) {
  const Decoder& d = m.d;
  const uint32_t experts = meta.u32(d.key("expert_count"), 1, kMostExperts);
  m.router.k = meta.u32(d.key("expert_used_count"), 1, experts);
  // Files from before the key are of the second generation.
  const uint32_t gate = meta.u32_or(d.key("expert_gating_func"), 1, 1, 2);
  m.router.gate = gate == 2 ? BRIM_MOE_GATE_SIGMOID : BRIM_MOE_GATE_SOFTMAX;
  m.router.normalise = meta.boolean_or(d.key("expert_weights_norm"), false);
  const float scale = meta.f32_or(d.key("expert_weights_scale"), 1, 0);
  m.router.scale = scale == 0 ? 1 : scale;
  const uint32_t groups = meta.u32_or(d.key("expert_group_count"), 0, 0, experts);
  if (groups > 1) {
    if (experts % groups != 0) {
      throw Failure(BRIM_DATA_CORRUPT, d.key("expert_count") + " " + std::to_string(experts) + " is no multiple of " +
                                           d.key("expert_group_count") + " " + std::to_string(groups));
    }
    m.router.n_group = groups;
    m.router.n_group_used = meta.u32(d.key("expert_group_used_count"), 1, groups);
    if (m.router.k > experts / groups * m.router.n_group_used) {
      throw Failure(BRIM_DATA_CORRUPT, d.key("expert_used_count") + " " + std::to_string(m.router.k) +
                                           " is more than the experts of " + d.key("expert_group_used_count") + " " +
                                           std::to_string(m.router.n_group_used) + " groups");
    }
  }
  return experts;
}

Model read_model(const Meta& meta) {
  Model m{};
  m.d = read_decoder(meta, "deepseek2");
  Decoder& d = m.d;
  read_attention(meta, m);
  const uint32_t experts = read_router(meta, m), dense = meta.u32_or(d.key("leading_dense_block_count"), 0);
  const uint32_t shared = meta.u32_or(d.key("expert_shared_count"), 0, 0, kMostExperts);
  m.shared = shared != 0;
  const uint64_t k_width = m.plain + m.rotated, heads = m.n_head;
  for (uint32_t i = 0; i < d.n_layers; ++i) {
    Layer& l = m.layers.emplace_back();
    l.attention_norm = d.tensor(i, "attn_norm.weight", {d.width});
    if (m.q_rank != 0) {
      l.q_down = d.linear(i, "attn_q_a", m.q_rank, d.width);
      l.q_norm = d.tensor(i, "attn_q_a_norm.weight", {m.q_rank});
    }
    l.q = d.linear(i, m.q_rank != 0 ? "attn_q_b" : "attn_q", heads * k_width, m.q_rank != 0 ? m.q_rank : d.width);
    l.kv_down = d.linear(i, "attn_kv_a_mqa", m.kv_rank + m.rotated, d.width);
    l.kv_norm = d.tensor(i, "attn_kv_a_norm.weight", {m.kv_rank});
    if (m.absorbed) {
      l.k_up = d.tensor(i, "attn_k_b.weight", {heads, m.kv_rank, m.plain});
      l.v_up = d.tensor(i, "attn_v_b.weight", {heads, m.v_width, m.kv_rank});
    } else {
      l.kv_up = d.linear(i, "attn_kv_b", heads * (m.plain + m.v_width), m.kv_rank);
    }
    l.output = d.linear(i, "attn_output", d.width, heads * m.v_width);
    l.ffn_norm = d.tensor(i, "ffn_norm.weight", {d.width});
    l.mixed = i >= dense;
    if (!l.mixed) {
      l.ffn = feed_forward(d, i, hidden_width(meta, d, i));
      continue;
    }
    const uint64_t hidden = hidden_width(meta, d, i, "expert_feed_forward_length");
    l.experts = mixture(d, i, experts, hidden);
    l.selection_bias = d.tensor(i, "exp_probs_b.bias", {experts}, BRIM_TENSOR_OPTIONAL);
    if (m.shared) l.ffn = feed_forward(d, i, hidden * shared, "_shexp");
  }
  return m;
}

// x [T, width] -> [T, width].
Value attention(Graph& g, const Model& m, const Layer& l, State state, Value x, Value position) {
  const uint32_t heads = m.n_head, k_width = m.plain + m.rotated;
  const Value narrow = m.q_rank != 0 ? g.rms_norm(linear(g, l.q_down, x), g.weight(l.q_norm), m.d.eps) : x;
  const Value q = in_heads(g, l.q, narrow, heads, k_width);
  const Value q_plain = g.slice(q, 2, 0, m.plain);
  const Value q_rotated = g.rope(g.slice(q, 2, m.plain, m.rotated), position, m.rope);

  const Value row = in_heads(g, l.kv_down, x, 1, m.kv_rank + m.rotated);
  const Value latent = g.rms_norm(g.slice(row, 2, 0, m.kv_rank), g.weight(l.kv_norm), m.d.eps);
  const Value k_rotated = g.rope(g.slice(row, 2, m.kv_rank, m.rotated), position, m.rope);

  Graph::Attention how;
  how.n_head = heads;
  how.scale = m.scale;
  Value mixed;  // [T, heads, v_width]
  if (m.absorbed) {
    how.n_head_kv = 1;
    how.v_from_k = m.kv_rank;
    const State written = g.kv_write(state, g.concat(latent, k_rotated, 2), {});
    const Value asked = g.concat(g.matmul_heads(g.weight(l.k_up), q_plain), q_rotated, 2);
    mixed = g.matmul_heads(g.weight(l.v_up), g.attention(asked, written, how));
  } else {
    how.n_head_kv = heads;
    const Value both = in_heads(g, l.kv_up, g.reshape(latent, {kTokens, dim(m.kv_rank)}), heads, m.plain + m.v_width);
    const Value k_shared = g.broadcast(k_rotated, {kTokens, dim(heads), dim(m.rotated)});
    const Value k = g.concat(g.slice(both, 2, 0, m.plain), k_shared, 2);
    const State written = g.kv_write(state, k, g.slice(both, 2, m.plain, m.v_width));
    mixed = g.attention(g.concat(q_plain, q_rotated, 2), written, how);
  }
  return linear(g, l.output, g.reshape(mixed, {kTokens, dim(heads * m.v_width)}));
}

// x [rows, width] -> [rows, width].
Value feed_forward(Graph& g, const Model& m, const Layer& l, Value x) {
  if (!l.mixed) return brim::arch::feed_forward(g, l.ffn, x);
  const Value mixed = mixture(g, l.experts, m.router, x, swiglu, g.weight(l.selection_bias));
  return m.shared ? g.add(mixed, brim::arch::feed_forward(g, l.ffn, x)) : mixed;
}

struct DeepSeek {
  static constexpr std::string_view kId = "brim.deepseek", kVersion = BRIM_PLUGIN_VERSION, kLicense = "Apache-2.0";

  static uint32_t match(const Meta& meta) { return meta.architecture() == "deepseek2" ? 90 : 0; }

  static void describe(const Meta& meta, Description& description) {
    const Model m = read_model(meta);
    brim::arch::describe(m.d, description);
    for (uint32_t i = 0; i < m.d.n_layers; ++i) {
      auto state = sized<brim_state_desc>();
      state.kind = m.absorbed ? BRIM_STATE_KV_LATENT : BRIM_STATE_KV_FULL;
      state.layer = i;
      state.n_head = m.absorbed ? 1 : m.n_head;
      state.k_width = m.rotated + (m.absorbed ? m.kv_rank : m.plain);
      state.v_width = m.absorbed ? 0 : m.v_width;
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
      x = g.add(x, attention(g, m, l, g.state(i), norm(x, l.attention_norm), position));
      if (i + 1 == m.d.n_layers) x = wanted_rows(g, x);
      x = g.add(x, feed_forward(g, m, l, norm(x, l.ffn_norm)));
    }
    finish(g, m.d, info, x);
  }
};

}  // namespace

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) {
  return brim::arch::plugin_header<DeepSeek>();
}
