#include <algorithm>
#include <array>
#include <base/error.hpp>
#include <cctype>
#include <charconv>
#include <map>
#include <model/quantize/codec.hpp>
#include <model/quantize/recipe.hpp>
#include <set>

namespace brim::model {
namespace {

enum FileType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ8_0 = 7,
  kQ5_0 = 8,
  kQ5_1 = 9,
  kQ2_K = 10,
  kQ3_K_S = 11,
  kQ3_K_M = 12,
  kQ3_K_L = 13,
  kQ4_K_S = 14,
  kQ4_K_M = 15,
  kQ5_K_S = 16,
  kQ5_K_M = 17,
  kQ6_K = 18,
  kQ2_K_S = 21,
  kIq4Nl = 25,
  kIq4Xs = 30,
  kBf16 = 32,
  kMxfp4 = 38,
};

constexpr std::array kRecipes = {
    Recipe{"F32", kF32, BRIM_DTYPE_F32},         Recipe{"F16", kF16, BRIM_DTYPE_F16},
    Recipe{"BF16", kBf16, BRIM_DTYPE_BF16},      Recipe{"Q8_0", kQ8_0, BRIM_DTYPE_Q8_0},
    Recipe{"Q6_K", kQ6_K, BRIM_DTYPE_Q6_K},      Recipe{"Q5_K_M", kQ5_K_M, BRIM_DTYPE_Q5_K},
    Recipe{"Q5_K_S", kQ5_K_S, BRIM_DTYPE_Q5_K},  Recipe{"Q5_K", kQ5_K_M, BRIM_DTYPE_Q5_K},
    Recipe{"Q5_1", kQ5_1, BRIM_DTYPE_Q5_1},      Recipe{"Q5_0", kQ5_0, BRIM_DTYPE_Q5_0},
    Recipe{"Q4_K_M", kQ4_K_M, BRIM_DTYPE_Q4_K},  Recipe{"Q4_K_S", kQ4_K_S, BRIM_DTYPE_Q4_K},
    Recipe{"Q4_K", kQ4_K_M, BRIM_DTYPE_Q4_K},    Recipe{"Q4_1", kQ4_1, BRIM_DTYPE_Q4_1},
    Recipe{"Q4_0", kQ4_0, BRIM_DTYPE_Q4_0},      Recipe{"IQ4_NL", kIq4Nl, BRIM_DTYPE_IQ4_NL},
    Recipe{"IQ4_XS", kIq4Xs, BRIM_DTYPE_IQ4_XS}, Recipe{"MXFP4", kMxfp4, BRIM_DTYPE_MXFP4},
    Recipe{"Q3_K_L", kQ3_K_L, BRIM_DTYPE_Q3_K},  Recipe{"Q3_K_M", kQ3_K_M, BRIM_DTYPE_Q3_K},
    Recipe{"Q3_K_S", kQ3_K_S, BRIM_DTYPE_Q3_K},  Recipe{"Q3_K", kQ3_K_M, BRIM_DTYPE_Q3_K},
    Recipe{"Q2_K", kQ2_K, BRIM_DTYPE_Q2_K},      Recipe{"Q2_K_S", kQ2_K_S, BRIM_DTYPE_Q2_K},
};

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// 7 for "blk.7.attn_v.weight", -1 for a name without a layer.
int64_t layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  int64_t layer = -1;
  if (name.substr(0, kPrefix.size()) == kPrefix) {
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  }
  return layer;
}

// Matrices that are stored as they come: routers and others too small, or too sensitive, to be worth it.
bool is_kept(const Tensor& tensor) {
  if (!is_weight_dtype(tensor.dtype) && tensor.dtype != BRIM_DTYPE_NONE) return true;
  uint32_t rank = tensor.shape.rank;
  for (uint32_t i = 0; i < tensor.shape.rank && tensor.shape.extents[i] == 1; ++i) --rank;
  if (rank < 2 || !ends_with(tensor.name, "weight")) return true;
  constexpr std::array<std::string_view, 22> kKept = {"_norm.weight",
                                                      "ffn_gate_inp.weight",
                                                      "altup",
                                                      "laurel",
                                                      "per_layer_model_proj",
                                                      "ssm_conv1d.weight",
                                                      "shortconv.conv.weight",
                                                      "time_mix_first.weight",
                                                      "time_mix_w0.weight",
                                                      "time_mix_w1.weight",
                                                      "time_mix_w2.weight",
                                                      "time_mix_v0.weight",
                                                      "time_mix_v1.weight",
                                                      "time_mix_v2.weight",
                                                      "time_mix_a0.weight",
                                                      "time_mix_a1.weight",
                                                      "time_mix_a2.weight",
                                                      "time_mix_g1.weight",
                                                      "time_mix_g2.weight",
                                                      "time_mix_decay_w",
                                                      "time_mix_lerp_fused",
                                                      "attn_rel_b.weight"};
  return tensor.name == "position_embd.weight" || tensor.name == "token_types.weight" ||
         std::any_of(kKept.begin(), kKept.end(), [&](std::string_view part) { return has(tensor.name, part); });
}

// What the rules need to know about the model as a whole.
struct Model {
  uint64_t layers = 0, experts = 0;
  uint64_t gqa = 1;  // query heads that share a key/value head
  bool has_output = false;
  // Place of a layer among those that have the tensor, by layer.
  std::map<int64_t, int64_t> attn_v, ffn_down;

  Model(const Metadata& metadata, std::span<const Tensor> tensors) {
    const std::string prefix(metadata.string("general.architecture").value_or(""));
    // The first layer's number where each layer has its own.
    const auto number = [&](const char* key) -> uint64_t {
      const std::string full = prefix + key;
      const Value* value = metadata.find(full);
      if (!value) return 0;
      if (std::holds_alternative<uint64_t>(*value) || std::holds_alternative<int64_t>(*value))
        return *metadata.u64(full);
      const auto all = metadata.u64s(full);
      return all->empty() ? 0 : all->front();
    };
    layers = number(".block_count");
    experts = number(".expert_count");
    const uint64_t heads = number(".attention.head_count"), kv_heads = number(".attention.head_count_kv");
    if (heads && kv_heads) gqa = heads / kv_heads;
    std::set<int64_t> with_v, with_down;
    for (const Tensor& tensor : tensors) {
      has_output = has_output || tensor.name == "output.weight";
      if (has(tensor.name, "attn_v.weight")) with_v.insert(layer_of(tensor.name));
      if (has(tensor.name, "ffn_down") && !is_kept(tensor)) with_down.insert(layer_of(tensor.name));
    }
    const auto rank = [](const std::set<int64_t>& of, std::map<int64_t, int64_t>& out) {
      int64_t next = 0;
      for (const int64_t layer : of) out[layer] = next++;
    };
    rank(with_v, attn_v);
    rank(with_down, ffn_down);
  }
};

// The first and the last eighth of the layers and every third between.
bool is_sensitive(int64_t i, int64_t n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }

uint32_t attn_v_type(FileType file_type, uint32_t dtype, const Model& model, std::string_view name) {
  const int64_t i = model.attn_v.at(layer_of(name));
  const auto n = static_cast<int64_t>(model.attn_v.size());
  switch (file_type) {
    case kQ2_K:
      dtype = model.gqa >= 4 ? BRIM_DTYPE_Q4_K : BRIM_DTYPE_Q3_K;
      break;
    case kQ2_K_S:
      if (model.gqa >= 4) dtype = BRIM_DTYPE_Q4_K;
      break;
    case kQ3_K_M:
      dtype = i < 2 ? BRIM_DTYPE_Q5_K : BRIM_DTYPE_Q4_K;
      break;
    case kQ3_K_L:
      dtype = BRIM_DTYPE_Q5_K;
      break;
    case kIq4Nl:
    case kIq4Xs:
      if (model.gqa >= 4) dtype = BRIM_DTYPE_Q5_K;
      break;
    case kQ4_K_M:
    case kQ5_K_M:
      if (is_sensitive(i, n)) dtype = BRIM_DTYPE_Q6_K;
      break;
    case kQ4_K_S:
      if (i < 4) dtype = BRIM_DTYPE_Q5_K;
      break;
    default:
      break;
  }
  // Models of the 70B class: eight heads share these weights, so they are few and matter.
  if (model.layers == 80 && model.gqa == 8 && (dtype == BRIM_DTYPE_Q3_K || dtype == BRIM_DTYPE_Q4_K)) {
    dtype = BRIM_DTYPE_Q5_K;
  }
  // With eight experts attention is a small part of the whole.
  return model.experts == 8 ? BRIM_DTYPE_Q8_0 : dtype;
}

uint32_t ffn_down_type(FileType file_type, uint32_t dtype, const Model& model, std::string_view name) {
  const int64_t layer = layer_of(name);
  // Expert tensors come several a layer, so there the layer's own number counts.
  const int64_t i = model.experts > 1 ? layer : model.ffn_down.at(layer);
  const auto n = static_cast<int64_t>(model.layers);
  switch (file_type) {
    case kQ2_K:
      return BRIM_DTYPE_Q3_K;
    case kQ2_K_S:
      return i < n / 8 ? BRIM_DTYPE_Q4_K : dtype;
    case kQ3_K_M:
      return i < n / 16 ? BRIM_DTYPE_Q5_K : BRIM_DTYPE_Q4_K;
    case kQ3_K_L:
      return BRIM_DTYPE_Q5_K;
    case kQ4_K_M:
    case kQ5_K_M:
      return is_sensitive(i, n) ? BRIM_DTYPE_Q6_K : dtype;
    case kQ4_K_S:
    case kIq4Nl:
    case kIq4Xs:
      return i < n / 8 ? BRIM_DTYPE_Q5_K : dtype;
    default:
      return dtype;
  }
}

uint32_t attn_output_type(FileType file_type, uint32_t dtype, const Model& model) {
  if (model.experts == 8) {
    switch (file_type) {
      case kQ2_K:
      case kQ3_K_S:
      case kQ3_K_M:
      case kQ4_K_S:
      case kQ4_K_M:
      case kIq4Nl:
      case kIq4Xs:
        return BRIM_DTYPE_Q5_K;
      default:
        return dtype;
    }
  }
  switch (file_type) {
    case kQ2_K:
      return BRIM_DTYPE_Q3_K;
    case kQ3_K_M:
      return BRIM_DTYPE_Q4_K;
    case kQ3_K_L:
      return BRIM_DTYPE_Q5_K;
    default:
      return dtype;
  }
}

uint32_t attn_qkv_type(FileType file_type, uint32_t dtype) {
  switch (file_type) {
    case kQ3_K_M:
    case kQ3_K_L:
      return BRIM_DTYPE_Q4_K;
    case kQ4_K_M:
      return BRIM_DTYPE_Q5_K;
    case kQ5_K_M:
      return BRIM_DTYPE_Q6_K;
    default:
      return dtype;
  }
}

bool divides(uint32_t dtype, uint64_t row) { return row % brim_dtype_block_elements(dtype) == 0; }

uint32_t mixed_type(const Recipe& recipe, const Model& model, const Tensor& tensor) {
  const auto file_type = static_cast<FileType>(recipe.file_type);
  const std::string_view name = tensor.name;
  if (brim_dtype_block_elements(recipe.dtype) == 1) return recipe.dtype;
  // A model without an output matrix of its own uses the embedding for it.
  if (name == "output.weight" || (!model.has_output && name == "token_embd.weight")) {
    if (file_type == kMxfp4 || !divides(recipe.dtype, tensor.shape.row())) return BRIM_DTYPE_Q8_0;
    return recipe.dtype == BRIM_DTYPE_Q8_0 ? BRIM_DTYPE_Q8_0 : BRIM_DTYPE_Q6_K;
  }
  // MXFP4 was made for experts; a model that has some keeps Q8_0 elsewhere.
  if (file_type == kMxfp4 && model.experts > 1 && !has(name, "_exps")) return BRIM_DTYPE_Q8_0;
  if (has(name, "attn_v.weight")) return attn_v_type(file_type, recipe.dtype, model, name);
  if (has(name, "attn_k.weight") && model.experts == 8) return BRIM_DTYPE_Q8_0;
  if (has(name, "ffn_down")) return ffn_down_type(file_type, recipe.dtype, model, name);
  if (has(name, "attn_output.weight")) return attn_output_type(file_type, recipe.dtype, model);
  if (has(name, "attn_qkv.weight")) return attn_qkv_type(file_type, recipe.dtype);
  return recipe.dtype;
}

// The type to take where blocks do not divide the rows: the nearest in bits with blocks of 32, at last F16.
uint32_t fallback(uint32_t dtype, uint64_t row) {
  switch (dtype) {
    case BRIM_DTYPE_Q2_K:
    case BRIM_DTYPE_Q3_K:
    case BRIM_DTYPE_IQ4_XS:
      dtype = BRIM_DTYPE_IQ4_NL;
      break;
    case BRIM_DTYPE_Q4_K:
      dtype = BRIM_DTYPE_Q5_0;
      break;
    case BRIM_DTYPE_Q5_K:
      dtype = BRIM_DTYPE_Q5_1;
      break;
    case BRIM_DTYPE_Q6_K:
      dtype = BRIM_DTYPE_Q8_0;
      break;
    default:
      break;
  }
  return divides(dtype, row) ? dtype : BRIM_DTYPE_F16;
}

}  // namespace

std::span<const Recipe> recipes() { return kRecipes; }

const Recipe& find_recipe(std::string_view name) {
  const auto equal = [](char a, char b) {
    return std::toupper(static_cast<unsigned char>(a)) == std::toupper(static_cast<unsigned char>(b));
  };
  std::string all;
  for (const Recipe& recipe : kRecipes) {
    if (std::equal(name.begin(), name.end(), recipe.name.begin(), recipe.name.end(), equal)) return recipe;
    all += fmt::format("{}{}", all.empty() ? "" : ", ", recipe.name);
  }
  fail(BRIM_INVALID_ARGUMENT, "cannot quantise to '{}'; use one of {}", name, all);
}

std::vector<TensorPlan> plan_tensors(const Recipe& recipe, const Metadata& metadata, std::span<const Tensor> tensors) {
  const Model model(metadata, tensors);
  std::vector<TensorPlan> out(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i];
    if (is_kept(tensor)) continue;
    out[i].dtype = mixed_type(recipe, model, tensor);
    if (!divides(out[i].dtype, tensor.shape.row())) {
      out[i] = {fallback(out[i].dtype, tensor.shape.row()), true};
    }
    if (out[i].dtype == tensor.dtype) out[i].dtype = BRIM_DTYPE_NONE;
  }
  return out;
}

}  // namespace brim::model
