// The plugin's entry and its brim.backend/1 table: each entry calls what does the work inside guard(), so that no
// exception leaves the plugin.
#include <gpu/check.hpp>
#include <gpu/kv.hpp>

#include "device/queue.hpp"
#include "program/program.hpp"

namespace brim_vulkan {
namespace {

brim_status BRIM_CALL device_count(brim_plugin* plugin, uint32_t* n, brim_str* why, brim_error* error) {
  return guard(error, [&] { *n = count_devices(plugin, why); });
}
brim_status BRIM_CALL device_open(brim_plugin* plugin, uint32_t i, brim_device** out, brim_error* error) {
  return guard(error, [&] { *out = open_device(plugin, i); });
}
void BRIM_CALL device_close(brim_device* device) { close_device(device); }
brim_status BRIM_CALL device_info(brim_device* device, brim_device_info* out, brim_error*) {
  fill_device_info(device->shared, out);
  return BRIM_OK;
}
brim_status BRIM_CALL heap_info(brim_device* device, uint32_t heap, brim_heap_info* out, brim_error* error) {
  return guard(error, [&] { fill_heap_info(device->shared, heap, out); });
}
brim_status BRIM_CALL budget(brim_device* device, uint32_t heap, uint64_t* available, brim_error* error) {
  return guard(error, [&] { *available = heap_budget(device->shared, heap); });
}

brim_status BRIM_CALL buffer_alloc(brim_device* device, uint32_t heap, uint64_t bytes, brim_buffer** out,
                                   brim_error* error) {
  return guard(error, [&] { *out = allocate_buffer(device->shared, heap, bytes); });
}
brim_status BRIM_CALL buffer_import(brim_device* device, void* memory, uint64_t bytes, uint32_t read_only,
                                    brim_buffer** out, brim_error* error) {
  return guard(error, [&] { *out = import_buffer(device->shared, memory, bytes, read_only != 0); });
}
brim_status BRIM_CALL buffer_map(brim_buffer* buffer, void** out, brim_error* error) {
  return guard(error, [&] {
    if (buffer->mapped == nullptr)
      fail(BRIM_FAILED_PRECONDITION, "the buffer lies in memory that the host does not see");
    *out = buffer->mapped;
  });
}
void BRIM_CALL buffer_free(brim_buffer* buffer) { free_buffer(buffer); }

brim_status BRIM_CALL make_queue(brim_device* device, void* native, brim_queue** out, brim_error* error) {
  return guard(error, [&] {
    if (native != nullptr) fail(BRIM_UNSUPPORTED, "the Vulkan backend does not take over a queue of the host's");
    *out = create_queue(device->shared);
  });
}
void BRIM_CALL free_queue(brim_queue* queue) { destroy_queue(queue); }
brim_status BRIM_CALL copy_bytes(brim_queue* queue, brim_buffer* dst, uint64_t dst_offset, brim_buffer* src,
                                 uint64_t src_offset, uint64_t bytes, brim_error* error) {
  return guard(error, [&] { copy(queue, dst, dst_offset, src, src_offset, bytes); });
}
brim_status BRIM_CALL make_fence(brim_device* device, uint64_t initial, brim_fence** out, brim_error* error) {
  return guard(error, [&] { *out = create_fence(device->shared, initial); });
}
void BRIM_CALL free_fence(brim_fence* fence) { destroy_fence(fence); }
brim_status BRIM_CALL signal_on_queue(brim_queue* queue, brim_fence* fence, uint64_t value, brim_error* error) {
  return guard(error, [&] { queue_signal(queue, fence, value); });
}
brim_status BRIM_CALL wait_on_queue(brim_queue* queue, brim_fence* fence, uint64_t value, brim_error* error) {
  return guard(error, [&] { queue_wait(queue, fence, value); });
}
brim_status BRIM_CALL wait_on_host(brim_fence* fence, uint64_t value, uint64_t timeout_ns, brim_error* error) {
  return guard(error, [&] { fence_wait(fence, value, timeout_ns); });
}
brim_status BRIM_CALL signal_on_host(brim_fence* fence, uint64_t value, brim_error* error) {
  return guard(error, [&] { fence_signal(fence, value); });
}

brim_status BRIM_CALL support(brim_device*, const brim_graph* graph, uint32_t node, uint32_t numerics,
                              brim_support* out, brim_error* error) {
  return guard(error, [&] {
    if (node >= graph->n_nodes) fail(BRIM_INVALID_ARGUMENT, "the graph has %u nodes, not %u", graph->n_nodes, node);
    const Verdict verdict = judge(*graph, *brim_graph_node(graph, node));
    const bool known = numerics == BRIM_NUMERICS_FAST || numerics == BRIM_NUMERICS_STRICT;
    brim_support filled{};
    filled.level = verdict.why == nullptr && known ? BRIM_SUPPORT_YES : BRIM_SUPPORT_NONE;
    filled.in_place = verdict.in_place;
    answer(out, filled);
  });
}
brim_status BRIM_CALL layout_of_state(brim_device*, const brim_state_desc* state, uint32_t dtype,
                                      brim_state_layout* out, brim_error* error) {
  return guard(error, [&] { fill_state_layout(state_layout(received<brim_state_desc>(state), dtype), out); });
}
// What the host sent in structs of this build's size, for as long as the call lasts.
template <class F>
void with_own(const brim_program_info* info, F&& use) {
  auto own = received<brim_program_info>(info);
  if (own.graph == nullptr || own.bucket == nullptr || own.step == nullptr) {
    fail(BRIM_INVALID_ARGUMENT, "a program needs a graph, a bucket and a step layout");
  }
  const auto graph = received<brim_graph>(own.graph);
  const auto bucket = received<brim_bucket>(own.bucket);
  const auto step = received<brim_step_layout>(own.step);
  own.graph = &graph;
  own.bucket = &bucket;
  own.step = &step;
  use(own);
}

brim_status BRIM_CALL program_measure(brim_device* device, const brim_program_info* info, brim_program_cost* out,
                                      brim_error* error) {
  return guard(
      error, [&] { with_own(info, [&](const brim_program_info& own) { measure_program(device->shared, own, out); }); });
}
brim_status BRIM_CALL program_create(brim_device* device, const brim_program_info* info, brim_program** out,
                                     brim_error* error) {
  return guard(error, [&] {
    with_own(info, [&](const brim_program_info& own) { *out = create_program(device->shared, own); });
  });
}
void BRIM_CALL program_destroy(brim_program* program) { destroy_program(program); }
brim_status BRIM_CALL program_run(brim_program* program, brim_queue* queue, const brim_run* run, brim_error* error) {
  return guard(error, [&] { run_program(program, queue, received<brim_run>(run)); });
}
brim_status BRIM_CALL state_export(brim_queue* queue, const brim_state_desc* state, const brim_program_state* storage,
                                   const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, void* out,
                                   brim_error* error) {
  return guard(error, [&] {
    export_state(queue, received<brim_state_desc>(state), received<brim_program_state>(storage), blocks, first, n,
                 canonical, out);
  });
}
brim_status BRIM_CALL state_import(brim_queue* queue, const brim_state_desc* state, const brim_program_state* storage,
                                   const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical,
                                   const void* in, brim_error* error) {
  return guard(error, [&] {
    import_state(queue, received<brim_state_desc>(state), received<brim_program_state>(storage), blocks, first, n,
                 canonical, in);
  });
}

constexpr brim_backend kTable = [] {
  brim_backend b{};
  b.struct_size = sizeof b;
  b.n_caps = kCapsCount;
  b.caps_stride = sizeof kCaps[0];
  b.caps = kCaps;
  b.device_count = device_count;
  b.device_open = device_open;
  b.device_close = device_close;
  b.device_info = device_info;
  b.heap_info = heap_info;
  b.heap_budget = budget;
  b.buffer_alloc = buffer_alloc;
  b.buffer_import = buffer_import;
  b.buffer_map = buffer_map;
  b.buffer_free = buffer_free;
  b.queue_create = make_queue;
  b.queue_destroy = free_queue;
  b.copy = copy_bytes;
  b.fence_create = make_fence;
  b.fence_destroy = free_fence;
  b.queue_signal = signal_on_queue;
  b.queue_wait = wait_on_queue;
  b.fence_wait = wait_on_host;
  b.fence_signal = signal_on_host;
  b.support = support;
  b.state_layout = layout_of_state;
  b.program_measure = program_measure;
  b.program_create = program_create;
  b.program_destroy = program_destroy;
  b.program_run = program_run;
  b.state_export = state_export;
  b.state_import = state_import;
  return b;
}();

// ---- the instance ----

const void* BRIM_CALL get_interface(brim_plugin*, brim_str id) {
  return view(id) == BRIM_BACKEND_INTERFACE ? &kTable : nullptr;
}
brim_status BRIM_CALL create(const brim_host_api* api, brim_host* host, const brim_create_info* info, brim_plugin** out,
                             brim_error* error) {
  return guard(error, [&] { *out = create_plugin(api, host, info); });
}
void BRIM_CALL destroy(brim_plugin* plugin) {
  if (plugin != nullptr) unmake(plugin->memory, plugin);
}

constexpr uint32_t build_flags() {
  uint32_t flags = 0;
#if defined(__SANITIZE_ADDRESS__)
  flags |= BRIM_BUILD_ASAN;
#endif
#if defined(__SANITIZE_THREAD__)
  flags |= BRIM_BUILD_TSAN;
#endif
#if !defined(NDEBUG)
  flags |= BRIM_BUILD_DEBUG;
#endif
  return flags;
}

constexpr brim_str text(std::string_view s) { return {s.data(), s.size()}; }

constexpr brim_plugin_header kHeader = {BRIM_PLUGIN_MAGIC,
                                        sizeof(brim_plugin_header),
                                        BRIM_ABI_MAJOR,
                                        BRIM_ABI_MINOR,
                                        1,
                                        BRIM_KIND_BACKEND,
                                        build_flags(),
                                        0,
                                        text("brim.vulkan"),
                                        text(BRIM_VULKAN_VERSION),
                                        text("Apache-2.0"),
                                        create,
                                        destroy,
                                        get_interface};

}  // namespace
}  // namespace brim_vulkan

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) { return &brim_vulkan::kHeader; }
