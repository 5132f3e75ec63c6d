// Which type each tensor of a model gets when a file is quantised. A recipe is one data type for all matrices, or one
// of the common mixes ("Q4_K_M"), which spend more bits where errors hurt most: on the output, on attn_v and ffn_down
// of certain layers. The rules are those that files of these names are commonly made by, so that a size or a perplexity
// compares with what people know. They look at tensor names, layer numbers and head counts only.
#pragma once

#include <cstdint>
#include <model/metadata.hpp>
#include <model/tensor.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace brim::model {

struct Recipe {
  std::string_view name;  // as users write it, "Q4_K_M"
  uint32_t file_type;     // general.file_type
  uint32_t dtype;         // what a tensor gets that no rule names
};

// In the order in which help texts show them.
std::span<const Recipe> recipes();
// Letter case does not matter. Throws INVALID_ARGUMENT that lists the recipes.
const Recipe& find_recipe(std::string_view name);

struct TensorPlan {
  uint32_t dtype = BRIM_DTYPE_NONE;  // BRIM_DTYPE_NONE: copied as it is
  bool fell_back = false;            // the recipe's type does not divide the rows
};
// One plan for each tensor. Vectors, norms, routers, integers and small odd matrices are copied as they are.
std::vector<TensorPlan> plan_tensors(const Recipe& recipe, const Metadata& metadata, std::span<const Tensor> tensors);

}  // namespace brim::model
