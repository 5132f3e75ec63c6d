#include "bench_of_one.hpp"

#include <algorithm>
#include <base/error.hpp>
#include <cstring>
#include <limits>

namespace op_suite {
namespace {

using brim::empty_error;

class Bench {
 public:
  Bench(const brim::loader::Backend& backend, brim_device* device) : api_(backend.api), device_(device) {
    check(api_.queue_create(device_, nullptr, &queue_, &error_), "queue_create");
    check(api_.fence_create(device_, 0, &fence_, &error_), "fence_create");
    for (uint32_t h = 0;; ++h) {
      brim_heap_info info{};
      info.struct_size = sizeof(info);
      check(api_.heap_info(device_, h, &info, &error_), "heap_info");
      if (info.flags & BRIM_HEAP_HOST_VISIBLE) {
        host_heap_ = h;
        break;
      }
    }
  }
  ~Bench() {
    if (program_) api_.program_destroy(program_);
    for (brim_buffer* b : buffers_) api_.buffer_free(b);
    if (queue_) api_.queue_destroy(queue_);
    if (fence_) api_.fence_destroy(fence_);
  }

  void check(brim_status status, const char* doing) {
    if (status != BRIM_OK) throw std::string(doing) + ": " + brim_status_name(status) + ": " + error_.message;
  }

  brim_buffer* buffer(uint64_t bytes, const void* from = nullptr) {
    brim_buffer* b = nullptr;
    check(api_.buffer_alloc(device_, host_heap_, std::max<uint64_t>(bytes, 64), &b, &error_), "buffer_alloc");
    buffers_.push_back(b);
    void* at = nullptr;
    check(api_.buffer_map(b, &at, &error_), "buffer_map");
    std::memset(at, 0xff, std::max<uint64_t>(bytes, 64));
    if (from) std::memcpy(at, from, bytes);
    return b;
  }
  const std::byte* at(brim_buffer* b) {
    void* p = nullptr;
    check(api_.buffer_map(b, &p, &error_), "buffer_map");
    return static_cast<const std::byte*>(p);
  }

  const brim_backend& api_;
  brim_device* device_;
  brim_queue* queue_ = nullptr;
  brim_fence* fence_ = nullptr;
  brim_program* program_ = nullptr;
  uint32_t host_heap_ = 0;
  std::vector<brim_buffer*> buffers_;
  brim_error error_ = empty_error();
};

void row_major(brim_value_desc& v) {
  uint32_t stride = 1;
  for (uint32_t i = v.rank; i-- > 0;) {
    v.stride[i] = {BRIM_SYM_NONE, stride};
    stride *= v.dim[i].k;
  }
}

brim_value_desc describe(const Tensor& t, uint32_t kind) {
  brim_value_desc v{};
  v.kind = kind;
  v.dtype = t.dtype;
  v.rank = static_cast<uint32_t>(t.dims.size());
  for (uint32_t i = 0; i < v.rank; ++i) v.dim[i] = {BRIM_SYM_NONE, t.dims[i]};
  v.n_uses = 1;
  v.producer = BRIM_NO_NODE;
  row_major(v);
  return v;
}

// The tensor's rows `row_stride` elements apart.
std::vector<std::byte> spread(const Tensor& t) {
  const uint64_t row = t.dims.back(), rows = t.exact.size() / row, size = 4;
  std::vector<std::byte> bytes(rows * t.row_stride * size, std::byte{0xff});
  for (uint64_t r = 0; r < rows; ++r)
    std::memcpy(&bytes[r * t.row_stride * size], &t.bytes[r * row * size], row * size);
  return bytes;
}

Outcome run_checked(Bench& bench, const brim::loader::Backend& backend, uint32_t numerics, const Case& c) {
  Outcome outcome;
  const brim_backend& api = backend.api;
  std::vector<brim_value_desc> values(1);
  std::vector<brim_value> in, out;
  std::vector<std::vector<std::byte>> contents(1);
  const auto add = [&](brim_value_desc v, std::vector<std::byte> bytes) {
    values.push_back(v);
    contents.push_back(std::move(bytes));
    return static_cast<brim_value>(values.size() - 1);
  };
  for (const Tensor& t : c.in) {
    if (t.dims.empty()) {
      in.push_back(0);
    } else if (t.row_stride) {
      Tensor base = t;
      base.dims = {static_cast<uint32_t>(t.exact.size() / t.dims.back()), t.row_stride};
      const brim_value b = add(describe(base, BRIM_VALUE_WEIGHT), spread(t));
      brim_value_desc v = describe(t, BRIM_VALUE_VIEW);
      v.base = b;
      uint32_t stride = t.row_stride;
      for (uint32_t i = v.rank - 1; i-- > 0;) {
        v.stride[i] = {BRIM_SYM_NONE, stride};
        stride *= v.dim[i].k;
      }
      in.push_back(add(v, {}));
    } else {
      in.push_back(add(describe(t, BRIM_VALUE_WEIGHT), t.bytes));
    }
  }
  for (const Tensor& t : c.out) out.push_back(add(describe(t, BRIM_VALUE_TEMP), {}));

  brim_node node{};
  node.op = c.op;
  node.op_rev = 1;
  node.must = c.must;
  node.n_in = static_cast<uint32_t>(in.size());
  node.in = in.data();
  node.n_out = static_cast<uint32_t>(out.size());
  node.out = out.data();
  node.attr = c.attr.empty() ? nullptr : c.attr.data();
  node.layer = BRIM_NO_LAYER;
  const uint32_t index = 0;
  for (const brim_value v : out) values[v].producer = index;
  brim_graph graph{};
  graph.struct_size = sizeof(graph);
  graph.phase = BRIM_PHASE_PREFILL;
  graph.values = values.data();
  graph.n_values = static_cast<uint32_t>(values.size());
  graph.value_stride = sizeof(brim_value_desc);
  graph.nodes = &node;
  graph.n_nodes = 1;
  graph.node_stride = sizeof(brim_node);

  const auto cap = std::find_if(backend.caps.begin(), backend.caps.end(), [&](const auto& x) { return x.op == c.op; });
  if (cap == backend.caps.end() || (c.must & ~cap->features)) {
    outcome.unsupported = "not in caps";
    return outcome;
  }
  brim_support support{};
  support.struct_size = sizeof(support);
  bench.check(api.support(bench.device_, &graph, 0, numerics, &support, &bench.error_), "support");
  if (support.level != BRIM_SUPPORT_YES) {
    outcome.unsupported = support.level == BRIM_SUPPORT_NONE ? "support: none" : "support: if contiguous";
    return outcome;
  }

  brim_bucket bucket{sizeof(brim_bucket), 1, 1, 1, 1, 1};
  brim_step_layout step{};
  step.struct_size = sizeof(step);
  step.token = 64, step.position = 128, step.sequence = 192, step.q_begin = 256, step.state_read = 320;
  step.state_write = 384, step.output_row = 448, step.adapter = 512, step.next_token = 576, step.bytes = 640;
  std::vector<std::byte> block(step.bytes);
  brim_step_header counts{};
  counts.struct_size = sizeof(counts);
  counts.n_tokens = counts.n_seqs = counts.n_outputs = 1;
  std::memcpy(block.data(), &counts, sizeof(counts));

  std::vector<brim_binding> bindings;
  for (brim_value v = 1; v < values.size(); ++v) {
    if (values[v].kind == BRIM_VALUE_VIEW) continue;
    uint64_t bytes = contents[v].size();
    for (size_t i = 0; i < out.size(); ++i) {
      if (out[i] == v) bytes = c.out[i].exact.size() * 4;
    }
    bindings.push_back({sizeof(brim_binding), v, nullptr, 0, bytes, 0, 0, 0});
  }
  brim_program_info info{};
  info.struct_size = sizeof(info);
  info.numerics = numerics;
  info.graph = &graph;
  info.nodes = &index;
  info.n_nodes = 1;
  info.bucket = &bucket;
  info.step = &step;
  info.bindings = bindings.data();
  info.n_bindings = static_cast<uint32_t>(bindings.size());
  info.binding_stride = sizeof(brim_binding);
  info.state_stride = sizeof(brim_program_state);
  info.state_desc_stride = sizeof(brim_state_desc);
  brim_program_cost cost{};
  cost.struct_size = sizeof(cost);
  bench.check(api.program_measure(bench.device_, &info, &cost, &bench.error_), "program_measure");
  for (brim_binding& b : bindings) {
    b.buffer = bench.buffer(b.bytes, contents[b.value].empty() ? nullptr : contents[b.value].data());
  }
  bindings.push_back({sizeof(brim_binding), 0, bench.buffer(cost.workspace), 0, cost.workspace, 0, 0, 0});
  info.bindings = bindings.data();
  info.n_bindings = static_cast<uint32_t>(bindings.size());
  bench.check(api.program_create(bench.device_, &info, &bench.program_, &bench.error_), "program_create");
  brim_run run{};
  run.struct_size = sizeof(run);
  run.step_block = bench.buffer(block.size(), block.data());
  run.counts = &counts;
  bench.check(api.program_run(bench.program_, bench.queue_, &run, &bench.error_), "program_run");
  bench.check(api.queue_signal(bench.queue_, bench.fence_, 1, &bench.error_), "queue_signal");
  bench.check(api.fence_wait(bench.fence_, 1, UINT64_MAX, &bench.error_), "fence_wait");

  for (size_t i = 0; i < out.size(); ++i) {
    const auto b = std::find_if(bindings.begin(), bindings.end(), [&](const auto& x) { return x.value == out[i]; });
    const std::byte* bytes = bench.at(b->buffer);
    std::vector<double>& got = outcome.outputs.emplace_back(c.out[i].exact.size());
    for (size_t k = 0; k < got.size(); ++k) {
      if (c.out[i].dtype == BRIM_DTYPE_I32) {
        int32_t v;
        std::memcpy(&v, bytes + 4 * k, 4);
        got[k] = v;
      } else {
        float v;
        std::memcpy(&v, bytes + 4 * k, 4);
        got[k] = static_cast<double>(v);
      }
    }
  }
  return outcome;
}

}  // namespace

Outcome run_case(const brim::loader::Backend& backend, brim_device* device, uint32_t numerics, const Case& c) {
  try {
    Bench bench(backend, device);
    return run_checked(bench, backend, numerics, c);
  } catch (const std::string& what) {
    Outcome outcome;
    outcome.error = what;
    return outcome;
  }
}

}  // namespace op_suite
