#include <algorithm>
#include <base/error.hpp>
#include <graph/builder.hpp>
#include <negotiator/chain.hpp>
#include <negotiator/stages.hpp>
#include <optional>
#include <set>

namespace brim::negotiator {
namespace {

// Faster kinds first.
uint32_t preference(uint32_t type) {
  switch (type) {
    case BRIM_DEVICE_DISCRETE:
      return 0;
    case BRIM_DEVICE_INTEGRATED:
      return 1;
    case BRIM_DEVICE_ACCELERATOR:
      return 2;
    default:
      return 3;
  }
}

class Placer {
 public:
  explicit Placer(Plan& plan) : plan_(plan), topology_(plan.model->machine->topology) {
    for (uint32_t i = 0; i < topology_.devices.size(); ++i) {
      if (topology_.takes_part(topology_.devices[i])) order_.push_back(i);
    }
    std::stable_sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) {
      return preference(topology_.devices[a].info.type) < preference(topology_.devices[b].info.type);
    });
    if (order_.empty()) {
      fail(BRIM_FAILED_PRECONDITION, "no backend brought a device that can run; `brim plugins` says why");
    }
  }

  void run() {
    build_variants();
    choose_layers();
    for (Variant& v : plan_.variants) assign(v);
    for (Variant& v : plan_.variants) v.segments = graph::partition(*v.graph, v.device_of);
    for (DevicePlan& d : plan_.devices) choose_heaps(d);
  }

 private:
  void build_variants() {
    const auto& model = *plan_.model;
    for (const bool embeddings : {false, true}) {
      if (embeddings && !(plan_.request.inputs >> BRIM_INPUT_EMBEDDING & 1)) continue;
      for (const uint32_t phase : {BRIM_PHASE_PREFILL, BRIM_PHASE_DECODE}) {
        brim_build_info info{};
        info.struct_size = sizeof(info);
        info.phase = phase;
        info.n_ctx = plan_.request.n_ctx;
        info.n_seqs_max = plan_.request.n_seqs;
        info.outputs = plan_.request.outputs;
        info.embeddings = embeddings;
        Variant v;
        v.phase = phase;
        v.embeddings = embeddings;
        v.graph = graph::build(model.ref(), model.file, model.require_description(), info);
        // Phases with one and the same graph share its programs.
        if (!plan_.variants.empty() && plan_.variants.back().graph->hash() == v.graph->hash()) {
          v.graph = plan_.variants.back().graph;
        }
        plan_.variants.push_back(std::move(v));
      }
    }
  }

  // What the device says of the node: empty if it can run it, else why not.
  std::string refusal(uint32_t device, const graph::Graph& graph, uint32_t index) const {
    const topology::Device& d = topology_.devices[device];
    const brim_node& node = graph.nodes()[index];
    const auto& caps = d.backend->caps;
    const auto cap = std::find_if(caps.begin(), caps.end(), [&](const brim_op_caps& c) { return c.op == node.op; });
    if (cap == caps.end()) return "lacks the op";
    if (cap->max_rev < node.op_rev) return fmt::format("knows revision {} of the op only", cap->max_rev);
    if (node.must & ~cap->features) return fmt::format("lacks the feature bits {:#x}", node.must & ~cap->features);
    brim_support support{};
    support.struct_size = sizeof(support);
    brim_error error = empty_error();
    const brim_status status =
        d.backend->api.support(d.handle.get(), &graph.view(), index, plan_.request.numerics, &support, &error);
    if (status != BRIM_OK) return fmt::format("said: {}", words_of(status, error));
    if (support.level == BRIM_SUPPORT_YES) return {};
    if (support.level == BRIM_SUPPORT_IF_CONTIGUOUS) {
      for (uint32_t i = 0; i < node.n_in; ++i) {
        if ((support.need_contiguous >> i & 1) && node.in[i] && graph.value(node.in[i]).kind == BRIM_VALUE_VIEW) {
          return "wants contiguous inputs";
        }
      }
      return {};
    }
    return "does not support these shapes and types";
  }

  // The first node that the device cannot run, and why; empty if it runs all of them.
  std::string why_not_all(uint32_t device) const {
    for (const Variant& v : plan_.variants) {
      for (uint32_t i = 0; i < v.graph->nodes().size(); ++i) {
        const brim_node& node = v.graph->nodes()[i];
        if (graph::is_view_op(node.op)) continue;
        const std::string why = refusal(device, *v.graph, i);
        if (!why.empty()) return fmt::format("{}: {}", graph::op_name(node.op), why);
      }
    }
    return {};
  }

  bool asked_for(uint32_t device) const {
    return std::any_of(plan_.request.placements.begin(), plan_.request.placements.end(),
                       [&](const Placement& p) { return p.device == device; });
  }

  // Devices that the choice is among. What is left out is told with its reason.
  std::vector<uint32_t> usable_devices() {
    std::vector<uint32_t> usable;
    std::vector<Decision> left_out;
    const auto leave_out = [&](uint32_t device, std::string because) {
      const topology::Device& d = topology_.devices[device];
      if (asked_for(device)) return;
      left_out.push_back({"left out", fmt::format("{} by {}", d.name, d.plugin()), std::move(because)});
    };
    for (const uint32_t device : order_) {
      const topology::Device& d = topology_.devices[device];
      if (std::string why = why_not_all(device); !why.empty()) {
        leave_out(device, std::move(why));
        continue;
      }
      const auto same = std::find_if(usable.begin(), usable.end(),
                                     [&](uint32_t u) { return topology_.devices[u].physical == d.physical; });
      if (same == usable.end()) {
        usable.push_back(device);
        continue;
      }
      // Two interfaces to one device have one memory and one set of processors: the faster one stands for it.
      uint32_t slower = device;
      if (constants_of(*plan_.model, device).bandwidth > constants_of(*plan_.model, *same).bandwidth) {
        std::swap(slower, *same);
      }
      leave_out(slower, fmt::format("{} shows the same device and is used", topology_.devices[*same].plugin()));
    }
    // A GPU's interface over the processors that another device computes on too gains nothing.
    const auto software = [&](uint32_t d) { return topology_.devices[d].memory_class == topology::Class::kSoftware; };
    if (!std::all_of(usable.begin(), usable.end(), software)) {
      for (const uint32_t device : usable) {
        if (software(device)) leave_out(device, "it computes on the host's processors");
      }
      std::erase_if(usable, software);
    }
    // Where nobody runs all of the model, everybody helps.
    if (!usable.empty()) plan_.decisions.insert(plan_.decisions.end(), left_out.begin(), left_out.end());
    return usable;
  }

  void choose_layers() {
    const uint32_t n_layers = plan_.model->require_description().model.n_layers;
    plan_.works = works_of(*plan_.model, *plan_.variant(BRIM_PHASE_DECODE, false).graph, plan_.request.kv_dtype);
    const std::vector<uint32_t> usable = usable_devices();
    std::string because;
    if (usable.empty()) {
      because = "no device runs every op of the model; the others help out where it cannot";
      plan_.item_device.assign(n_layers + 2, order_.front());
      plan_.apart.assign(n_layers + 2, false);
    } else {
      choose_devices(plan_, usable);
      because = usable.size() == 1 ? "the only device here that runs every op of the model"
                                   : "the least predicted time of all placements that fit";
    }
    place_as_asked(n_layers);
    for (uint32_t l = 0; l < n_layers;) {
      uint32_t end = l;
      while (end < n_layers && plan_.item_device[end + 1] == plan_.item_device[l + 1]) ++end;
      plan_.decisions.push_back({fmt::format("layers {} to {}", l, end - 1),
                                 topology_.devices[plan_.item_device[l + 1]].name,
                                 plan_.request.placements.empty() ? because : "asked for, or next to what was"});
      l = end;
    }
    const auto n_apart = std::count(plan_.apart.begin(), plan_.apart.end(), true);
    if (n_apart) {
      plan_.decisions.push_back({fmt::format("experts of {} layers", n_apart), topology_.devices[plan_.home].name,
                                 "their memory has room for them, and each token needs few of them"});
    }
    // Devices join in the order of the layers.
    for (const uint32_t device : plan_.item_device) local(device);
    for (uint32_t l = 0; l < n_layers; ++l) plan_.devices[local(plan_.item_device[l + 1])].layers.push_back(l);
  }

  // Placements that the host gave win. Then the embedding goes with the first layer, the head with the last.
  void place_as_asked(uint32_t n_layers) {
    for (const Placement& p : plan_.request.placements) {
      if (p.device >= topology_.devices.size() || !topology_.takes_part(topology_.devices[p.device])) {
        fail(BRIM_INVALID_ARGUMENT, "a placement names device {}; there are {} (`brim devices` lists them)", p.device,
             topology_.devices.size());
      }
      if (p.first_layer >= n_layers || p.n_layers > n_layers - p.first_layer) {
        fail(BRIM_INVALID_ARGUMENT, "a placement names layers {} to {}; the model has {}", p.first_layer,
             uint64_t{p.first_layer} + p.n_layers - 1, n_layers);
      }
      std::fill_n(plan_.item_device.begin() + p.first_layer + 1, p.n_layers, p.device);
    }
    if (plan_.request.placements.empty()) return;
    plan_.item_device.front() = plan_.item_device[1];
    plan_.item_device.back() = plan_.item_device[n_layers];
    plan_.apart.assign(plan_.apart.size(), false);
    plan_.rejected.clear();
  }

  // Position of a device in the plan; it joins when first used.
  uint32_t local(uint32_t device) {
    for (uint32_t i = 0; i < plan_.devices.size(); ++i) {
      if (plan_.devices[i].device == device) return i;
    }
    DevicePlan d;
    d.device = device;
    plan_.devices.push_back(std::move(d));
    return static_cast<uint32_t>(plan_.devices.size() - 1);
  }

  // The device that all of `nodes` run on: the wanted one, else the first that runs them.
  uint32_t device_for(const graph::Graph& graph, const std::vector<uint32_t>& nodes, uint32_t wanted) {
    std::string said;
    std::vector<uint32_t> candidates = {wanted};
    candidates.insert(candidates.end(), order_.rbegin(), order_.rend());  // help comes from the CPU first
    for (const uint32_t device : candidates) {
      std::string why;
      for (const uint32_t index : nodes) {
        why = refusal(device, graph, index);
        if (!why.empty()) {
          const brim_node& node = graph.nodes()[index];
          why = fmt::format("{} {} {}", topology_.devices[device].name, why, graph::op_name(node.op));
          break;
        }
      }
      if (why.empty()) {
        if (device != wanted && helped_.insert({wanted, graph.nodes()[nodes[0]].op}).second) {
          plan_.decisions.push_back({graph::op_name(graph.nodes()[nodes[0]].op), topology_.devices[device].name, said});
        }
        return device;
      }
      if (said.find(why) == std::string::npos) said += (said.empty() ? "" : "; ") + why;
    }
    const brim_node& node = graph.nodes()[nodes[0]];
    fail(BRIM_UNSUPPORTED, "{}: no device runs {}{}: {}", plan_.model->file.path(), graph::op_name(node.op),
         node.layer == BRIM_NO_LAYER ? std::string() : fmt::format(" of layer {}", node.layer), said);
  }

  uint32_t root(uint32_t state) const {
    const auto& states = plan_.model->description->states;
    while (states[state].shares_with) state = states[state].shares_with - 1;
    return state;
  }

  void assign(Variant& v) {
    const graph::Graph& g = *v.graph;
    const auto n = static_cast<uint32_t>(g.nodes().size());
    const std::vector<uint32_t> items = items_of(g, static_cast<uint32_t>(plan_.item_device.size() - 2));
    std::vector<uint32_t> wanted(n);
    for (uint32_t i = 0; i < n; ++i) wanted[i] = plan_.item_device[items[i]];
    place_experts(g, items, wanted);
    // Nodes that touch one state stay together, over all variants.
    std::map<uint32_t, std::vector<uint32_t>> by_state;
    for (uint32_t i = 0; i < n; ++i) {
      for (uint32_t j = 0; j < g.nodes()[i].n_in; ++j) {
        const brim_value in = g.nodes()[i].in[j];
        if (in && g.value(in).kind == BRIM_VALUE_STATE) by_state[root(g.value(in).role)].push_back(i);
      }
    }
    v.device_of.assign(n, BRIM_NO_NODE);
    for (const auto& [state, nodes] : by_state) {
      const auto known = state_device_.find(state);
      const uint32_t device = device_for(g, nodes, known == state_device_.end() ? wanted[nodes[0]] : known->second);
      if (known != state_device_.end() && device != known->second) {
        fail(BRIM_UNSUPPORTED, "{}: the phases of the model need state {} on two devices", plan_.model->file.path(),
             state);
      }
      state_device_[state] = device;
      for (const uint32_t i : nodes) v.device_of[i] = local(device);
    }
    for (uint32_t i = 0; i < n; ++i) {
      if (v.device_of[i] != BRIM_NO_NODE || graph::is_view_op(g.nodes()[i].op)) continue;
      v.device_of[i] = local(device_for(g, {i}, wanted[i]));
    }
    plan_.states.resize(plan_.model->description->states.size());
    for (uint32_t s = 0; s < plan_.states.size(); ++s) {
      plan_.states[s].storage = root(s);
      if (state_device_.count(root(s))) plan_.states[s].device = local(state_device_[root(s)]);
    }
  }

  // Of a layer whose experts are apart: all that lies between the first and the last node that reads one.
  void place_experts(const graph::Graph& g, const std::vector<uint32_t>& items, std::vector<uint32_t>& wanted) const {
    const auto& weights = plan_.model->description->weights;
    std::map<uint32_t, std::pair<uint32_t, uint32_t>> spans;  // by item
    for (uint32_t i = 0; i < g.nodes().size(); ++i) {
      if (!plan_.apart[items[i]]) continue;
      const brim_node& node = g.nodes()[i];
      for (uint32_t j = 0; j < node.n_in; ++j) {
        if (!node.in[j]) continue;
        const brim_value_desc& value = g.value(g.storage(node.in[j]));
        if (value.kind != BRIM_VALUE_WEIGHT || !(weights[value.role].flags & BRIM_TENSOR_EXPERTS)) continue;
        spans.try_emplace(items[i], i, i).first->second.second = i;
      }
    }
    for (const auto& [item, span] : spans) {
      std::fill(wanted.begin() + span.first, wanted.begin() + span.second + 1, plan_.home);
    }
  }

  void choose_heaps(DevicePlan& d) {
    const auto& heaps = topology_.devices[d.device].heaps;
    const auto first = [&](uint32_t flags) -> std::optional<uint32_t> {
      for (uint32_t h = 0; h < heaps.size(); ++h) {
        if ((heaps[h].info.flags & flags) == flags) return h;
      }
      return std::nullopt;
    };
    d.local_heap = first(BRIM_HEAP_DEVICE_LOCAL).value_or(0);
    const auto host = first(BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_CACHED);
    const auto visible = host ? host : first(BRIM_HEAP_HOST_VISIBLE);
    if (!visible) {
      fail(BRIM_INCOMPATIBLE, "{} has no memory that the host can see; its backend is at fault",
           topology_.devices[d.device].name);
    }
    d.host_heap = *visible;
  }

  Plan& plan_;
  const topology::Topology& topology_;
  std::vector<uint32_t> order_;  // live devices of the topology, preferred first
  std::map<uint32_t, uint32_t> state_device_;
  std::set<std::pair<uint32_t, uint32_t>> helped_;  // (device, op) that a decision was written for
};

}  // namespace

void place_nodes(Plan& plan) { Placer(plan).run(); }

}  // namespace brim::negotiator
