// Model shapes: the headers that files of well-known models have, made from a few numbers and a quantisation recipe, so
// that a question about a model needs no file. "llama-3-70b:q4_k_m" is a size of a family and a recipe's name. Metadata
// and tensor table are those of a converted file, so architecture plugins describe and build a shape as they do a file,
// and bytes are exact where files of that name are made by the common recipe. There is no vocabulary and no data.
#pragma once

#include <model/model_file.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace brim::model {

// "llama-3-8b", ..., in the order in which help texts show them.
std::vector<std::string_view> shape_names();

// Whether a path is meant as a shape's name: it has a colon, no folder and does not end in ".gguf".
bool is_shape_name(std::string_view name);

// Throws NOT_FOUND for an unknown shape, INVALID_ARGUMENT for an unknown recipe; both say what there is.
ModelFile make_shape(std::string_view name);

}  // namespace brim::model
