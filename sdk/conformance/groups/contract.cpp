// contract: what the ABI's growth rules, errors and planning calls demand of a backend's table, seen through the
// validation layer.
#include <algorithm>
#include <cmath>
#include <thread>

#include "../bench/samples.hpp"
#include "groups.hpp"

namespace check {
namespace {

void caps(Trial& trial) {
  Host host;
  Instance instance(trial, host);
  Layer layer(trial, instance);
  // Ops with text in ops.h, and the feature bits that exist for them.
  struct Known {
    uint32_t op;
    uint64_t features;
  };
  static constexpr Known kKnown[] = {
      {BRIM_OP_RESHAPE, 0},
      {BRIM_OP_SLICE, 0},
      {BRIM_OP_PERMUTE, 0},
      {BRIM_OP_BROADCAST, 0},
      {BRIM_OP_COPY, 0},
      {BRIM_OP_CONCAT, 0},
      {BRIM_OP_GATHER_ROWS, 0},
      {BRIM_OP_SCATTER_ROWS, 0},
      {BRIM_OP_UNARY, 0},
      {BRIM_OP_BINARY, 0},
      {BRIM_OP_AFFINE_CLAMP, BRIM_AFFINE_SOFTCAP},
      {BRIM_OP_GLU, 0},
      {BRIM_OP_SOFTMAX, 0},
      {BRIM_OP_RMS_NORM, 0},
      {BRIM_OP_LAYER_NORM, 0},
      {BRIM_OP_L2_NORM, 0},
      {BRIM_OP_ARGMAX, 0},
      {BRIM_OP_TOPK, 0},
      {BRIM_OP_MATMUL, BRIM_MATMUL_BIAS | BRIM_MATMUL_BATCHED | BRIM_MATMUL_HEADS},
      {BRIM_OP_GROUPED_MATMUL, BRIM_GROUPED_MATMUL_BIAS},
      {BRIM_OP_MOE_ROUTE, BRIM_MOE_ROUTE_BIAS | BRIM_MOE_ROUTE_GROUPS},
      {BRIM_OP_MOE_COMBINE, 0},
      {BRIM_OP_ROPE, BRIM_ROPE_YARN | BRIM_ROPE_FACTORS | BRIM_ROPE_SECTIONS | BRIM_ROPE_INVERSE},
      {BRIM_OP_KV_WRITE, 0},
      {BRIM_OP_ATTENTION, BRIM_ATTENTION_CAUSAL | BRIM_ATTENTION_MASK | BRIM_ATTENTION_SLIDING_WINDOW |
                              BRIM_ATTENTION_CHUNKED | BRIM_ATTENTION_SOFTCAP | BRIM_ATTENTION_SINKS |
                              BRIM_ATTENTION_BIAS | BRIM_ATTENTION_SEGMENTS | BRIM_ATTENTION_V_FROM_K |
                              BRIM_ATTENTION_SPARSE_INDEX},
      {BRIM_OP_CAUSAL_CONV1D, BRIM_CONV1D_BIAS},
      {BRIM_OP_LINEAR_ATTENTION, BRIM_LINEAR_DECAY | BRIM_LINEAR_DELTA | BRIM_LINEAR_HEADS_MODULO},
      {BRIM_OP_EXT, ~0ull}};
  for (size_t i = 0; i < layer.caps().size(); ++i) {
    const brim_op_caps& c = layer.caps()[i];
    const auto known = std::find_if(std::begin(kKnown), std::end(kKnown), [&](const Known& k) { return k.op == c.op; });
    if (!trial.expect(known != std::end(kKnown), "caps claims op {}, which has no text in this minor", c.op)) continue;
    trial.expect(c.max_rev == 1, "caps claims revision {} of op {}; this minor defines revision 1", c.max_rev, c.op);
    trial.expect((c.features & ~known->features) == 0, "caps claims the feature bits {:#x} of op {}; defined are {:#x}",
                 c.features, c.op, known->features);
    for (size_t j = 0; j < i; ++j) trial.expect(layer.caps()[j].op != c.op, "caps lists op {} twice", c.op);
  }
  trial.note("{} ops", layer.caps().size());
}

void device_info(Trial& trial) {
  Device device(trial);
  const brim_device_info& info = device.info();
  trial.expect(info.type >= BRIM_DEVICE_CPU && info.type <= BRIM_DEVICE_ACCELERATOR,
               "device_info: type {} is none of BRIM_DEVICE_*", info.type);
  constexpr uint32_t kFlags = BRIM_DEVICE_LIVE | BRIM_DEVICE_SYNCHRONOUS | BRIM_DEVICE_ANY_KV |
                              BRIM_DEVICE_BATCH_INVARIANT | BRIM_DEVICE_TELLS_PAGING | BRIM_DEVICE_PAGEABLE_ACCESS |
                              BRIM_DEVICE_HOST_PAGE_TABLES | BRIM_DEVICE_CONCURRENT_MANAGED;
  trial.expect((info.flags & ~kFlags) == 0, "device_info: flags {:#x} have unknown bits", info.flags);
  trial.expect(info.max_binding > 0, "device_info: max_binding is 0: nothing could be bound");
  for (const auto& [name, text] :
       {std::pair{"name", info.name}, {"driver", info.driver}, {"architecture", info.architecture}}) {
    trial.expect(!view(text).empty() && text.len < 4096, "device_info: {} is empty or has no sane length", name);
  }
  for (uint32_t h = 0; h < info.n_heaps; ++h) {
    brim_heap_info heap{};
    must(trial, "heap_info", device.layer().heap_info(device.handle(), h, &heap));
    constexpr uint32_t kHeapFlags = 63;
    trial.expect((heap.flags & ~kHeapFlags) == 0, "heap_info {}: flags {:#x} have unknown bits", h, heap.flags);
    trial.expect(heap.alignment > 0 && (heap.alignment & (heap.alignment - 1)) == 0,
                 "heap_info {}: alignment {} is no power of two", h, heap.alignment);
    trial.expect(heap.pool_id[0] != 0 || heap.pool_id[1] != 0, "heap_info {}: pool_id is 0: no pool has that id", h);
    trial.expect(heap.size > 0, "heap_info {}: size is 0", h);
    trial.expect(heap.max_alloc > 0 && heap.max_alloc <= heap.size, "heap_info {}: max_alloc {} of a heap of {} bytes",
                 h, heap.max_alloc, heap.size);
    uint64_t budget = UINT64_MAX;
    must(trial, "heap_budget", device.layer().heap_budget(device.handle(), h, &budget));
    trial.expect(budget <= heap.size, "heap_budget {}: {} bytes are available of {}", h, budget, heap.size);
    if (device.layer().table().edge != nullptr) {
      brim_edge edge{};
      must(trial, "edge", device.layer().edge(device.handle(), heap.pool_id, &edge));
      trial.expect(std::max(edge.coherent, edge.noncoherent) == BRIM_EDGE_NATIVE,
                   "edge: the device's own pool of heap {} is not NATIVE for any use (coherent {}, noncoherent {})", h,
                   edge.coherent, edge.noncoherent);
    }
  }
  brim_device_info again{};
  must(trial, "device_info", device.layer().device_info(device.handle(), &again));
  trial.expect(again.flags == info.flags && again.n_heaps == info.n_heaps && view(again.name) == view(info.name),
               "device_info answers differently the second time");
}

// An answer into a struct that ends after `bytes`.
template <class T, class F>
void short_answer(Trial& trial, const char* entry, uint32_t bytes, const T& full, F&& fn) {
  os::set_about(fmt::format("an answer's struct of {} bytes", bytes));
  const Fenced answer(bytes, 8);
  std::memset(answer.data(), 0xa5, bytes);
  std::memcpy(answer.data(), &bytes, sizeof(bytes));
  must(trial, entry, call(trial, entry, [&](brim_error* error) { return fn(answer.as<T>(), error); }));
  trial.expect(!answer.broken(), "{}: bytes behind an older host's {} were written", entry, bytes);
  uint32_t size = 0;
  std::memcpy(&size, answer.data(), sizeof(size));
  trial.expect(size == bytes, "{}: struct_size was changed from {} to {}", entry, bytes, size);
  trial.expect(std::memcmp(answer.data() + 4, reinterpret_cast<const std::byte*>(&full) + 4, bytes - 4) == 0,
               "{}: an older host's shorter struct gets other values than a full one", entry);
  os::set_about("");
}

void short_answers(Trial& trial) {
  Device device(trial);
  const brim_backend& t = device.layer().table();
  short_answer(trial, "device_info", BRIM_SIZE_THROUGH(brim_device_info, uuid), device.info(),
               [&](brim_device_info* o, brim_error* e) { return t.device_info(device.handle(), o, e); });
  short_answer(trial, "heap_info", BRIM_SIZE_THROUGH(brim_heap_info, alignment), device.heap_info(),
               [&](brim_heap_info* o, brim_error* e) { return t.heap_info(device.handle(), device.heap(), o, e); });
  const Sample sample = best_sample(device);
  const Image image(sample.net, Strides{});
  brim_support support{};
  must(trial, "support", device.layer().support(device.handle(), image.graph(), 0, BRIM_NUMERICS_STRICT, &support));
  short_answer(trial, "support", BRIM_SIZE_THROUGH(brim_support, level), support, [&](brim_support* o, brim_error* e) {
    return t.support(device.handle(), image.graph(), 0, BRIM_NUMERICS_STRICT, o, e);
  });
  if (t.state_layout != nullptr && sample.has_kv) {
    const brim_state_desc desc = kv_state(2, 16, 16);
    brim_state_layout layout{};
    must(trial, "state_layout", device.layer().state_layout(device.handle(), desc, BRIM_DTYPE_F32, &layout));
    short_answer(trial, "state_layout", BRIM_SIZE_THROUGH(brim_state_layout, block_bytes), layout,
                 [&](brim_state_layout* o, brim_error* e) {
                   return t.state_layout(device.handle(), &desc, BRIM_DTYPE_F32, o, e);
                 });
  }
}

void short_errors(Trial& trial) {
  Device device(trial);
  for (const uint32_t bytes : {8u, 16u, 48u, 64u, static_cast<uint32_t>(offsetof(brim_error, message)) + 5, 96u, 304u,
                               static_cast<uint32_t>(sizeof(brim_error)), 800u}) {
    device.layer().set_error_bytes(bytes);
    os::set_about(fmt::format("a brim_error of {} bytes", bytes));
    brim_heap_info heap{};
    const Answer answer = device.layer().heap_info(device.handle(), 4711, &heap);
    trial.expect(!answer.ok(), "heap_info: heap 4711 does not exist, and its description was given");
    brim_buffer* buffer = nullptr;
    const Answer refused = device.layer().buffer_alloc(device.handle(), device.heap(), UINT64_MAX / 2, &buffer);
    trial.expect(!refused.ok(), "buffer_alloc: 2^63 bytes were given");
  }
  os::set_about("");
}

void no_errors(Trial& trial) {
  Device device(trial);
  device.layer().set_error_bytes(0);
  brim_heap_info heap{};
  device.layer().heap_info(device.handle(), 4711, &heap);
  brim_buffer* buffer = nullptr;
  device.layer().buffer_alloc(device.handle(), device.heap(), UINT64_MAX / 2, &buffer);
  brim_device* none = nullptr;
  if (device.layer().device_open(4711, &none).ok() && none != nullptr) device.layer().device_close(none);
  brim_fence* fence = nullptr;
  must(trial, "fence_create with a NULL error", device.layer().fence_create(device.handle(), 0, &fence));
  device.layer().fence_wait(fence, 5, 0);
  device.layer().fence_destroy(fence);
  const brim_state_desc desc = kv_state(2, 16, 16);
  brim_state_layout layout{};
  if (device.layer().table().state_layout != nullptr) device.layer().state_layout(device.handle(), desc, 4711, &layout);
  device.layer().set_error_bytes(sizeof(brim_error));
}

void ordinals(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  const auto refused = [&](const char* what, const Answer& answer) {
    if (!trial.expect(!answer.ok(), "{}: expected an error, found ok", what)) return;
    trial.expect(answer.status == BRIM_INVALID_ARGUMENT || answer.status == BRIM_NOT_FOUND,
                 "{}: expected invalid argument or not found, found {}", what, answer.text());
  };
  uint32_t n = 0;
  must(trial, "device_count", layer.device_count(&n, nullptr));
  for (const uint32_t i : {n, n + 1, UINT32_MAX}) {
    brim_device* none = nullptr;
    const Answer answer = layer.device_open(i, &none);
    refused("device_open behind the last device", answer);
    if (answer.ok()) layer.device_close(none);
  }
  for (const uint32_t h : {device.info().n_heaps, UINT32_MAX}) {
    brim_heap_info heap{};
    refused("heap_info behind the last heap", layer.heap_info(device.handle(), h, &heap));
    uint64_t budget = 0;
    refused("heap_budget behind the last heap", layer.heap_budget(device.handle(), h, &budget));
    brim_buffer* buffer = nullptr;
    const Answer answer = layer.buffer_alloc(device.handle(), h, 64, &buffer);
    refused("buffer_alloc behind the last heap", answer);
    if (answer.ok()) layer.buffer_free(buffer);
  }
}

bool same_support(const brim_support& a, const brim_support& b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

void pure_planning(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  Device other(device);
  const Sample sample = best_sample(device);
  const Image image(sample.net, Strides{}), copy(sample.net, Strides::exact());
  for (uint32_t node = 0; node < sample.net.nodes.size(); ++node) {
    brim_support a{}, b{}, c{};
    must(trial, "support", layer.support(device.handle(), image.graph(), node, BRIM_NUMERICS_STRICT, &a));
    must(trial, "support", layer.support(device.handle(), image.graph(), node, BRIM_NUMERICS_STRICT, &b));
    must(trial, "support", layer.support(other.handle(), copy.graph(), node, BRIM_NUMERICS_STRICT, &c));
    trial.expect(same_support(a, b), "support: node {} is answered {} and then {}", node, a.level, b.level);
    trial.expect(
        same_support(a, c),
        "support: a graph's values and nodes are misread where they lie further apart than they are large: node {} is "
        "answered {} there, {} elsewhere",
        node, a.level, c.level);
    trial.expect(a.level <= BRIM_SUPPORT_YES, "support: level {} is none of BRIM_SUPPORT_*", a.level);
    trial.expect((a.in_place >> sample.net.nodes[node].in.size()) == 0,
                 "support: in_place {:#x} of node {} names inputs that it has not", a.in_place, node);
    trial.expect(std::isfinite(a.cost) && a.cost >= 0, "support: cost {} of node {}", a.cost, node);
  }
  Program program(device, sample.net, {});
  for (int i = 0; i < 3; ++i) {
    brim_program_cost cost{};
    must(trial, "program_measure", program.measure(&cost));
    trial.expect(cost.workspace == program.cost().workspace && cost.persistent == program.cost().persistent &&
                     cost.build_peak == program.cost().build_peak,
                 "program_measure answers workspace {}, persistent {}, build peak {} and then {}, {}, {}",
                 program.cost().workspace, program.cost().persistent, program.cost().build_peak, cost.workspace,
                 cost.persistent, cost.build_peak);
  }
  const uint64_t before = device.host().live_blocks();
  brim_program_cost cost{};
  must(trial, "program_measure", program.measure(&cost));
  trial.expect(device.host().live_blocks() == before, "program_measure leaves {} blocks of host memory behind",
               device.host().live_blocks() - before);
}

// One step of the best sample under given strides; the bits of its result.
std::vector<uint32_t> bits_under(Trial& trial, const Strides& strides, uint32_t* width, bool clean_memory = true) {
  Device device(trial);
  std::mt19937_64 seeded(trial.target().seed);
  trial.random() = seeded;
  const Sample sample = best_sample(device);
  *width = sample.width;
  Setup setup;
  setup.strides = strides;
  Program program(device, sample.net, setup);
  if (clean_memory) program.soil(std::byte{0xff});
  const StepMaker maker(program, sample, program.store().block_tokens, setup.n_blocks);
  const Step step = maker.one(3, 3);
  maker.set_input(program, step, 1, 0);
  must(trial, "program_run", program.run(step));
  program.inspect("program_run");
  return result_bits(program, sample, step);
}

void same_under(Trial& trial, const Strides& strides, const char* what) {
  uint32_t width = 1;
  const std::vector<uint32_t> exact = bits_under(trial, Strides::exact(), &width);
  os::set_about(what);
  const std::vector<uint32_t> other = bits_under(trial, strides, &width);
  os::set_about("");
  const std::string difference = first_difference(exact, other, width);
  trial.expect(difference.empty(), "{} change the result: {}", what, difference);
}

// Each array with a stride of its own, then all.
void padded_strides(Trial& trial) {
  const Strides wide;
  Strides s = Strides::exact();
  s.value = wide.value, s.node = wide.node;
  same_under(trial, s, "values and nodes that lie further apart than they are large");
  s = Strides::exact();
  s.binding = wide.binding;
  same_under(trial, s, "bindings that lie further apart than they are large");
  s = Strides::exact();
  s.state = wide.state, s.state_desc = wide.state_desc;
  same_under(trial, s, "states that lie further apart than they are large");
  same_under(trial, wide, "structs and arrays of a newer host");
}

// Two KV groups, whose layouts lie in an array of a stride that the host chooses.
void group_strides(Trial& trial) {
  Device device(trial);
  const Sample sample = two_groups();
  std::string why;
  if (!supported(device, sample.net, BRIM_NUMERICS_STRICT, &why)) trial.skip("two KV groups cannot be used: {}", why);
  std::vector<std::vector<uint32_t>> bits;
  for (const uint32_t wider : {0u, 16u}) {
    Setup setup;
    setup.strides = Strides::exact();
    setup.strides.group += wider;
    os::set_about(fmt::format("KV groups that lie {} bytes apart", setup.strides.group));
    Program program(device, sample.net, setup);
    const StepMaker maker(program, sample, program.store().block_tokens, setup.n_blocks);
    const Step step = maker.one(4, 4);
    maker.set_input(program, step, 1, 0);
    must(trial, "program_run", program.run(step));
    program.inspect("program_run");
    bits.push_back(result_bits(program, sample, step));
    const std::string difference = first_difference(bits.front(), bits.back(), sample.width);
    trial.expect(difference.empty(), "the stride of brim_step_layout.groups changes the result: {}", difference);
  }
  os::set_about("");
}

void grown_attributes(Trial& trial) {
  Strides s = Strides::exact();
  s.attr = 64;
  same_under(trial, s, "attributes with an unknown tail of zeros");
}
void short_attributes(Trial& trial) {
  // An older host's norm has no weight_offset, its reserved field neither: both read as zero.
  Device device(trial);
  Net net;
  const brim_value x = net.embedding(32), y = net.temp({tokens(), fixed(32)});
  brim_norm_attr attr{};
  attr.eps = 1e-5f;
  net.node(BRIM_OP_RMS_NORM, {x, net.weight({fixed(32)}, random_floats(32, trial.random()))}, {y}, attr);
  if (!supported(device, net, BRIM_NUMERICS_STRICT)) trial.skip("RMS_NORM is not supported");
  std::vector<std::vector<float>> results;
  const std::vector<float> input = random_floats(128, trial.random());
  for (const int32_t cut : {0, -8}) {
    Setup setup;
    setup.strides = Strides::exact();
    setup.strides.attr = cut;
    Program program(device, net, setup);
    program.set(x, input);
    Step step;
    step.sequences = {Rows{4, 4, {}}};
    must(trial, "program_run", program.run(step));
    results.push_back(program.floats(y, 128));
  }
  trial.expect(
      results[0] == results[1],
      "an attribute that ends before weight_offset computes another norm: what is missing has to read as zero");
}

void short_bindings(Trial& trial) {
  {
    Device device(trial);
    const Program program(device, best_sample(device).net, {});
    if (!program.has_plain_bindings())
      trial.skip("the device wants weights in pieces or packed, which need all fields");
  }
  Strides s = Strides::exact();
  s.binding = BRIM_SIZE_THROUGH(brim_binding, bytes);
  same_under(trial, s, "bindings that end with `bytes`");
}
void short_nodes(Trial& trial) {
  Strides s = Strides::exact();
  s.node = BRIM_SIZE_THROUGH(brim_node, layer) + 4;
  same_under(trial, s, "nodes that end with `expands_to`");
}
void short_values(Trial& trial) {
  Strides s = Strides::exact();
  s.value = BRIM_SIZE_THROUGH(brim_value_desc, stride);
  same_under(trial, s, "values that end with `stride`");
}
void short_states(Trial& trial) {
  Strides s = Strides::exact();
  s.state_desc = BRIM_SIZE_THROUGH(brim_state_desc, shares_with);
  same_under(trial, s, "state descriptions that end with `shares_with`");
}
void short_info(Trial& trial) {
  Device device(trial);
  trial.random().seed(trial.target().seed);
  Sample sample = feed_forward(trial.random());
  if (!supported(device, sample.net, BRIM_NUMERICS_STRICT)) sample = single_op(trial.random());
  if (!supported(device, sample.net, BRIM_NUMERICS_STRICT)) trial.skip("no program without states can be built");
  std::vector<std::vector<uint32_t>> bits;
  for (const bool cut : {false, true}) {
    Setup setup;
    setup.strides = Strides::exact();
    if (cut) {
      setup.strides.info = BRIM_SIZE_THROUGH(brim_program_info, binding_stride);
      setup.strides.run = BRIM_SIZE_THROUGH(brim_run, counts);
      setup.strides.bucket = BRIM_SIZE_THROUGH(brim_bucket, n_kv);
      setup.strides.graph = BRIM_SIZE_THROUGH(brim_graph, node_stride);
    }
    if (cut) os::set_about("brim_program_info, brim_graph, brim_bucket and brim_run of an older host");
    Program program(device, sample.net, setup);
    const StepMaker maker(program, sample, 1, setup.n_blocks);
    const Step step = maker.one(2, 2);
    maker.set_input(program, step, 1, 0);
    must(trial, "program_run with shorter structs", program.run(step));
    bits.push_back(result_bits(program, sample, step));
  }
  os::set_about("");
  trial.expect(bits[0] == bits[1], "shorter brim_program_info, brim_graph, brim_bucket and brim_run change the result");
}

void described(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  if (layer.table().device_describe == nullptr) trial.skip("the plugin describes no devices");
  brim_device* absent = nullptr;
  const Answer unknown = layer.device_describe({{"no_such_key", "1"}}, &absent);
  if (trial.expect(!unknown.ok(), "device_describe: the unknown key \"no_such_key\" was taken")) {
    trial.expect(std::string_view(unknown.error.message).find("no_such_key") != std::string_view::npos,
                 "device_describe: the message does not name the unknown key: {}", unknown.text());
  } else {
    layer.device_close(absent);
  }
  const Answer answer = layer.device_describe({{"name", "a described device"}, {"memory", "1073741824"}}, &absent);
  if (!answer.ok()) trial.skip("device_describe wants other keys than name and memory: {}", answer.text());
  brim_device_info info{};
  must(trial, "device_info of a described device", layer.device_info(absent, &info));
  trial.expect((info.flags & BRIM_DEVICE_LIVE) == 0, "a described device says that it is LIVE");
  const auto precondition = [&](const char* what, const Answer& a) {
    trial.expect(a.status == BRIM_FAILED_PRECONDITION,
                 "{} on a described device: expected failed precondition, found {}", what, a.text());
  };
  brim_buffer* buffer = nullptr;
  precondition("buffer_alloc", layer.buffer_alloc(absent, 0, 64, &buffer));
  brim_queue* queue = nullptr;
  precondition("queue_create", layer.queue_create(absent, &queue));
  const Sample sample = best_sample(device);
  const Image image(sample.net, Strides{});
  for (uint32_t node = 0; node < sample.net.nodes.size(); ++node) {
    brim_support a{}, b{};
    must(trial, "support", layer.support(device.handle(), image.graph(), node, BRIM_NUMERICS_STRICT, &a));
    must(trial, "support of a described device", layer.support(absent, image.graph(), node, BRIM_NUMERICS_STRICT, &b));
    trial.expect(a.level == b.level, "support of node {} is {} on the live device, {} on a described one", node,
                 a.level, b.level);
  }
  layer.device_close(absent);
}

void unknown_numbers(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  const Sample sample = best_sample(device);
  const Image image(sample.net, Strides{});
  brim_support support{};
  const Answer numerics = layer.support(device.handle(), image.graph(), 0, 4711, &support);
  trial.expect(!numerics.ok() || support.level == BRIM_SUPPORT_NONE,
               "support: the unknown numerics 4711 are answered level {}", support.level);
  support = {};
  const Answer node = layer.support(device.handle(), image.graph(), static_cast<uint32_t>(sample.net.nodes.size()),
                                    BRIM_NUMERICS_STRICT, &support);
  trial.expect(!node.ok() || support.level == BRIM_SUPPORT_NONE,
               "support: a node behind the graph's last is answered level {}", support.level);
  if (layer.table().state_layout != nullptr) {
    brim_state_layout layout{};
    const Answer dtype = layer.state_layout(device.handle(), kv_state(2, 16, 16), 4711, &layout);
    trial.expect(dtype.status == BRIM_UNSUPPORTED, "state_layout for dtype 4711: expected unsupported, found {}",
                 dtype.text());
    brim_state_desc strange = kv_state(2, 16, 16);
    strange.kind = 4711;
    const Answer kind = layer.state_layout(device.handle(), strange, BRIM_DTYPE_F32, &layout);
    trial.expect(kind.status == BRIM_UNSUPPORTED,
                 "state_layout for a state of kind 4711: expected unsupported, found {}", kind.text());
  }
  // A binding in a layout that nobody gave an id.
  Setup setup;
  Answer answer;
  Net net = sample.net;
  net.nodes[0].rev = 4711;
  Program program(device, net, setup, nullptr, &answer);
  trial.expect(!answer.ok(), "a program with revision 4711 of op {} was built", net.nodes[0].op);
}

void thread_roles(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  Setup setup;
  Program program(device, sample.net, setup);
  const StepMaker maker(program, sample, program.store().block_tokens, setup.n_blocks);
  const Step step = maker.one(3, 3);
  maker.set_input(program, step, 1, 0);
  must(trial, "program_run", program.run(step));
  const std::vector<uint32_t> alone = result_bits(program, sample, step);
  // The same queue from four threads, one at a time.
  for (int t = 0; t < 4; ++t) {
    program.soil(std::byte{0xff});
    Answer answer;
    std::thread other([&] {
      try {
        answer = program.run(step);
      } catch (const Stopped&) {
      }
    });
    other.join();
    must(trial, "program_run on another thread than the program's maker", answer);
    const std::string difference = first_difference(alone, result_bits(program, sample, step), sample.width);
    trial.expect(difference.empty(), "program_run on another thread gives other bits: {}", difference);
  }
  program.inspect("program_run from several threads");
}

void life(Trial& trial) {
  // Things are made and given back in every order that the contract allows.
  Device device(trial);
  Layer& layer = device.layer();
  const uint64_t before = device.host().live_blocks();
  layer.buffer_free(nullptr);
  os::Holdings held;
  for (int round = 0; round < 20; ++round) {
    brim_device* handle = nullptr;
    must(trial, "device_open a second time", layer.device_open(0, &handle));
    trial.expect(handle != device.handle(), "device_open twice gives one handle; closing one would close both");
    brim_queue* queue = nullptr;
    brim_fence* fence = nullptr;
    brim_buffer *one = nullptr, *two = nullptr;
    if (round == 1) held = os::holdings();  // behind what is opened once and kept
    uint64_t budget = 0;
    must(trial, "heap_budget", layer.heap_budget(handle, device.heap(), &budget));
    must(trial, "buffer_alloc", layer.buffer_alloc(handle, device.heap(), 1000, &one));
    must(trial, "queue_create", layer.queue_create(handle, &queue));
    must(trial, "fence_create", layer.fence_create(handle, 7, &fence));
    must(trial, "buffer_alloc", layer.buffer_alloc(handle, device.heap(), 1, &two));
    must(trial, "copy", layer.copy(queue, one, 0, two, 0, 1));
    must(trial, "queue_signal", layer.queue_signal(queue, fence, 8));
    must(trial, "fence_wait", layer.fence_wait(fence, 8, UINT64_MAX));
    if (round % 2) {
      layer.queue_destroy(queue);
      layer.buffer_free(one);
      layer.fence_destroy(fence);
      layer.buffer_free(two);
    } else {
      layer.fence_destroy(fence);
      layer.buffer_free(two);
      layer.buffer_free(one);
      layer.queue_destroy(queue);
    }
    layer.device_close(handle);
    if (!trial.expect(device.host().live_blocks() == before,
                      "leak: {} blocks of host memory are left after device_close",
                      device.host().live_blocks() - before)) {
      break;
    }
  }
  if (!held.known) return;
  const os::Holdings after = os::holdings();
  trial.expect(after.files.size() == held.files.size(), "leak: {} open files more after 19 devices came and went",
               after.files.size() - held.files.size());
  trial.expect(after.threads == held.threads, "leak: {} threads more after 19 devices came and went",
               after.threads - held.threads);
}

void program_leaks(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  uint64_t before = 0;
  for (int round = 0; round < 10; ++round) {
    if (round == 1) before = device.host().live_blocks();
    Program program(device, sample.net, {});
    const StepMaker maker(program, sample, program.store().block_tokens, 8);
    const Step step = maker.one(1, 1);
    maker.set_input(program, step, 1, 0);
    must(trial, "program_run", program.run(step));
  }
  trial.expect(device.host().live_blocks() == before,
               "leak: {} blocks more of host memory after 10 programs were made and destroyed",
               device.host().live_blocks() - before);
}

}  // namespace

void add_contract_tests(std::vector<Test>& tests) {
  tests.insert(
      tests.end(),
      {{"contract.caps", "caps lists defined ops, revisions and bits, each op once", kBackends, 20, caps},
       {"contract.device-info", "What a device says of itself and its heaps makes sense and stays", kBackends, 20,
        device_info},
       {"contract.short-answers", "Nothing is written behind an older host's shorter structs", kBackends, 20,
        short_answers},
       {"contract.short-errors", "brim_error of any size is filled within its bounds, with code and words", kBackends,
        20, short_errors},
       {"contract.null-errors", "A host that passes no brim_error is served", kBackends, 20, no_errors},
       {"contract.ordinals", "Devices and heaps that are not there are refused", kBackends, 20, ordinals},
       {"contract.pure-planning", "support and program_measure answer the same to the same question", kBackends, 30,
        pure_planning},
       {"contract.stride-padding", "Strides larger than the elements change nothing", kBackends, 30, padded_strides},
       {"contract.group-strides", "The layouts of KV groups are found by their stride", kBackends, 30, group_strides},
       {"contract.short-bindings", "Bindings without the fields behind `bytes` read as zero there", kBackends, 30,
        short_bindings},
       {"contract.short-nodes", "Nodes without their last fields read as zero there", kBackends, 30, short_nodes},
       {"contract.short-values", "Values without the fields behind `stride` read as zero there", kBackends, 30,
        short_values},
       {"contract.short-states", "State descriptions without `elements` read as zero there", kBackends, 30,
        short_states},
       {"contract.short-info", "Program, graph, bucket and run of an older host read as zero behind their ends",
        kBackends, 30, short_info},
       {"contract.grown-attributes", "Attributes with a longer tail of zeros change nothing", kBackends, 30,
        grown_attributes},
       {"contract.short-attributes", "Attributes that end early read as zero there", kBackends, 30, short_attributes},
       {"contract.unknown-numbers", "Unknown numerics, kinds, types and revisions are refused", kBackends, 30,
        unknown_numbers},
       {"contract.described", "A described device plans and does nothing else", kBackends, 30, described},
       {"contract.thread-roles", "Programs run on any thread, a queue's calls one at a time", kBackends, 30,
        thread_roles},
       {"contract.life", "Handles, queues, fences and buffers come and go in any order, leaving nothing", kBackends, 30,
        life},
       {"contract.program-leaks", "Programs leave nothing behind", kBackends, 30, program_leaks}});
}

}  // namespace check
