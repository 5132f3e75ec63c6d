// What decoder families have in common, for architecture authors: the frame of embedding, norm and head; linear layers
// with or without a bias; rope scaling; grouped-query attention; the two kinds of feed-forward. Each part is a struct
// of tensors that a function of the same name declares, and an overload of it that emits the part's nodes. Nothing here
// knows a family: each names its own prefix of keys and what differs. A family that differs in a part writes that part
// itself and uses the rest.
#pragma once

#include <cmath>

#include "graph.hpp"

namespace brim::arch {

inline constexpr uint32_t kMostHeads = 65535;  // bounds of what is multiplied with another such number
inline constexpr uint32_t kMostExperts = 65535;
inline constexpr uint32_t kMostWidth = 1u << 24;

// A weight and its bias, as indices in the tensor list; a file without the bias does without.
struct Linear {
  uint32_t weight = 0, bias = 0;
};

inline Value linear(Graph& g, const Linear& w, Value x) { return g.matmul(g.weight(w.weight), x, g.weight(w.bias)); }

// ---- the frame
// -------------------------------------------------------------------------------------------------------

// The numbers and tensors around the layers of a decoder, and the list of all its tensors.
struct Decoder {
  std::string family;  // the prefix of its keys
  uint32_t n_blocks;   // layers of the file, of which the last may guess further tokens: those are left out
  uint32_t width, n_layers, n_ctx_train, n_vocab;
  float eps;
  TensorList tensors;
  uint32_t embedding, output_norm, output;

  std::string key(const char* name) const { return family + "." + name; }

  // blk.LAYER.NAME of this shape, outermost first.
  uint32_t tensor(uint32_t layer, const std::string& name, std::vector<uint64_t> shape, uint32_t flags = 0) {
    return tensors.add({std::move(shape), {gguf("blk." + std::to_string(layer) + "." + name)}, flags, layer});
  }
  // NAME.weight [n, k] and, where the file has it, NAME.bias [n].
  Linear linear(uint32_t layer, const std::string& name, uint64_t n, uint64_t k) {
    Linear l;
    l.weight = tensor(layer, name + ".weight", {n, k});
    l.bias = tensor(layer, name + ".bias", {n}, BRIM_TENSOR_OPTIONAL);
    return l;
  }
  // The same for each of so many experts.
  Linear experts(uint32_t layer, const std::string& name, uint64_t experts, uint64_t n, uint64_t k) {
    Linear l;
    l.weight = tensor(layer, name + ".weight", {experts, n, k}, BRIM_TENSOR_EXPERTS);
    l.bias = tensor(layer, name + ".bias", {experts, n}, BRIM_TENSOR_OPTIONAL);
    return l;
  }
};

inline Decoder read_decoder(const Meta& meta, const std::string& family) {
  Decoder d{};
  d.family = family;
  d.width = meta.u32(d.key("embedding_length"), 1, kMostWidth);
  d.n_blocks = meta.u32(d.key("block_count"), 1, 65535);
  d.n_layers = d.n_blocks - meta.u32_or(d.key("nextn_predict_layers"), 0, 0, d.n_blocks - 1);
  d.n_ctx_train = meta.u32(d.key("context_length"), 1);
  d.eps = meta.f32(d.key("attention.layer_norm_rms_epsilon"), 0);
  const auto table = meta.tensor("token_embd.weight");
  if (!table || table->rank != 2 || table->dim[0] == 0 || table->dim[0] > INT32_MAX) {
    throw Failure(table ? BRIM_DATA_CORRUPT : BRIM_NOT_FOUND,
                  std::string("tensor token_embd.weight ") +
                      (table ? "has another shape than" : "is missing; expected") + " [vocabulary, " +
                      std::to_string(d.width) + "]; a file that holds a vocabulary only cannot be loaded as a model");
  }
  d.n_vocab = static_cast<uint32_t>(table->dim[0]);
  const auto add = [&](const char* gguf_name, const char* hf_name, std::vector<uint64_t> shape, uint32_t flags = 0) {
    return d.tensors.add({std::move(shape), {gguf(gguf_name), hugging_face(hf_name)}, flags, BRIM_NO_LAYER});
  };
  // Without a head of its own the model multiplies by the embedding, which then is more than a table of rows.
  const bool tied = !meta.tensor("output.weight");
  d.embedding =
      add("token_embd.weight", "model.embed_tokens.weight", {d.n_vocab, d.width}, tied ? 0 : BRIM_TENSOR_LOOKUP);
  d.output_norm = add("output_norm.weight", "model.norm.weight", {d.width});
  d.output = add("output.weight", "lm_head.weight", {d.n_vocab, d.width}, BRIM_TENSOR_OPTIONAL);
  return d;
}

inline void describe(const Decoder& d, Description& description) {
  auto desc = sized<brim_model_desc>();
  desc.n_layers = d.n_layers;
  desc.n_vocab = d.n_vocab;
  desc.width = d.width;
  desc.n_ctx_train = d.n_ctx_train;
  desc.n_position = 1;
  desc.outputs = 1ull << BRIM_OUTPUT_LOGITS | 1ull << BRIM_OUTPUT_HIDDEN;
  description.model(desc);
  description.tensors(d.tensors);
}

// Rows of the embedding, [T, width].
inline Value embed(Graph& g, const Decoder& d, const brim_build_info& info) {
  g.scope(BRIM_NO_LAYER);
  if (info.embeddings) return g.input(BRIM_INPUT_EMBEDDING);
  return g.gather_rows(g.weight(d.embedding), g.input(BRIM_INPUT_TOKEN));
}

// Only the rows whose outputs are wanted go through what comes after the last place where rows meet: [O, width].
inline Value wanted_rows(Graph& g, Value x) { return g.gather_rows(x, g.input(BRIM_INPUT_OUTPUT_ROW)); }

// The last norm and the head; a softcap of 0 is none.
inline void finish(Graph& g, const Decoder& d, const brim_build_info& info, Value x, float softcap = 0) {
  g.scope(BRIM_NO_LAYER);
  x = g.rms_norm(x, g.weight(d.output_norm), d.eps);
  if (info.outputs >> BRIM_OUTPUT_HIDDEN & 1) g.output(BRIM_OUTPUT_HIDDEN, x);
  if ((info.outputs >> BRIM_OUTPUT_LOGITS & 1) == 0) return;
  const Value head = g.weight(d.output);
  const Value logits = g.matmul(head ? head : g.weight(d.embedding), x);
  g.output(BRIM_OUTPUT_LOGITS, softcap != 0 ? g.softcap(logits, softcap) : logits);
}

// ---- attention
// -------------------------------------------------------------------------------------------------------

// rope.dimension_count (else `width`, that of a head), rope.freq_base and rope.scaling.*: none, linear or YaRN, whose
// attention factor goes into the magnitude; a family that has it elsewhere sets the magnitude again.
inline Graph::Rope read_rope(const Meta& meta, const Decoder& d, uint32_t pairing, uint32_t width) {
  Graph::Rope rope;
  rope.pairing = pairing;
  rope.n_rot = meta.u32_or(d.key("rope.dimension_count"), width, 2, width);
  if (rope.n_rot % 2 != 0) {
    throw Failure(BRIM_DATA_CORRUPT, d.key("rope.dimension_count") + " is " + std::to_string(rope.n_rot) +
                                         "; values are rotated in pairs, so an even number was expected");
  }
  rope.base = meta.f32_or(d.key("rope.freq_base"), 10000);
  if (!(rope.base > 1)) throw Failure(BRIM_DATA_CORRUPT, d.key("rope.freq_base") + " has to be above 1");
  const std::string kind = meta.string_or(d.key("rope.scaling.type"), "linear");
  if (kind != "none" && kind != "linear" && kind != "yarn") {
    throw Failure(BRIM_UNSUPPORTED, d.key("rope.scaling.type") + " is '" + kind + "'; known are none, linear and yarn");
  }
  // Files of 2023 have the older name; a factor of 0 means that none was given.
  float factor = meta.f32_or(d.key("rope.scaling.factor"), meta.f32_or(d.key("rope.scale_linear"), 0, 0), 0);
  if (factor == 0 || kind == "none") factor = 1;
  rope.freq_scale = 1 / factor;
  rope.magnitude = meta.f32_or(d.key("rope.scaling.attn_factor"), 1, 0);
  if (kind == "yarn") {
    rope.yarn = true;
    rope.n_ctx_orig = meta.u32_or(d.key("rope.scaling.original_context_length"), d.n_ctx_train, 1);
    if (factor > 1) rope.magnitude *= 1 + 0.1f * std::log(factor);
  }
  return rope;
}

// attention.head_count and attention.head_count_kv of a layer: the second divides the first.
struct Heads {
  uint32_t q, kv;
};
inline Heads read_heads(const Meta& meta, const Decoder& d, uint32_t layer) {
  Heads heads{};
  heads.q = meta.u32_of_layer(d.key("attention.head_count"), layer, d.n_blocks, 1, kMostHeads);
  heads.kv = meta.u32_of_layer_or(d.key("attention.head_count_kv"), layer, d.n_blocks, heads.q, 1, heads.q);
  if (heads.q % heads.kv != 0) {
    throw Failure(BRIM_DATA_CORRUPT, d.key("attention.head_count") + " " + std::to_string(heads.q) +
                                         " is no multiple of " + d.key("attention.head_count_kv") + " " +
                                         std::to_string(heads.kv));
  }
  return heads;
}

// NAME (attention.key_length, say), else the width divided by the heads.
inline uint32_t head_width(const Meta& meta, const Decoder& d, const char* name) {
  const uint32_t given = meta.u32_or(d.key(name), 0, 0, kMostHeads);
  if (given != 0) return given;
  const uint32_t heads = read_heads(meta, d, 0).q;
  if (d.width % heads != 0) {
    throw Failure(BRIM_DATA_CORRUPT, d.key("embedding_length") + " " + std::to_string(d.width) + " is no multiple of " +
                                         d.key("attention.head_count") + " " + std::to_string(heads) + ", and " +
                                         d.key(name) + " is not given");
  }
  return d.width / heads;
}

struct Attention {
  Heads heads;
  uint32_t k_width, v_width;  // of one head
  bool normed;                // each head of q and k, before it is rotated
  uint32_t q_norm, k_norm;
  Linear q, k, v, output;

  // How most attend: causally, over everything, scores divided by the root of a head's width.
  Graph::Attention how() const {
    Graph::Attention how;
    how.n_head = heads.q;
    how.n_head_kv = heads.kv;
    how.scale = 1 / std::sqrt(static_cast<float>(k_width));
    return how;
  }
};

// attn_q, attn_k, attn_v and attn_output, with `normed` attn_q_norm and attn_k_norm. attn_q gives `q_parts` rows of
// k_width for each head: what is behind q is the family's own.
inline Attention attention(const Meta& meta, Decoder& d, uint32_t layer, bool normed = false, uint32_t q_parts = 1) {
  Attention a{};
  a.heads = read_heads(meta, d, layer);
  a.k_width = head_width(meta, d, "attention.key_length");
  a.v_width = head_width(meta, d, "attention.value_length");
  a.normed = normed;
  if (normed) {
    a.q_norm = d.tensor(layer, "attn_q_norm.weight", {a.k_width});
    a.k_norm = d.tensor(layer, "attn_k_norm.weight", {a.k_width});
  }
  a.q = d.linear(layer, "attn_q", uint64_t{a.heads.q} * a.k_width * q_parts, d.width);
  a.k = d.linear(layer, "attn_k", uint64_t{a.heads.kv} * a.k_width, d.width);
  a.v = d.linear(layer, "attn_v", uint64_t{a.heads.kv} * a.v_width, d.width);
  a.output = d.linear(layer, "attn_output", d.width, uint64_t{a.heads.q} * a.v_width);
  return a;
}

// Its state; a window of 0 is none.
inline brim_state_desc kv_state(uint32_t layer, const Attention& a, uint32_t window = 0) {
  auto state = sized<brim_state_desc>();
  state.kind = window ? BRIM_STATE_KV_WINDOW : BRIM_STATE_KV_FULL;
  state.layer = layer;
  state.n_head = a.heads.kv;
  state.k_width = a.k_width;
  state.v_width = a.v_width;
  state.window = window;
  return state;
}

// x [T, k] as so many heads: [T, heads, width].
inline Value in_heads(Graph& g, const Linear& w, Value x, uint32_t heads, uint32_t width) {
  return g.reshape(linear(g, w, x), {kTokens, dim(heads), dim(width)});
}

// Heads of q or k [T, heads, k_width], normed where the family does it, rotated.
inline Value placed(Graph& g, const Attention& a, uint32_t norm, float eps, Value heads, Value position,
                    const Graph::Rope& rope, Value factors = {}) {
  return g.rope(a.normed ? g.rms_norm(heads, g.weight(norm), eps) : heads, position, rope, factors);
}

// x [T, width] -> [T, width].
inline Value attention(Graph& g, const Attention& a, float eps, State state, Value x, Value position,
                       const Graph::Rope& rope, const Graph::Attention& how, Value factors = {}) {
  const Value q = placed(g, a, a.q_norm, eps, in_heads(g, a.q, x, a.heads.q, a.k_width), position, rope, factors);
  const Value k = placed(g, a, a.k_norm, eps, in_heads(g, a.k, x, a.heads.kv, a.k_width), position, rope, factors);
  const State written = g.kv_write(state, k, in_heads(g, a.v, x, a.heads.kv, a.v_width));
  const Value mixed = g.attention(q, written, how);
  return linear(g, a.output, g.reshape(mixed, {kTokens, dim(a.heads.q * a.v_width)}));
}

// ---- feed-forward
// ----------------------------------------------------------------------------------------------------

struct FeedForward {
  Linear gate, up, down;
};

// ffn_gate, ffn_up, ffn_down of that many hidden values, SUFFIX behind each.
inline FeedForward feed_forward(Decoder& d, uint32_t layer, uint64_t hidden, const std::string& suffix = "") {
  return {d.linear(layer, "ffn_gate" + suffix, hidden, d.width), d.linear(layer, "ffn_up" + suffix, hidden, d.width),
          d.linear(layer, "ffn_down" + suffix, d.width, hidden)};
}

// The hidden values that NAME, one number or one per layer, gives.
inline uint32_t hidden_width(const Meta& meta, const Decoder& d, uint32_t layer,
                             const char* name = "feed_forward_length") {
  return meta.u32_of_layer(d.key(name), layer, d.n_blocks, 1, kMostWidth);
}

// x [rows, width] -> [rows, width]; kind: BRIM_GLU_*.
inline Value feed_forward(Graph& g, const FeedForward& w, Value x, uint32_t kind = BRIM_GLU_SILU) {
  return linear(g, w.down, g.glu(linear(g, w.gate, x), linear(g, w.up, x), kind));
}

struct Mixture {
  Linear router, gate, up, down;
};

// ffn_gate_inp and ffn_{gate,up,down}_exps: experts of so many hidden values each.
inline Mixture mixture(Decoder& d, uint32_t layer, uint64_t experts, uint64_t hidden) {
  return {d.linear(layer, "ffn_gate_inp", experts, d.width),
          d.experts(layer, "ffn_gate_exps", experts, hidden, d.width),
          d.experts(layer, "ffn_up_exps", experts, hidden, d.width),
          d.experts(layer, "ffn_down_exps", experts, d.width, hidden)};
}

inline Value swiglu(Graph& g, Value gate, Value up) { return g.glu(gate, up, BRIM_GLU_SILU); }

// x [rows, width] -> [rows, width]: `act` makes one of gate and up, each [rows, k, hidden].
template <class Act>
Value mixture(Graph& g, const Mixture& w, const Graph::Router& router, Value x, Act&& act, Value selection_bias = {}) {
  const Graph::Route route = g.moe_route(linear(g, w.router, x), router, selection_bias);
  const auto grouped = [&](const Linear& l, Value in) {
    return g.grouped_matmul(g.weight(l.weight), in, route.index, g.weight(l.bias));
  };
  const Value gate = grouped(w.gate, x);
  return g.moe_combine(grouped(w.down, act(g, gate, grouped(w.up, x))), route.weight);
}

}  // namespace brim::arch
