// The GPT-J family (Wang and Komatsuzaki 2021): a decoder whose attention and feed-forward layer both read one normed
// residual and are added to it side by side,
//
//   a = layer_norm(x);  x = x + attention(a) + down(gelu(up(a) + b) + b')
//
// with rotary positions on the first values of each head, adjacent ones being a pair. The attention's products have no
// biases; the feed-forward layer and the head do.
//
// An architecture is pure: it sees a file's metadata and emits data. `read` says all that metadata and tensors say;
// describe declares it to the host, build emits the graph. Everything else is the host's and the backends'.
#include <brim/architecture_plugin.hpp>
#include <cmath>

namespace {

using namespace brim::arch;

struct Linear {
  uint32_t weight, bias;  // indices in the tensor list
};

struct Layer {
  Linear norm, up, down;
  uint32_t q, k, v, output;
};

struct Model {
  uint32_t width, n_layers, n_head, head, n_rot, n_ff, n_vocab, n_ctx_train;
  float eps;
  TensorList tensors;
  uint32_t embedding;
  Linear norm, output;
  std::vector<Layer> layers;
};

// Adds tensors under the names that the two kinds of files have for them.
class Names {
 public:
  Names(TensorList& list, std::string gguf_prefix, std::string hugging_face_prefix, uint32_t layer)
      : list_(list), gguf_(std::move(gguf_prefix)), hf_(std::move(hugging_face_prefix)), layer_(layer) {}

  uint32_t matrix(const std::string& in_gguf, const std::string& in_hf, uint64_t n, uint64_t k, uint32_t flags = 0) {
    return add(in_gguf + ".weight", in_hf + ".weight", {n, k}, flags);
  }
  uint32_t vector(const std::string& in_gguf, const std::string& in_hf, uint64_t n) {
    return add(in_gguf, in_hf, {n}, 0);
  }
  // A matrix [n, k] with its bias, or the weight and bias of a norm.
  Linear linear(const std::string& in_gguf, const std::string& in_hf, uint64_t n, uint64_t k) {
    return {matrix(in_gguf, in_hf, n, k), vector(in_gguf + ".bias", in_hf + ".bias", n)};
  }
  Linear norm(const std::string& in_gguf, const std::string& in_hf, uint64_t n) {
    return {vector(in_gguf + ".weight", in_hf + ".weight", n), vector(in_gguf + ".bias", in_hf + ".bias", n)};
  }

 private:
  uint32_t add(const std::string& in_gguf, const std::string& in_hf, std::vector<uint64_t> shape, uint32_t flags) {
    return list_.add(Tensor{std::move(shape), {gguf(gguf_ + in_gguf), hugging_face(hf_ + in_hf)}, flags, layer_});
  }

  TensorList& list_;
  std::string gguf_, hf_;
  uint32_t layer_;
};

// describe and build both call this, so that an index means one tensor in both. What cannot be right is refused here,
// with the key and the numbers; shapes are not checked: the host compares them with the file's.
Model read(const Meta& meta) {
  Model m;
  m.width = meta.u32("gptj.embedding_length", 1, 1u << 20);
  m.n_layers = meta.u32("gptj.block_count", 1, 1000);
  m.n_head = meta.u32("gptj.attention.head_count", 1, 1000);
  m.n_ff = meta.u32("gptj.feed_forward_length", 1, 1u << 20);
  m.n_ctx_train = meta.u32("gptj.context_length", 1);
  m.eps = meta.f32("gptj.attention.layer_norm_epsilon", 0);
  if (m.width % m.n_head != 0) {
    throw Failure(BRIM_DATA_CORRUPT, "gptj.attention.head_count is " + std::to_string(m.n_head) +
                                         ", which does not divide gptj.embedding_length, " + std::to_string(m.width) +
                                         "; convert the model again");
  }
  m.head = m.width / m.n_head;
  m.n_rot = meta.u32("gptj.rope.dimension_count", 2, m.head);
  if (m.n_rot % 2 != 0) {
    throw Failure(BRIM_DATA_CORRUPT, "gptj.rope.dimension_count is " + std::to_string(m.n_rot) +
                                         "; values are rotated in pairs, so an even number was expected");
  }
  const auto table = meta.tensor("token_embd.weight");
  if (!table || table->rank != 2 || table->dim[0] > UINT32_MAX) {
    throw Failure(BRIM_NOT_FOUND,
                  "tensor token_embd.weight [vocabulary, width] is missing; the file holds no whole model");
  }
  m.n_vocab = static_cast<uint32_t>(table->dim[0]);

  Names whole(m.tensors, "", "", BRIM_NO_LAYER);
  m.embedding = whole.matrix("token_embd", "transformer.wte", m.n_vocab, m.width, BRIM_TENSOR_LOOKUP);
  m.norm = whole.norm("output_norm", "transformer.ln_f", m.width);
  m.output = whole.linear("output", "lm_head", m.n_vocab, m.width);
  for (uint32_t i = 0; i < m.n_layers; ++i) {
    const std::string number = std::to_string(i) + ".";
    Names names(m.tensors, "blk." + number, "transformer.h." + number, i);
    Layer l;
    l.norm = names.norm("attn_norm", "ln_1", m.width);
    l.q = names.matrix("attn_q", "attn.q_proj", m.width, m.width);
    l.k = names.matrix("attn_k", "attn.k_proj", m.width, m.width);
    l.v = names.matrix("attn_v", "attn.v_proj", m.width, m.width);
    l.output = names.matrix("attn_output", "attn.out_proj", m.width, m.width);
    l.up = names.linear("ffn_up", "mlp.fc_in", m.n_ff, m.width);
    l.down = names.linear("ffn_down", "mlp.fc_out", m.width, m.n_ff);
    m.layers.push_back(l);
  }
  return m;
}

// a [T, width] -> [T, width], what the heads read before the output product.
Value attention(Graph& g, const Model& m, const Layer& l, State state, Value a, Value position) {
  Graph::Rope rope;
  rope.pairing = BRIM_ROPE_ADJACENT;
  rope.n_rot = m.n_rot;
  const auto heads = [&](uint32_t w) {
    return g.reshape(g.matmul(g.weight(w), a), {kTokens, dim(m.n_head), dim(m.head)});
  };
  const Value q = g.rope(heads(l.q), position, rope);
  const Value k = g.rope(heads(l.k), position, rope);
  const State written = g.kv_write(state, k, heads(l.v));  // reading the version before would miss this step's tokens
  Graph::Attention attr;
  attr.n_head = attr.n_head_kv = m.n_head;
  attr.scale = 1 / std::sqrt(static_cast<float>(m.head));
  return g.reshape(g.attention(q, written, attr), {kTokens, dim(m.width)});
}

struct Gptj {
  static constexpr std::string_view kId = GPTJ_ID, kVersion = GPTJ_VERSION, kLicense = "Apache-2.0";

  // Below 100, so that a plugin for one model of the family can win.
  static uint32_t match(const Meta& meta) { return meta.architecture() == "gptj" ? 90 : 0; }

  static void describe(const Meta& meta, Description& description) {
    const Model m = read(meta);
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
      state.n_head = m.n_head;
      state.k_width = state.v_width = m.head;
      description.state(state);  // its id is i
    }
  }

  // One graph for every phase. T rows come in; after the attention of the last layer, the last place where rows meet,
  // only the O rows go on whose outputs are wanted.
  static void build(const Meta& meta, const brim_build_info& info, Graph& g) {
    const Model m = read(meta);
    const Value position = g.input(BRIM_INPUT_POSITION);
    Value x = info.embeddings ? g.input(BRIM_INPUT_EMBEDDING)
                              : g.gather_rows(g.weight(m.embedding), g.input(BRIM_INPUT_TOKEN));  // [T, width]
    for (uint32_t i = 0; i < m.n_layers; ++i) {
      const Layer& l = m.layers[i];
      g.scope(i);
      Value a = g.layer_norm(x, g.weight(l.norm.weight), g.weight(l.norm.bias), m.eps);
      Value mixed = attention(g, m, l, g.state(i), a, position);
      if (i + 1 == m.n_layers) {
        const Value wanted = g.input(BRIM_INPUT_OUTPUT_ROW);
        x = g.gather_rows(x, wanted);  // [O, width] from here on
        a = g.gather_rows(a, wanted);
        mixed = g.gather_rows(mixed, wanted);
      }
      const Value hidden = g.unary(g.matmul(g.weight(l.up.weight), a, g.weight(l.up.bias)), BRIM_UNARY_GELU_TANH);
      const Value fed = g.matmul(g.weight(l.down.weight), hidden, g.weight(l.down.bias));
      x = g.add(x, g.add(g.matmul(g.weight(l.output), mixed), fed));
    }
    g.scope(BRIM_NO_LAYER);
    x = g.layer_norm(x, g.weight(m.norm.weight), g.weight(m.norm.bias), m.eps);
    if (info.outputs >> BRIM_OUTPUT_HIDDEN & 1) g.output(BRIM_OUTPUT_HIDDEN, x);
    if (info.outputs >> BRIM_OUTPUT_LOGITS & 1) {
      g.output(BRIM_OUTPUT_LOGITS, g.matmul(g.weight(m.output.weight), x, g.weight(m.output.bias)));
    }
  }
};

}  // namespace

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) {
  return brim::arch::plugin_header<Gptj>();
}
