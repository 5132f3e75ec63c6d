// The plugin's tables: what a host calls, each call checked and handed on.
#include <charconv>
#include <string_view>

#include "program.hpp"
#include "weights.hpp"

namespace brim_async {
namespace {

brim_str str(std::string_view text) { return {text.data(), text.size()}; }

// A struct of this build into a receiver's, which may be smaller or larger.
template <class T>
void give(T* to, T from) {
  const uint32_t size = to->struct_size;
  std::memcpy(to, &from, std::min<size_t>(size, sizeof(T)));
  to->struct_size = size;
}

void check_heap(uint32_t heap) {
  if (heap > 1) throw Failure{BRIM_INVALID_ARGUMENT, "the async device has two heaps, 0 and 1"};
}

// ---- devices -------------------------------------------------------------------------------------------------------

brim_status device_count(brim_plugin*, uint32_t* n, brim_str*, brim_error*) {
  *n = 1;
  return BRIM_OK;
}
brim_status device_open(brim_plugin* plugin, uint32_t i, brim_device** out, brim_error* error) {
  return guard(error, [&] {
    if (i != 0) throw Failure{BRIM_NOT_FOUND, "there is one async device, number 0"};
    *out = make<brim_device>(plugin, plugin);
  });
}
void device_close(brim_device* device) { unmake(device->plugin, device); }

brim_status device_info(brim_device* device, brim_device_info* out, brim_error* error) {
  return guard(error, [&] {
    brim_device_info info{};
    info.type = BRIM_DEVICE_ACCELERATOR;
    info.flags = BRIM_DEVICE_LIVE | BRIM_DEVICE_BATCH_INVARIANT;
    info.n_heaps = 2;
    info.max_binding = device->plugin->settings.max_binding;
    info.name = str("async fake");
    info.driver = str("async 1.0");
    info.architecture = str("threads");
    give(out, info);
  });
}
brim_status heap_info(brim_device* device, uint32_t heap, brim_heap_info* out, brim_error* error) {
  return guard(error, [&] {
    check_heap(heap);
    brim_heap_info info{};
    info.alignment = device->plugin->settings.alignment();
    if (heap == 0) {
      info.flags = BRIM_HEAP_DEVICE_LOCAL | (device->plugin->settings.import ? BRIM_HEAP_IMPORT_HOST : 0);
      info.pool_id[0] = device->plugin->settings.unified ? BRIM_POOL_SYSTEM : 0xA57;
      info.size = device->plugin->settings.budget;
      info.max_alloc = device->plugin->settings.max_alloc;
    } else {
      info.flags = BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_COHERENT | BRIM_HEAP_HOST_CACHED;
      info.pool_id[0] = BRIM_POOL_SYSTEM;
      info.size = info.max_alloc = kVisibleAlloc;
    }
    give(out, info);
  });
}
brim_status heap_budget(brim_device* device, uint32_t heap, uint64_t* available, brim_error* error) {
  return guard(error, [&] {
    brim_plugin& p = *device->plugin;
    check_heap(heap);
    p.check_well();
    const std::lock_guard lock(p.mutex);
    *available = heap == 0 ? p.settings.budget - p.used : kVisibleAlloc;
  });
}

// ---- memory --------------------------------------------------------------------------------------------------------

brim_status buffer_alloc(brim_device* device, uint32_t heap, uint64_t bytes, brim_buffer** out, brim_error* error) {
  return guard(error, [&] {
    brim_plugin* p = device->plugin;
    check_heap(heap);
    p->count_call();
    uint64_t room = 0;
    heap_budget(device, heap, &room, nullptr);
    if (++p->buffers == p->settings.starve_at) room = 0;
    if (bytes > room || bytes > (heap ? kVisibleAlloc : p->settings.max_alloc)) {
      throw Failure{BRIM_OUT_OF_MEMORY, "no room for " + std::to_string(bytes) + " bytes", {heap, bytes, room}};
    }
    auto* memory = static_cast<std::byte*>(p->api->alloc(p->host, bytes, 64));
    if (!memory) throw Failure{BRIM_OUT_OF_MEMORY, "no host memory", {heap, bytes, 0}};
    // No test reads a fresh buffer beyond that; touching all pages of large ones would take most of some tests' time.
    std::memset(memory, 0xff, std::min<uint64_t>(bytes, 1 << 20));
    brim_buffer* buffer = nullptr;
    try {
      buffer = make<brim_buffer>(p, p, memory, bytes, heap);
    } catch (...) {
      p->api->free(p->host, memory, bytes, 64);
      throw;
    }
    const std::lock_guard lock(p->mutex);
    if (heap == 0) p->used += bytes;
    *out = buffer;
  });
}
brim_status buffer_import(brim_device* device, void* memory, uint64_t bytes, uint32_t, brim_buffer** out,
                          brim_error* error) {
  return guard(error, [&] {
    brim_plugin* p = device->plugin;
    p->count_call();
    if (!p->settings.import) throw Failure{BRIM_UNSUPPORTED, "no host memory is read in place"};
    if (bytes > p->settings.max_alloc) p->refuse("memory beyond max_alloc was imported as one buffer");
    if (reinterpret_cast<uintptr_t>(memory) % 4096 != 0) p->refuse("memory was imported that begins within a page");
    *out = make<brim_buffer>(p, p, static_cast<std::byte*>(memory), bytes, 0u, true);
  });
}
brim_status buffer_map(brim_buffer* buffer, void** out, brim_error* error) {
  return guard(error, [&] {
    buffer->plugin->count_call();
    if (buffer->heap == 0) buffer->plugin->refuse("a buffer was mapped that the host cannot see");
    *out = buffer->data;
  });
}
void buffer_free(brim_buffer* buffer) {
  if (!buffer) return;
  brim_plugin* p = buffer->plugin;
  if (buffer->pending) p->breach("a buffer was freed while work on it was pending");
  while (buffer->pending) std::this_thread::yield();
  {
    const std::lock_guard lock(p->mutex);
    if (buffer->heap == 0 && !buffer->imported) p->used -= buffer->bytes;
  }
  if (!buffer->imported) p->api->free(p->host, buffer->data, buffer->bytes, 64);
  unmake(p, buffer);
}

// ---- queues and fences ---------------------------------------------------------------------------------------------

brim_status queue_create(brim_device* device, void*, brim_queue** out, brim_error* error) {
  return guard(error, [&] {
    device->plugin->count_call();
    *out = make<brim_queue>(device->plugin, device->plugin, device->plugin->settings.seed);
  });
}
void queue_destroy(brim_queue* queue) { unmake(queue->plugin, queue); }

brim_status copy_range(brim_queue* queue, brim_buffer* dst, uint64_t dst_offset, brim_buffer* src, uint64_t src_offset,
                       uint64_t bytes, brim_error* error) {
  return guard(error, [&] {
    queue->plugin->want_live(queue, "a queue");
    queue->plugin->want_live(dst, "the target of a copy");
    queue->plugin->want_live(src, "the source of a copy");
    queue->plugin->count_call();
    copy(queue, dst, dst_offset, src, src_offset, bytes);
  });
}
brim_status fence_create(brim_device* device, uint64_t initial, brim_fence** out, brim_error* error) {
  return guard(error, [&] {
    device->plugin->count_call();
    *out = make<brim_fence>(device->plugin);
    (*out)->plugin = device->plugin;
    (*out)->value = initial;
  });
}
void fence_destroy(brim_fence* fence) { unmake(fence->plugin, fence); }

brim_status queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value, brim_error* error) {
  return guard(error, [&] {
    queue->plugin->want_live(fence, "a fence");
    queue->plugin->count_call();
    signal(queue, fence, value);
  });
}
brim_status queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value, brim_error* error) {
  return guard(error, [&] {
    queue->plugin->want_live(fence, "a fence");
    queue->plugin->count_call();
    wait(queue, fence, value);
  });
}
brim_status fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns, brim_error* error) {
  return guard(error, [&] {
    fence->plugin->count_call();
    wait_on_host(fence, value, timeout_ns);
  });
}
brim_status fence_signal(brim_fence* fence, uint64_t value, brim_error* error) {
  return guard(error, [&] {
    fence->plugin->count_call();
    fence->set(value);
  });
}

// ---- planning ------------------------------------------------------------------------------------------------------

brim_status support(brim_device*, const brim_graph* graph, uint32_t node, uint32_t numerics, brim_support* out,
                    brim_error* error) {
  return guard(error, [&] {
    brim_support answer{};
    if (node >= graph->n_nodes) throw Failure{BRIM_INVALID_ARGUMENT, "the graph has no node of that number"};
    answer.level = numerics <= BRIM_NUMERICS_STRICT && supported(*graph, *brim_graph_node(graph, node))
                       ? BRIM_SUPPORT_YES
                       : BRIM_SUPPORT_NONE;
    give(out, answer);
  });
}
brim_status state_layout(brim_device*, const brim_state_desc* state, uint32_t dtype, brim_state_layout* out,
                         brim_error* error) {
  return guard(error, [&] { give(out, layout_of(*state, dtype)); });
}
brim_status pack_size(brim_device* device, const brim_graph* graph, brim_value weight, uint64_t* bytes,
                      uint64_t* layout_id, brim_error*) {
  const brim_value_desc& w = *brim_graph_value(graph, weight);
  const bool packs = device->plugin->settings.packs(w);
  *layout_id = packs ? kPackedLayout : 0;
  if (packs) *bytes = w.dim[0].k * brim_dtype_row_bytes(w.dtype, w.dim[1].k);
  return BRIM_OK;
}
brim_status pack(brim_queue* queue, uint32_t dtype, const uint64_t* dim, uint32_t, uint64_t layout_id,
                 uint64_t first_row, uint64_t n_rows, brim_buffer* src, uint64_t src_offset, brim_buffer* dst,
                 uint64_t dst_offset, brim_error* error) {
  return guard(error, [&] {
    brim_plugin& p = *queue->plugin;
    p.count_call();
    if (layout_id != kPackedLayout || first_row + n_rows > dim[0])
      p.refuse("pack was called for rows or a layout that are not there");
    const uint64_t n = dim[1], row_bytes = brim_dtype_row_bytes(dtype, n);
    range(src, src_offset, n_rows * row_bytes, "the source of pack");
    std::byte* to = range(dst, dst_offset, dim[0] * row_bytes, "the target of pack") + first_row * row_bytes;
    queue->submit({[=] {
                     for (uint64_t r = 0; r < n_rows; ++r) {
                       pack_row(src->data + src_offset + r * row_bytes, n, to + r * row_bytes);
                     }
                   },
                   {src, dst}});
  });
}

brim_status program_measure(brim_device* device, const brim_program_info* info, brim_program_cost* out,
                            brim_error* error) {
  return guard(error, [&] {
    brim_program program;
    program.plugin = device->plugin;
    compile(program, *info, false);
    brim_program_cost cost{};
    cost.workspace = kWorkspace;
    cost.persistent = sizeof(brim_program);
    give(out, cost);
  });
}

// ---- programs and states -------------------------------------------------------------------------------------------

brim_status program_create(brim_device* device, const brim_program_info* info, brim_program** out, brim_error* error) {
  return guard(error, [&] {
    device->plugin->count_call();
    brim_program* program = make<brim_program>(device->plugin);
    try {
      program->plugin = device->plugin;
      compile(*program, *info, true);
    } catch (...) {
      unmake(device->plugin, program);
      throw;
    }
    *out = program;
  });
}
void program_destroy(brim_program* program) {
  if (!program) return;
  if (program->running) program->plugin->breach("a program was destroyed while it ran");
  while (program->running) std::this_thread::yield();
  unmake(program->plugin, program);
}
brim_status program_run(brim_program* program, brim_queue* queue, const brim_run* run, brim_error* error) {
  return guard(error, [&] {
    queue->plugin->want_live(program, "a program");
    queue->plugin->count_call();
    submit(program, queue, *run);
  });
}
brim_status state_export(brim_queue* queue, const brim_state_desc* state, const brim_program_state* storage,
                         const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, void* out,
                         brim_error* error) {
  return guard(error, [&] {
    queue->plugin->count_call();
    move_state(queue, *state, *storage, blocks, first, n, canonical, static_cast<std::byte*>(out), true);
  });
}
brim_status state_import(brim_queue* queue, const brim_state_desc* state, const brim_program_state* storage,
                         const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, const void* in,
                         brim_error* error) {
  return guard(error, [&] {
    queue->plugin->count_call();
    auto* host = static_cast<std::byte*>(const_cast<void*>(in));  // read only in this direction
    move_state(queue, *state, *storage, blocks, first, n, canonical, host, false);
  });
}

brim_backend make_backend() {
  brim_backend b{};
  b.struct_size = sizeof(b);
  b.n_caps = static_cast<uint32_t>(caps().size());
  b.caps_stride = sizeof(brim_op_caps);
  b.caps = caps().data();
  b.device_count = device_count;
  b.device_open = device_open;
  b.device_close = device_close;
  b.device_info = device_info;
  b.heap_info = heap_info;
  b.heap_budget = heap_budget;
  b.buffer_alloc = buffer_alloc;
  b.buffer_import = buffer_import;
  b.buffer_map = buffer_map;
  b.buffer_free = buffer_free;
  b.queue_create = queue_create;
  b.queue_destroy = queue_destroy;
  b.copy = copy_range;
  b.fence_create = fence_create;
  b.fence_destroy = fence_destroy;
  b.queue_signal = queue_signal;
  b.queue_wait = queue_wait;
  b.fence_wait = fence_wait;
  b.fence_signal = fence_signal;
  b.support = support;
  b.state_layout = state_layout;
  b.pack_size = pack_size;
  b.pack = pack;
  b.program_measure = program_measure;
  b.program_create = program_create;
  b.program_destroy = program_destroy;
  b.program_run = program_run;
  b.state_export = state_export;
  b.state_import = state_import;
  return b;
}

// ---- the instance --------------------------------------------------------------------------------------------------

uint64_t* field(Settings& s, std::string_view key) {
  if (key == "seed") return &s.seed;
  if (key == "delay_us") return &s.delay_us;
  if (key == "fail_at") return &s.fail_at;
  if (key == "starve_at") return &s.starve_at;
  if (key == "lost_at") return &s.lost_at;
  if (key == "budget") return &s.budget;
  if (key == "max_alloc") return &s.max_alloc;
  if (key == "max_binding") return &s.max_binding;
  if (key == "import") return &s.import;
  if (key == "unified") return &s.unified;
  return nullptr;
}

brim_status create(const brim_host_api* api, brim_host* host, const brim_create_info* info, brim_plugin** out,
                   brim_error* error) {
  return guard(error, [&] {
    Settings settings;
    for (uint32_t i = 0; i < info->n_settings; ++i) {
      const auto given = element<brim_setting>(info->settings, info->setting_stride, i);
      const std::string_view key(given.key.ptr, given.key.len), value(given.value.ptr, given.value.len);
      uint64_t* to = field(settings, key);
      if (!to || std::from_chars(value.data(), value.data() + value.size(), *to).ec != std::errc()) {
        throw Failure{BRIM_INVALID_ARGUMENT,
                      "the async fake has no setting " + std::string(key) + " = " + std::string(value)};
      }
    }
    void* memory = api->alloc(host, sizeof(brim_plugin), alignof(brim_plugin));
    if (!memory) throw Failure{BRIM_OUT_OF_MEMORY, "no host memory"};
    auto* plugin = new (memory) brim_plugin;
    plugin->api = api;
    plugin->host = host;
    plugin->settings = settings;
    *out = plugin;
  });
}
void destroy(brim_plugin* plugin) {
  if (!plugin->live.empty()) plugin->breach("objects were left alive when their plugin was destroyed");
  const brim_host_api* api = plugin->api;
  brim_host* host = plugin->host;
  plugin->~brim_plugin();
  api->free(host, plugin, sizeof(brim_plugin), alignof(brim_plugin));
}
const void* get_interface(brim_plugin*, brim_str id) {
  static const brim_backend backend = make_backend();
  return std::string_view(id.ptr, id.len) == BRIM_BACKEND_INTERFACE ? &backend : nullptr;
}

}  // namespace
}  // namespace brim_async

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) {
  static const brim_plugin_header header = {BRIM_PLUGIN_MAGIC,
                                            sizeof(brim_plugin_header),
                                            BRIM_ABI_MAJOR,
                                            BRIM_ABI_MINOR,
                                            1,
                                            BRIM_KIND_BACKEND,
                                            0,
                                            0,
                                            brim_async::str("test.async"),
                                            brim_async::str("1.0"),
                                            brim_async::str("Apache-2.0"),
                                            brim_async::create,
                                            brim_async::destroy,
                                            brim_async::get_interface};
  return &header;
}
