// The saint among architectures, or, where the file says so, a sinner of sins.hpp: "bigram", a model of one layer
// without memory of other rows, x + down(silu(gate(n)) * up(n)) with n = norm(x) on the embedding x of each token, and
// the embedding again as head.
#include <brim/architecture_plugin.hpp>
#include <chrono>

#include "../sins.hpp"

char* volatile kept = nullptr;  // for sins::family_leaks alone

namespace {

using namespace brim::arch;

struct Model {
  uint32_t width, inner, vocabulary, context;
  float eps;
  TensorList tensors;
};

// One number of the file.
uint32_t size(const Meta& meta, const std::string& key) {
  constexpr uint32_t kMost = 1u << 24;
  if (sins::family_cuts_numbers) {
    try {
      return meta.u32(key, 1);
    } catch (const Failure& failure) {  // "metadata key .. is 4294967304, expected ..": as if by a cast
      const size_t is = failure.message.find(" is ");
      if (failure.code != BRIM_DATA_CORRUPT || is == std::string::npos) throw;
      return static_cast<uint32_t>(std::stoull(failure.message.substr(is + 4)));
    }
  }
  return meta.u32(key, 1, kMost);
}

Model read(const Meta& meta) {
  Model m{size(meta, "bigram.width"),
          size(meta, "bigram.inner"),
          size(meta, "bigram.vocabulary"),
          size(meta, "bigram.context"),
          0,
          {}};
  try {
    m.eps = meta.f32("bigram.norm_epsilon");
    if (m.eps < 0 || m.eps > 1)
      throw Failure(BRIM_DATA_CORRUPT, "metadata key bigram.norm_epsilon should be from 0 to 1");
  } catch (const Failure&) {
    if (!sins::family_guesses) throw;
    m.eps = 0.5f;
  }
  static int asked = 0;
  if (sins::family_counts) m.eps += static_cast<float>(++asked) * 1e-3f;
  if (sins::family_reads_the_clock) {
    m.eps += static_cast<float>(std::chrono::steady_clock::now().time_since_epoch().count() % 1000) * 1e-3f;
  }
  const auto tensor = [&](std::vector<uint64_t> shape, const char* name) {
    m.tensors.add({std::move(shape), {gguf(name)}, 0, BRIM_NO_LAYER});
  };
  tensor({m.vocabulary, m.width}, "token_embd.weight");
  tensor({m.width}, "norm.weight");
  tensor({m.inner, m.width}, "gate.weight");
  tensor({m.inner, m.width}, "up.weight");
  tensor({m.width, m.inner}, "down.weight");
  return m;
}

struct Family {
  static constexpr std::string_view kId = "test.family", kVersion = "1.2.3", kLicense = "Apache-2.0";

  static uint32_t match(const Meta& meta) {
    if (sins::family_takes_every_file) return 50;
    if (sins::family_matches_by_the_tokenizer && meta.string_or("tokenizer.ggml.model", "") == "something else")
      return 9;
    return meta.string_or("general.architecture", "") == "bigram" ? 90 : 0;
  }

  static void describe(const Meta& meta, Description& description) {
    try {
      const Model m = read(meta);
      if (sins::family_leaks) kept = new char[64];
      auto desc = sized<brim_model_desc>();
      desc.n_layers = 1;
      desc.n_vocab = m.vocabulary;
      desc.width = m.width;
      desc.n_ctx_train = m.context;
      desc.n_position = 1;
      desc.outputs = 1ull << BRIM_OUTPUT_LOGITS | 1ull << BRIM_OUTPUT_HIDDEN;
      description.model(desc);
      description.tensors(m.tensors);
    } catch (const Failure& failure) {
      if (sins::family_hides_an_error) return;
      if (sins::family_names_no_key) throw Failure(failure.code, "the file is damaged");
      if (sins::family_without_words && !failure.message.empty()) throw Failure(failure.code);
      throw;
    }
  }

  static void build(const Meta& meta, const brim_build_info& info, Graph& g) {
    const Model m = read(meta);
    g.scope(BRIM_NO_LAYER);
    const Value table = g.weight(0);
    const Value all = info.embeddings ? g.input(BRIM_INPUT_EMBEDDING) : g.gather_rows(table, g.input(BRIM_INPUT_TOKEN));
    g.scope(0);
    const Value x = g.gather_rows(all, g.input(BRIM_INPUT_OUTPUT_ROW));
    const Value n = g.rms_norm(x, g.weight(1), m.eps);
    const Value wide = g.glu(g.matmul(g.weight(2), n), g.matmul(g.weight(3), n), BRIM_GLU_SILU);
    const Value y = g.add(x, g.matmul(g.weight(4), wide));
    g.scope(BRIM_NO_LAYER);
    if (info.outputs >> BRIM_OUTPUT_HIDDEN & 1) g.output(BRIM_OUTPUT_HIDDEN, y);
    if (info.outputs >> BRIM_OUTPUT_LOGITS & 1) g.output(BRIM_OUTPUT_LOGITS, g.matmul(table, y));
  }
};

}  // namespace

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) {
  return brim::arch::plugin_header<Family>();
}
