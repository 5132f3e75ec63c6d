#include <algorithm>
#include <array>
#include <base/error.hpp>
#include <base/nearest.hpp>
#include <model/ggml_types.hpp>
#include <model/quantize/recipe.hpp>
#include <model/shapes.hpp>
#include <utility>

namespace brim::model {
namespace {

struct Form {
  std::string_view name, architecture;
  uint64_t layers, width, hidden;  // hidden: of the feed-forward layer, or of one expert
  uint64_t heads, kv_heads, head_width, vocabulary, context;
  bool tied = false;  // the head is the embedding
  uint64_t experts = 0, experts_used = 0, window = 0;
  // Whole-number formats were trained for by Gemma 3's makers, whose files keep the embedding finer.
  bool q8_0_embedding = false;
};

// The public configurations; llama-3 is 3, 3.1 and 3.3, which differ in the trained context only.
constexpr std::array kForms = {
    Form{"llama-3-8b", "llama", 32, 4096, 14336, 32, 8, 128, 128256, 131072},
    Form{"llama-3-70b", "llama", 80, 8192, 28672, 64, 8, 128, 128256, 131072},
    Form{"llama-3.1-405b", "llama", 126, 16384, 53248, 128, 8, 128, 128256, 131072},
    Form{"llama-3.2-3b", "llama", 28, 3072, 8192, 24, 8, 128, 128256, 131072, true},
    Form{"llama-2-7b", "llama", 32, 4096, 11008, 32, 32, 128, 32000, 4096},
    Form{"llama-2-13b", "llama", 40, 5120, 13824, 40, 40, 128, 32000, 4096},
    Form{"qwen2.5-7b", "qwen2", 28, 3584, 18944, 28, 4, 128, 152064, 131072},
    Form{"qwen2.5-14b", "qwen2", 48, 5120, 13824, 40, 8, 128, 152064, 131072},
    Form{"qwen2.5-32b", "qwen2", 64, 5120, 27648, 40, 8, 128, 152064, 131072},
    Form{"qwen2.5-72b", "qwen2", 80, 8192, 29568, 64, 8, 128, 152064, 131072},
    Form{"qwen3-8b", "qwen3", 36, 4096, 12288, 32, 8, 128, 151936, 40960},
    Form{"qwen3-14b", "qwen3", 40, 5120, 17408, 40, 8, 128, 151936, 40960},
    Form{"qwen3-32b", "qwen3", 64, 5120, 25600, 64, 8, 128, 151936, 40960},
    Form{"qwen3-30b-a3b", "qwen3moe", 48, 2048, 768, 32, 4, 128, 151936, 262144, false, 128, 8},
    Form{"qwen3-235b-a22b", "qwen3moe", 94, 4096, 1536, 64, 4, 128, 151936, 262144, false, 128, 8},
    Form{"gpt-oss-20b", "gpt-oss", 24, 2880, 2880, 64, 8, 64, 201088, 131072, false, 32, 4, 128},
    Form{"gpt-oss-120b", "gpt-oss", 36, 2880, 2880, 64, 8, 64, 201088, 131072, false, 128, 4, 128},
    Form{"gemma-2-9b", "gemma2", 42, 3584, 14336, 16, 8, 256, 256000, 8192, true, 0, 0, 4096},
    Form{"gemma-3-4b", "gemma3", 34, 2560, 10240, 8, 4, 256, 262144, 131072, true, 0, 0, 1024, true},
    Form{"gemma-3-27b", "gemma3", 62, 5376, 21504, 32, 16, 128, 262144, 131072, true, 0, 0, 1024, true},
    Form{"mistral-24b", "llama", 40, 5120, 32768, 32, 8, 128, 131072, 32768},
};

const Form* find_form(std::string_view name) {
  const auto found = std::find_if(kForms.begin(), kForms.end(), [&](const Form& form) { return form.name == name; });
  return found == kForms.end() ? nullptr : &*found;
}

Metadata metadata_of(const Form& form, const Recipe& recipe, std::string_view name) {
  Metadata m;
  m.source = name;
  const auto set = [&](std::string_view key, Value value) {
    m.set(m.intern(fmt::format("{}.{}", form.architecture, key)), std::move(value));
  };
  m.set("general.architecture", form.architecture);
  m.set("general.name", form.name);
  m.set("general.file_type", uint64_t{recipe.file_type});
  set("block_count", form.layers);
  set("context_length", form.context);
  set("embedding_length", form.width);
  set("feed_forward_length", form.hidden);
  set("attention.head_count", form.heads);
  set("attention.head_count_kv", form.kv_heads);
  set("attention.key_length", form.head_width);
  set("attention.value_length", form.head_width);
  set("attention.layer_norm_rms_epsilon", 1e-5);
  if (form.window) set("attention.sliding_window", form.window);
  if (form.experts) {
    set("expert_count", form.experts);
    set("expert_used_count", form.experts_used);
    set("expert_feed_forward_length", form.hidden);
  }
  return m;
}

// The table with everything in F32, from which a recipe starts.
std::vector<Tensor> tensors_of(const Form& form, Metadata& names) {
  std::vector<Tensor> out;
  const auto add = [&](std::string name, std::initializer_list<uint64_t> dims) {
    Tensor t;
    t.name = names.intern(std::move(name));
    t.dtype = BRIM_DTYPE_F32;
    t.shape.rank = static_cast<uint32_t>(dims.size());
    std::copy(dims.begin(), dims.end(), t.shape.extents.begin());
    out.push_back(std::move(t));
  };
  const std::string_view family = form.architecture;
  const bool gpt_oss = family == "gpt-oss", gemma = family == "gemma2" || family == "gemma3";
  const bool biases = family == "qwen2" || gpt_oss, head_norms = family.starts_with("qwen3") || family == "gemma3";
  const uint64_t q = form.heads * form.head_width, kv = form.kv_heads * form.head_width;
  add("token_embd.weight", {form.vocabulary, form.width});
  add("output_norm.weight", {form.width});
  if (!form.tied) add("output.weight", {form.vocabulary, form.width});
  for (uint64_t i = 0; i < form.layers; ++i) {
    const std::string block = fmt::format("blk.{}.", i);
    add(block + "attn_norm.weight", {form.width});
    for (const auto& [part, rows] : {std::pair{"attn_q", q}, {"attn_k", kv}, {"attn_v", kv}}) {
      add(block + part + ".weight", {rows, form.width});
      if (biases) add(block + part + ".bias", {rows});
    }
    add(block + "attn_output.weight", {form.width, q});
    if (gpt_oss) add(block + "attn_output.bias", {form.width});
    if (gpt_oss) add(block + "attn_sinks.weight", {form.heads});
    if (head_norms) add(block + "attn_q_norm.weight", {form.head_width});
    if (head_norms) add(block + "attn_k_norm.weight", {form.head_width});
    if (gemma || gpt_oss) add(block + "post_attention_norm.weight", {form.width});
    if (!gpt_oss) add(block + "ffn_norm.weight", {form.width});
    if (gemma) add(block + "post_ffw_norm.weight", {form.width});
    if (form.experts) {
      add(block + "ffn_gate_inp.weight", {form.experts, form.width});
      if (gpt_oss) add(block + "ffn_gate_inp.bias", {form.experts});
    }
    for (const auto& [part, rows, row] : {std::tuple{"ffn_gate", form.hidden, form.width},
                                          {"ffn_up", form.hidden, form.width},
                                          {"ffn_down", form.width, form.hidden}}) {
      if (!form.experts) {
        add(block + part + ".weight", {rows, row});
        continue;
      }
      add(block + part + "_exps.weight", {form.experts, rows, row});
      if (gpt_oss) add(block + part + "_exps.bias", {form.experts, rows});
    }
  }
  return out;
}

}  // namespace

std::vector<std::string_view> shape_names() {
  std::vector<std::string_view> names;
  for (const Form& form : kForms) names.push_back(form.name);
  return names;
}

bool is_shape_name(std::string_view name) {
  return name.find(':') != name.npos && name.find_first_of("/\\") == name.npos && !name.ends_with(".gguf");
}

ModelFile make_shape(std::string_view name) {
  const size_t colon = name.find(':');
  const Form* form = find_form(name.substr(0, colon));
  if (!form) {
    const auto names = shape_names();
    fail(BRIM_NOT_FOUND, "there is no model shape '{}'; there are {}", name, fmt::join(names, ", "));
  }
  const Recipe& recipe = find_recipe(colon == name.npos ? std::string_view() : name.substr(colon + 1));
  Metadata metadata = metadata_of(*form, recipe, name);
  std::vector<Tensor> tensors = tensors_of(*form, metadata);
  const auto plans = plan_tensors(recipe, metadata, tensors);
  uint64_t offset = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    Tensor& t = tensors[i];
    if (plans[i].dtype != BRIM_DTYPE_NONE) t.dtype = plans[i].dtype;
    if (i == 0 && form->q8_0_embedding && recipe.dtype == BRIM_DTYPE_Q4_0) t.dtype = BRIM_DTYPE_Q8_0;
    t.type_name = brim_dtype_name(t.dtype);
    t.offset = offset;
    t.bytes = brim_dtype_row_bytes(t.dtype, t.shape.row()) * t.shape.rows();
    offset += (t.bytes + 31) / 32 * 32;
  }
  return ModelFile::of_header(std::string(name), std::move(metadata), std::move(tensors));
}

}  // namespace brim::model
