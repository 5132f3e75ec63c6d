// What an architecture says of a model before any graph is built: its sizes, the tensors it needs, found in the file
// and checked, and its states.
#pragma once

#include <brim/architecture.h>

#include <model/model_file.hpp>
#include <vector>

namespace brim::graph {

// An architecture plugin as this room sees it: its functions and the instance they belong to.
struct ArchitectureRef {
  const brim_architecture* api = nullptr;
  brim_plugin* instance = nullptr;
};

// A tensor that the architecture declared; the ids of add_tensor count these.
struct Weight {
  const model::Tensor* tensor = nullptr;  // null: optional and absent
  uint32_t flags = 0;                     // BRIM_TENSOR_*
  uint32_t layer = BRIM_NO_LAYER;
};

struct Description {
  brim_model_desc model{};
  std::vector<Weight> weights;
  std::vector<brim_state_desc> states;
};

// Throws what the architecture reports, and NOT_FOUND or DATA_CORRUPT where the file lacks what it declares.
Description describe(ArchitectureRef architecture, const model::ModelFile& file);

}  // namespace brim::graph
