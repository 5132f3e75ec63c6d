#include "layer.hpp"

#include <algorithm>

namespace check {
namespace {

constexpr std::byte kPoison{0xa5};

// The required slots and those of states, by name.
struct Slot {
  const char* name;
  size_t offset;
};
#define BRIM_CHECK_SLOT(name) \
  Slot { #name, offsetof(brim_backend, name) }
constexpr Slot kRequired[] = {
    BRIM_CHECK_SLOT(device_count),    BRIM_CHECK_SLOT(device_open),     BRIM_CHECK_SLOT(device_close),
    BRIM_CHECK_SLOT(device_info),     BRIM_CHECK_SLOT(heap_info),       BRIM_CHECK_SLOT(heap_budget),
    BRIM_CHECK_SLOT(buffer_alloc),    BRIM_CHECK_SLOT(buffer_map),      BRIM_CHECK_SLOT(buffer_free),
    BRIM_CHECK_SLOT(queue_create),    BRIM_CHECK_SLOT(queue_destroy),   BRIM_CHECK_SLOT(copy),
    BRIM_CHECK_SLOT(fence_create),    BRIM_CHECK_SLOT(fence_destroy),   BRIM_CHECK_SLOT(queue_signal),
    BRIM_CHECK_SLOT(queue_wait),      BRIM_CHECK_SLOT(fence_wait),      BRIM_CHECK_SLOT(fence_signal),
    BRIM_CHECK_SLOT(support),         BRIM_CHECK_SLOT(program_measure), BRIM_CHECK_SLOT(program_create),
    BRIM_CHECK_SLOT(program_destroy), BRIM_CHECK_SLOT(program_run)};
constexpr Slot kOfStates[] = {BRIM_CHECK_SLOT(state_layout), BRIM_CHECK_SLOT(state_export),
                              BRIM_CHECK_SLOT(state_import)};
#undef BRIM_CHECK_SLOT

bool is_null(const brim_backend& table, const Slot& slot) {
  void (*function)() = nullptr;
  std::memcpy(&function, reinterpret_cast<const std::byte*>(&table) + slot.offset, sizeof(function));
  return function == nullptr;
}

bool touches_states(uint32_t op) {
  return op == BRIM_OP_KV_WRITE || op == BRIM_OP_ATTENTION || (op >= BRIM_OP_CAUSAL_CONV1D && op < BRIM_OP_TRI_SOLVE);
}

}  // namespace

Layer::Layer(Trial& trial, const Instance& instance) : trial_(trial), plugin_(instance.plugin()) {
  const auto* theirs = static_cast<const brim_backend*>(instance.interface(BRIM_BACKEND_INTERFACE));
  if (theirs == nullptr) {
    trial.fail("get_interface: a backend answers NULL for \"{}\"", BRIM_BACKEND_INTERFACE);
    trial.stop();
  }
  std::memcpy(static_cast<void*>(&table_), theirs, std::min<size_t>(theirs->struct_size, sizeof(table_)));
  for (const Slot& slot : kRequired) trial.expect(!is_null(table_, slot), "the required slot {} is NULL", slot.name);
  if (trial.expect(table_.n_caps == 0 || table_.caps != nullptr, "n_caps is {} and caps is NULL", table_.n_caps) &&
      trial.expect(table_.n_caps == 0 || table_.caps_stride >= sizeof(brim_op_caps),
                   "caps_stride is {}; an element has {} bytes", table_.caps_stride, sizeof(brim_op_caps))) {
    for (uint32_t i = 0; i < table_.n_caps; ++i) {
      caps_.push_back(*BRIM_ELEM(brim_op_caps, table_.caps, table_.caps_stride, i));
    }
  }
  const bool states = std::any_of(caps_.begin(), caps_.end(), [](const auto& c) { return touches_states(c.op); });
  for (const Slot& slot : kOfStates) {
    trial.expect(!states || !is_null(table_, slot), "the slot {} is NULL, and caps lists ops with states", slot.name);
  }
  if (!trial.clean()) trial.stop();
}

const brim_op_caps* Layer::caps_of(uint32_t op) const {
  const auto found = std::find_if(caps_.begin(), caps_.end(), [&](const auto& c) { return c.op == op; });
  return found == caps_.end() ? nullptr : &*found;
}

template <class T, class F>
Answer Layer::ask(const char* entry, T* out, F&& fn) {
  const auto bytes = static_cast<uint32_t>(static_cast<int32_t>(sizeof(T)) + growth_);
  const Fenced answer(bytes, 8);
  std::fill(answer.data(), answer.data() + bytes, kPoison);
  std::memcpy(answer.data(), &bytes, sizeof(bytes));
  const Answer result = make(entry, [&](brim_error* error) { return fn(answer.template as<T>(), error); });
  uint32_t size = 0;
  std::memcpy(&size, answer.data(), sizeof(size));
  trial_.expect(size == bytes, "{}: struct_size of the answer was changed from {} to {}", entry, bytes, size);
  const size_t own = std::min<size_t>(bytes, sizeof(T));
  const bool tail = std::all_of(answer.data() + own, answer.data() + bytes, [](std::byte b) { return b == kPoison; });
  trial_.expect(tail, "{}: bytes behind the answer's {} were written, which belong to a newer host", entry, own);
  trial_.expect(!answer.broken(), "{}: bytes behind the end of the caller's struct were written", entry);
  *out = {};
  if (result.ok()) {
    std::memcpy(static_cast<void*>(out), answer.data(), own);
    const uint32_t own_size = sizeof(T);
    std::memcpy(static_cast<void*>(out), &own_size, sizeof(own_size));
  }
  return result;
}

template <class T>
Answer Layer::made(const char* entry, Answer answer, T* const* object) {
  if (answer.ok() && *object == nullptr) {
    trial_.fail("{}: returned ok and no object", entry);
    trial_.stop();
  }
  return answer;
}

template <class Slot>
bool Layer::has(Slot slot, const char* entry, Answer* answer) {
  if (slot != nullptr) return true;
  answer->status = BRIM_UNSUPPORTED;
  fmt::format_to_n(answer->error.message, sizeof(answer->error.message) - 1, "the plugin leaves the slot {} NULL",
                   entry);
  return false;
}

Answer Layer::device_count(uint32_t* n, brim_str* why) {
  return make("device_count", [&](brim_error* e) { return table_.device_count(plugin_, n, why, e); });
}
Answer Layer::device_open(uint32_t i, brim_device** out) {
  *out = nullptr;
  return made("device_open", make("device_open", [&](brim_error* e) { return table_.device_open(plugin_, i, out, e); }),
              out);
}
Answer Layer::device_describe(const Settings& settings, brim_device** out) {
  *out = nullptr;
  Answer none;
  if (!has(table_.device_describe, "device_describe", &none)) return none;
  const SettingList list(settings, sizeof(brim_setting) + 16);
  return made("device_describe",
              make("device_describe",
                   [&](brim_error* e) {
                     return table_.device_describe(plugin_, list.data(), list.size(), list.stride(), out, e);
                   }),
              out);
}
void Layer::device_close(brim_device* device) {
  begin_call("device_close");
  table_.device_close(device);
  end_call();
}
Answer Layer::device_info(brim_device* device, brim_device_info* out) {
  return ask("device_info", out, [&](brim_device_info* o, brim_error* e) { return table_.device_info(device, o, e); });
}
Answer Layer::heap_info(brim_device* device, uint32_t heap, brim_heap_info* out) {
  return ask("heap_info", out, [&](brim_heap_info* o, brim_error* e) { return table_.heap_info(device, heap, o, e); });
}
Answer Layer::heap_budget(brim_device* device, uint32_t heap, uint64_t* available) {
  return make("heap_budget", [&](brim_error* e) { return table_.heap_budget(device, heap, available, e); });
}
Answer Layer::edge(brim_device* device, const uint64_t pool[2], brim_edge* out) {
  Answer none;
  if (!has(table_.edge, "edge", &none)) return none;
  return ask("edge", out, [&](brim_edge* o, brim_error* e) { return table_.edge(device, pool, o, e); });
}
Answer Layer::buffer_alloc(brim_device* device, uint32_t heap, uint64_t bytes, brim_buffer** out) {
  *out = nullptr;
  return made("buffer_alloc",
              make("buffer_alloc", [&](brim_error* e) { return table_.buffer_alloc(device, heap, bytes, out, e); }),
              out);
}
Answer Layer::buffer_import(brim_device* device, void* memory, uint64_t bytes, bool read_only, brim_buffer** out) {
  *out = nullptr;
  Answer none;
  if (!has(table_.buffer_import, "buffer_import", &none)) return none;
  return made(
      "buffer_import",
      make("buffer_import",
           [&](brim_error* e) { return table_.buffer_import(device, memory, bytes, read_only ? 1 : 0, out, e); }),
      out);
}
Answer Layer::buffer_map(brim_buffer* buffer, void** out) {
  *out = nullptr;
  return make("buffer_map", [&](brim_error* e) { return table_.buffer_map(buffer, out, e); });
}
void Layer::buffer_free(brim_buffer* buffer) {
  begin_call("buffer_free");
  table_.buffer_free(buffer);
  end_call();
}
Answer Layer::queue_create(brim_device* device, brim_queue** out) {
  *out = nullptr;
  return made("queue_create",
              make("queue_create", [&](brim_error* e) { return table_.queue_create(device, nullptr, out, e); }), out);
}
void Layer::queue_destroy(brim_queue* queue) {
  begin_call("queue_destroy");
  table_.queue_destroy(queue);
  end_call();
}
Answer Layer::copy(brim_queue* queue, brim_buffer* dst, uint64_t dst_offset, brim_buffer* src, uint64_t src_offset,
                   uint64_t bytes) {
  return make("copy", [&](brim_error* e) { return table_.copy(queue, dst, dst_offset, src, src_offset, bytes, e); });
}
Answer Layer::fence_create(brim_device* device, uint64_t initial, brim_fence** out) {
  *out = nullptr;
  return made("fence_create",
              make("fence_create", [&](brim_error* e) { return table_.fence_create(device, initial, out, e); }), out);
}
void Layer::fence_destroy(brim_fence* fence) {
  begin_call("fence_destroy");
  table_.fence_destroy(fence);
  end_call();
}
Answer Layer::queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value) {
  return make("queue_signal", [&](brim_error* e) { return table_.queue_signal(queue, fence, value, e); });
}
Answer Layer::queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value) {
  return make("queue_wait", [&](brim_error* e) { return table_.queue_wait(queue, fence, value, e); });
}
Answer Layer::fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns) {
  return make("fence_wait", [&](brim_error* e) { return table_.fence_wait(fence, value, timeout_ns, e); });
}
Answer Layer::fence_signal(brim_fence* fence, uint64_t value) {
  return make("fence_signal", [&](brim_error* e) { return table_.fence_signal(fence, value, e); });
}
Answer Layer::support(brim_device* device, const brim_graph* graph, uint32_t node, uint32_t numerics,
                      brim_support* out) {
  return ask("support", out,
             [&](brim_support* o, brim_error* e) { return table_.support(device, graph, node, numerics, o, e); });
}
Answer Layer::state_layout(brim_device* device, const brim_state_desc& state, uint32_t dtype, brim_state_layout* out) {
  Answer none;
  if (!has(table_.state_layout, "state_layout", &none)) return none;
  const Fenced sent = fenced_struct(state, sizeof(state) + 16);
  sent.seal();
  return ask("state_layout", out, [&](brim_state_layout* o, brim_error* e) {
    return table_.state_layout(device, sent.as<brim_state_desc>(), dtype, o, e);
  });
}
Answer Layer::pack_size(brim_device* device, const brim_graph* graph, brim_value weight, uint64_t* bytes,
                        uint64_t* layout_id) {
  *layout_id = 0;
  if (table_.pack_size == nullptr) return {};
  return make("pack_size", [&](brim_error* e) { return table_.pack_size(device, graph, weight, bytes, layout_id, e); });
}
Answer Layer::pack(brim_queue* queue, uint32_t dtype, const std::vector<uint64_t>& dims, uint64_t layout_id,
                   uint64_t first_row, uint64_t n_rows, brim_buffer* src, uint64_t src_offset, brim_buffer* dst,
                   uint64_t dst_offset) {
  Answer none;
  if (!has(table_.pack, "pack", &none)) return none;
  const Fenced sent(dims.data(), dims.size() * sizeof(uint64_t));
  sent.seal();
  return make("pack", [&](brim_error* e) {
    return table_.pack(queue, dtype, sent.as<uint64_t>(), static_cast<uint32_t>(dims.size()), layout_id, first_row,
                       n_rows, src, src_offset, dst, dst_offset, e);
  });
}
Answer Layer::program_measure(brim_device* device, const brim_program_info* info, brim_program_cost* out) {
  return ask("program_measure", out,
             [&](brim_program_cost* o, brim_error* e) { return table_.program_measure(device, info, o, e); });
}
Answer Layer::program_create(brim_device* device, const brim_program_info* info, brim_program** out) {
  *out = nullptr;
  return made("program_create",
              make("program_create", [&](brim_error* e) { return table_.program_create(device, info, out, e); }), out);
}
void Layer::program_destroy(brim_program* program) {
  begin_call("program_destroy");
  table_.program_destroy(program);
  end_call();
}
Answer Layer::program_run(brim_program* program, brim_queue* queue, const brim_run* run) {
  return make("program_run", [&](brim_error* e) {
    if (!counts_runs_) return table_.program_run(program, queue, run, e);
    os::start_counting(reinterpret_cast<const void*>(table_.program_run));
    const brim_status status = table_.program_run(program, queue, run, e);
    last_run_ = os::stop_counting();
    return status;
  });
}
Answer Layer::state_export(brim_queue* queue, const brim_state_desc& state, const brim_program_state& storage,
                           const std::vector<uint32_t>& blocks, uint64_t first, uint64_t n, uint32_t canonical,
                           void* out) {
  Answer none;
  if (!has(table_.state_export, "state_export", &none)) return none;
  const Fenced desc = fenced_struct(state, sizeof(state) + 16), at = fenced_struct(storage, sizeof(storage) + 16);
  const Fenced table(blocks.data(), blocks.size() * sizeof(uint32_t), 4);
  desc.seal(), at.seal(), table.seal();
  return make("state_export", [&](brim_error* e) {
    return table_.state_export(queue, desc.as<brim_state_desc>(), at.as<brim_program_state>(), table.as<uint32_t>(),
                               first, n, canonical, out, e);
  });
}
Answer Layer::state_import(brim_queue* queue, const brim_state_desc& state, const brim_program_state& storage,
                           const std::vector<uint32_t>& blocks, uint64_t first, uint64_t n, uint32_t canonical,
                           const void* in) {
  Answer none;
  if (!has(table_.state_import, "state_import", &none)) return none;
  const Fenced desc = fenced_struct(state, sizeof(state) + 16), at = fenced_struct(storage, sizeof(storage) + 16);
  const Fenced table(blocks.data(), blocks.size() * sizeof(uint32_t), 4);
  desc.seal(), at.seal(), table.seal();
  return make("state_import", [&](brim_error* e) {
    return table_.state_import(queue, desc.as<brim_state_desc>(), at.as<brim_program_state>(), table.as<uint32_t>(),
                               first, n, canonical, in, e);
  });
}

}  // namespace check
