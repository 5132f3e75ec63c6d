#include <algorithm>
#include <base/error.hpp>
#include <negotiator/stages.hpp>
#include <set>

namespace brim::negotiator {
namespace {

bool is_paged(uint32_t kind) { return kind <= BRIM_STATE_KV_CROSS; }

brim_state_layout layout_of(const Plan& plan, uint32_t device, const brim_state_desc& desc, uint32_t dtype) {
  const topology::Device& d = plan.device(device);
  if (!d.backend->api.state_layout) {
    fail(BRIM_INCOMPATIBLE, "{} runs ops with states and offers no state_layout", d.plugin());
  }
  brim_state_layout layout{};
  layout.struct_size = sizeof(layout);
  brim_error error = empty_error();
  check(d.backend->api.state_layout(d.handle.get(), &desc, dtype, &layout, &error), error,
        fmt::format("{}: a state of layer {} in {}", d.name, desc.layer, brim_dtype_name(dtype)));
  const bool power_of_two = layout.block_tokens && (layout.block_tokens & (layout.block_tokens - 1)) == 0;
  if (!power_of_two || layout.block_bytes == 0 || layout.layout_id == 0) {
    fail(BRIM_INCOMPATIBLE, "{}: the backend gave a state layout of {} tokens and {} bytes a block, id {}", d.name,
         layout.block_tokens, layout.block_bytes, layout.layout_id);
  }
  return layout;
}

// max_blocks and n_blocks of a group, for a context of n_ctx and a pool of kv_tokens.
void count_blocks(GroupPlan& g, const Request& r, uint32_t n_ctx, uint64_t kv_tokens) {
  const auto blocks = [&](uint64_t tokens) { return (tokens + g.block_tokens - 1) / g.block_tokens; };
  const uint64_t per_sequence = blocks(n_ctx);
  uint64_t in_step = per_sequence;
  // Sequences fill blocks of their own: each may leave one partly empty.
  uint64_t together = std::min(per_sequence * r.n_seqs, blocks(kv_tokens) + r.n_seqs - 1);
  if (g.window != 0) {
    // The rows of a step and the window before the first; for going back, the window before the job. Each run of tokens
    // begins and ends anywhere in a block.
    const uint64_t window = blocks(g.window - 1) + 1, kept = window + kBlocksBehindWindow;
    in_step = std::min(in_step, window + blocks(r.n_batch));
    together = std::min(together, r.n_seqs * (2 * kept + 1) + r.n_batch / g.block_tokens);
  }
  g.max_blocks = static_cast<uint32_t>(in_step);
  g.n_blocks = static_cast<uint32_t>(together);
}

void place_states(Plan& plan) {
  const Request& r = plan.request;
  const auto& descs = plan.model->description->states;
  for (uint32_t i = 0; i < descs.size(); ++i) {
    StatePlan& s = plan.states[i];
    s.dtype = is_paged(descs[i].kind) ? r.kv_dtype : BRIM_DTYPE_F32;
    s.layout = layout_of(plan, s.device, descs[i], s.dtype);
    if (is_paged(descs[i].kind)) {
      const auto same = [&](const GroupPlan& g) {
        return g.kind == descs[i].kind && g.window == descs[i].window && g.block_tokens == s.layout.block_tokens;
      };
      auto group = std::find_if(plan.groups.begin(), plan.groups.end(), same);
      if (group == plan.groups.end()) {
        GroupPlan g;
        g.kind = descs[i].kind;
        g.window = descs[i].window;
        g.block_tokens = s.layout.block_tokens;
        count_blocks(g, r, r.n_ctx, r.kv_tokens);
        group = plan.groups.insert(plan.groups.end(), g);
      }
      s.group = static_cast<uint32_t>(group - plan.groups.begin());
      s.n_blocks = group->n_blocks;
    } else {
      s.n_blocks = kSlotsPerSequence * r.n_seqs;
    }
    if (s.storage == i) {
      s.bytes = s.layout.block_bytes * s.n_blocks;
      if (is_paged(descs[i].kind) && descs[i].window == 0) {
        plan.kv_bytes_per_token += s.layout.block_bytes / s.layout.block_tokens;
      }
    }
  }
}

// Can the device read the tensor where the file's mapping has it, and should it? `whole`: it reads more of it than rows
// by their index. Where another heap than the device's own says that host memory is read in place, it has that heap's
// speed: enough for a few rows a step.
std::string why_not_mapped(const Plan& plan, const DevicePlan& d, const model::Tensor& tensor, bool whole) {
  const topology::Device& device = plan.model->machine->topology.devices[d.device];
  const topology::Heap& heap = device.heaps[d.local_heap];
  const auto imports = [](const topology::Heap& h) { return (h.info.flags & BRIM_HEAP_IMPORT_HOST) != 0; };
  if (!device.backend->api.buffer_import || !std::ranges::any_of(device.heaps, imports)) {
    return "the device cannot read host memory in place";
  }
  if (!imports(heap) && whole && plan.request.load != BRIM_LOAD_MAP) {
    return "read for every token: the device's own memory is faster than the file's pages";
  }
  if (heap.info.alignment && tensor.offset % heap.info.alignment) return "tensors of the file are not aligned for it";
  if (tensor.offset % kWindowBorder + tensor.bytes > heap.info.max_alloc) return "larger than one buffer may be";
  return {};
}

void place_weights(Plan& plan) {
  const auto& weights = plan.model->description->weights;
  std::map<std::pair<uint32_t, uint32_t>, bool> used;  // (device, weight) -> more than rows of it
  const graph::Graph* any = nullptr;
  std::map<uint32_t, brim_value> value_of;
  for (const Variant& v : plan.variants) {
    for (const graph::Segment& segment : v.segments) {
      for (const uint32_t index : segment.nodes) {
        const brim_node& node = v.graph->nodes()[index];
        for (uint32_t j = 0; j < node.n_in; ++j) {
          if (!node.in[j]) continue;
          const brim_value storage = v.graph->storage(node.in[j]);
          if (v.graph->value(storage).kind != BRIM_VALUE_WEIGHT) continue;
          used[{segment.device, v.graph->value(storage).role}] |= node.op != BRIM_OP_GATHER_ROWS;
          if (!any) any = v.graph.get();
          if (any == v.graph.get()) value_of[v.graph->value(storage).role] = storage;
        }
      }
    }
  }
  const uint32_t asked = plan.request.load;
  // Where a device computes from the system's memory, copies of the file's pages would stand beside its own.
  for (DevicePlan& d : plan.devices) {
    const topology::Class c = plan.model->machine->topology.devices[d.device].memory_class;
    const bool twice = c == topology::Class::kAtsUma || c == topology::Class::kWindowsUma;
    d.direct = asked == BRIM_LOAD_DIRECT || (asked == BRIM_LOAD_AUTO && twice);
  }
  std::map<std::pair<uint32_t, std::string>, uint64_t> copied;  // (device, reason) -> bytes
  std::map<uint32_t, uint64_t> mapped;
  for (const auto& [use, whole] : used) {
    const auto [device, weight] = use;
    const DevicePlan& d = plan.devices[device];
    const topology::Device& t = plan.model->machine->topology.devices[d.device];
    const model::Tensor& tensor = *weights[weight].tensor;
    WeightPlan w;
    w.weight = weight;
    w.device = device;
    w.bytes = tensor.bytes;
    // A mapping that does not fit can be read again from the file; a packed copy cannot. A stand-in does not know what
    // its device would pack.
    const bool may_pack = asked != BRIM_LOAD_MAP && !plan.request.unsafe_overcommit && t.assumed.empty();
    if (may_pack && t.backend->api.pack_size && t.backend->api.pack && value_of.count(weight)) {
      uint64_t bytes = 0, layout = 0;
      brim_error error = empty_error();
      check(t.backend->api.pack_size(t.handle.get(), &any->view(), value_of[weight], &bytes, &layout, &error), error,
            fmt::format("{}: the packed size of {}", t.name, tensor.name));
      if (layout) {
        w.residence = Residence::kPacked;
        w.bytes = bytes;
        w.layout_id = layout;
      }
    }
    if (w.residence == Residence::kPacked) {
      w.bytes = align_weight(w.bytes);
      copied[{device, "packed into the backend's own layout"}] += w.bytes;
    } else {
      std::string reason = asked == BRIM_LOAD_READ || asked == BRIM_LOAD_DIRECT
                               ? "asked for: read into memory"
                               : why_not_mapped(plan, d, tensor, whole);
      if (reason.empty()) {
        w.residence = Residence::kMapped;
        mapped[device] += w.bytes;
      } else {
        w.bytes = align_weight(w.bytes);
        copied[{device, reason}] += w.bytes;
      }
    }
    plan.weights.push_back(w);
  }
  const bool any_direct = std::ranges::any_of(plan.devices, &DevicePlan::direct);
  plan.request.load = !mapped.empty() ? BRIM_LOAD_MAP : any_direct ? BRIM_LOAD_DIRECT : BRIM_LOAD_READ;
  for (const auto& [device, bytes] : mapped) {
    plan.decisions.push_back({"weights", fmt::format("{} mapped for {}", bytes_text(bytes), plan.device(device).name),
                              "the device reads the file's pages in place: nothing is copied"});
  }
  for (const auto& [key, bytes] : copied) {
    plan.decisions.push_back(
        {"weights", fmt::format("{} copied for {}", bytes_text(bytes), plan.device(key.first).name), key.second});
    if (asked == BRIM_LOAD_MAP && key.second != "packed into the backend's own layout") {
      fail(BRIM_UNSUPPORTED, "load = map was asked for, but {} on {}; use load = auto", key.second,
           plan.device(key.first).name);
    }
  }
  for (uint32_t i = 0; i < plan.devices.size(); ++i) {
    const bool copies = std::ranges::any_of(copied, [i](const auto& c) { return c.first.first == i; });
    if (!plan.devices[i].direct || !copies) continue;
    plan.decisions.push_back({fmt::format("weights of {}", plan.device(i).name), "read past the system's file cache",
                              asked == BRIM_LOAD_DIRECT
                                  ? "asked for"
                                  : "the cache would hold them a second time in the memory it computes from"});
  }
}

}  // namespace

void place_bytes(Plan& plan) {
  place_states(plan);
  place_weights(plan);
  for (const ItemWork& item : plan.works) plan.bytes_per_token += item.read;
}

uint64_t state_bytes(const Plan& plan, uint32_t n_ctx, uint32_t kv_dtype) {
  const Request& r = plan.request;
  const auto& descs = plan.model->description->states;
  const bool full = r.kv_tokens == uint64_t{r.n_ctx} * r.n_seqs;
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < descs.size(); ++i) {
    const StatePlan& s = plan.states[i];
    if (s.storage != i) continue;
    if (!is_paged(descs[i].kind)) {
      bytes += s.bytes;
      continue;
    }
    const brim_state_layout layout = layout_of(plan, s.device, descs[i], kv_dtype);
    const uint64_t tokens = full ? uint64_t{n_ctx} * r.n_seqs : std::min(r.kv_tokens, uint64_t{n_ctx} * r.n_seqs);
    GroupPlan group;
    group.window = descs[i].window;
    group.block_tokens = layout.block_tokens;
    count_blocks(group, r, n_ctx, tokens);
    bytes += layout.block_bytes * group.n_blocks;
  }
  return bytes;
}

}  // namespace brim::negotiator
