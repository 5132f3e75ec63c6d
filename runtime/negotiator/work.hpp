// What each part of a model costs, read off the graph that decodes a token: the embedding, every layer and the head, in
// that order, are the items that a placement gives to devices. A weight belongs to the item that reads most of it.
#pragma once

#include <graph/graph.hpp>
#include <negotiator/open_model.hpp>
#include <negotiator/predictor.hpp>
#include <vector>

namespace brim::negotiator {

struct ItemWork {
  Work work;
  Work experts;                  // the part of `work` that can be computed apart, its layers 0
  uint64_t resident = 0;         // bytes of weights, as the file has them
  uint64_t expert_resident = 0;  // of these
  uint64_t read = 0;             // weight bytes of one token: rows of a look-up, chosen experts
};

// Item of a node: 0 before the first layer, layer + 1, and n_layers + 1 behind the last.
std::vector<uint32_t> items_of(const graph::Graph& graph, uint32_t n_layers);

// The share of the weight at `input` that a run of the node for so many tokens reads: of a table one row each, of experts
// as many as can be chosen, of all others all.
double weight_share(const graph::Graph& graph, const brim_node& node, uint32_t input, uint32_t n_tokens);

// `decode` is a graph of the model; kv_dtype: of its states.
std::vector<ItemWork> works_of(const OpenModel& model, const graph::Graph& decode, uint32_t kv_dtype);
// Builds the graph for that context first.
std::vector<ItemWork> works_of(const OpenModel& model, uint32_t n_ctx, uint32_t kv_dtype);

}  // namespace brim::negotiator
