#include <algorithm>
#include <base/error.hpp>
#include <graph/builder.hpp>
#include <map>
#include <negotiator/work.hpp>

namespace brim::negotiator {
namespace {

struct Use {
  double share = 0;
  uint32_t item = 0;
  bool computes = false;  // a matrix product
};

double bytes_of(const brim_state_desc& state, uint32_t dtype) {
  const double row = static_cast<double>(state.n_head) * (state.k_width + state.v_width);
  return row * static_cast<double>(brim_dtype_block_bytes(dtype)) / brim_dtype_block_elements(dtype);
}

}  // namespace

double weight_share(const graph::Graph& graph, const brim_node& node, uint32_t input, uint32_t n_tokens) {
  const double rows = graph.value(graph.storage(node.in[input])).dim[0].k;
  if (node.op == BRIM_OP_GATHER_ROWS && input == 0) return std::min(1.0, n_tokens / rows);
  if (node.op == BRIM_OP_GROUPED_MATMUL && input != 1) {  // weights and biases of the chosen experts
    return std::min(1.0, double(n_tokens) * graph.value(node.in[2]).dim[1].k / rows);
  }
  return 1;
}

std::vector<uint32_t> items_of(const graph::Graph& graph, uint32_t n_layers) {
  std::vector<uint32_t> items;
  bool inside = false;
  for (const brim_node& node : graph.nodes()) {
    const bool outside = node.layer == BRIM_NO_LAYER;
    if (!outside && node.layer >= n_layers) {
      fail(BRIM_INVALID_ARGUMENT, "the architecture emitted layer {} of {}", node.layer, n_layers);
    }
    inside |= !outside;
    items.push_back(!outside ? node.layer + 1 : inside ? n_layers + 1 : 0);
  }
  return items;
}

std::vector<ItemWork> works_of(const OpenModel& model, const graph::Graph& decode, uint32_t kv_dtype) {
  const graph::Description& description = model.require_description();
  const uint32_t n_layers = description.model.n_layers;
  const std::vector<uint32_t> item_of = items_of(decode, n_layers);
  std::vector<ItemWork> items(n_layers + 2);
  std::map<brim_value, Use> uses;
  for (uint32_t i = 0; i < decode.nodes().size(); ++i) {
    const brim_node& node = decode.nodes()[i];
    if (node.op == BRIM_OP_GROUPED_MATMUL) items[item_of[i]].work.mixture = true;
    for (uint32_t j = 0; j < node.n_in; ++j) {
      if (!node.in[j]) continue;
      const brim_value storage = decode.storage(node.in[j]);
      const brim_value_desc& weight = decode.value(storage);
      if (weight.kind != BRIM_VALUE_WEIGHT) continue;
      const double share = weight_share(decode, node, j, 1);
      Use& use = uses[storage];
      if (share <= use.share) continue;
      use = {share, item_of[i], j == 0 && (node.op == BRIM_OP_MATMUL || node.op == BRIM_OP_GROUPED_MATMUL)};
    }
  }
  for (const auto& [value, use] : uses) {
    const graph::Weight& weight = description.weights[decode.value(value).role];
    const auto bytes = static_cast<double>(weight.tensor->bytes);
    Work w;
    w.all_bytes = bytes * format_factor(weight.tensor->dtype);
    w.bytes = use.share * w.all_bytes;
    if (use.share < 1 && !(weight.flags & BRIM_TENSOR_EXPERTS)) w.all_bytes = w.bytes;  // a look-up
    // The head is computed for the last token of a prompt only.
    if (use.computes && use.item <= n_layers) {
      w.flops = 2 * use.share * static_cast<double>(weight.tensor->shape.elements());
    }
    ItemWork& item = items[use.item];
    item.work += w;
    item.resident += weight.tensor->bytes;
    item.read += static_cast<uint64_t>(use.share * bytes);
    if (weight.flags & BRIM_TENSOR_EXPERTS) {
      item.experts += w;
      item.expert_resident += weight.tensor->bytes;
    }
  }
  for (uint32_t l = 0; l < n_layers; ++l) items[l + 1].work.layers = items[l + 1].work.mixture ? kMixtureLayer : 1;
  for (const brim_state_desc& state : description.states) {
    if (state.layer >= n_layers) continue;
    Work& w = items[state.layer + 1].work;
    if (state.kind > BRIM_STATE_KV_CROSS) {
      w.kv_fixed += 4.0 * static_cast<double>(state.elements);
    } else if (state.window) {
      w.kv_fixed += bytes_of(state, kv_dtype) * state.window;
    } else {
      w.kv_per_token += bytes_of(state, kv_dtype);
    }
  }
  return items;
}

std::vector<ItemWork> works_of(const OpenModel& model, uint32_t n_ctx, uint32_t kv_dtype) {
  brim_build_info info{};
  info.struct_size = sizeof(info);
  info.phase = BRIM_PHASE_DECODE;
  info.n_ctx = n_ctx;
  info.n_seqs_max = 1;
  info.outputs = 1ull << BRIM_OUTPUT_LOGITS;
  return works_of(model, *graph::build(model.ref(), model.file, model.require_description(), info), kv_dtype);
}

}  // namespace brim::negotiator
