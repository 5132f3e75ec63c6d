// What an architecture may see of a model file: brim_meta_api over a ModelFile. Look-ups only; no tensor byte.
#pragma once

#include <brim/architecture.h>

#include <model/model_file.hpp>

namespace brim::graph {

// The table of functions; constant, the same for every model.
const brim_meta_api& meta_api();

// The handle that goes with it. The file outlives its use.
inline const brim_meta* as_meta(const model::ModelFile& file) { return reinterpret_cast<const brim_meta*>(&file); }

}  // namespace brim::graph
