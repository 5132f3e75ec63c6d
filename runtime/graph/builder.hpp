// brim_builder_api: what an architecture calls in describe and build. The first error sticks, later calls do nothing,
// and describe()/build() throw it. In build, every node is checked and its outputs' shapes are inferred as it is
// emitted.
#pragma once

#include <brim/architecture.h>

#include <graph/description.hpp>
#include <graph/graph.hpp>
#include <memory>
#include <optional>

namespace brim::graph {

// Throws what the architecture reports or what is wrong with the nodes that it emits, naming layer, op and shapes.
std::unique_ptr<const Graph> build(ArchitectureRef architecture, const model::ModelFile& file,
                                   const Description& description, const brim_build_info& info);

}  // namespace brim::graph
