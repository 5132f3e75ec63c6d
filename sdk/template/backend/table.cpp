// The interface, slot by slot: each hands on to the file that does the work, inside guard(). What is not filled is
// optional: the host does without device descriptions, packed weights and fences shared with other plugins.
#include "table.hpp"

#include "program.hpp"

namespace plain {
namespace {

brim_status BRIM_CALL device_count(brim_plugin*, uint32_t* n, brim_str* why, brim_error*) {
  *n = 1;
  if (why != nullptr) *why = {nullptr, 0};  // with 0 devices: "no driver (libnpu.so.1 not found)"
  return BRIM_OK;
}

brim_status BRIM_CALL device_open(brim_plugin* plugin, uint32_t i, brim_device** out, brim_error* error) {
  return guard(error, [&] {
    if (i != 0) fail(BRIM_NOT_FOUND, "the plain backend has one device, number 0; number %u was asked for", i);
    *out = make<brim_device>(plugin, plugin);
  });
}

void BRIM_CALL device_close(brim_device* device) {
  if (device != nullptr) unmake(device->plugin, device);
}

brim_status BRIM_CALL device_info(brim_device*, brim_device_info* out, brim_error*) {
  fill_device_info(out);
  return BRIM_OK;
}

brim_status BRIM_CALL heap_info(brim_device*, uint32_t heap, brim_heap_info* out, brim_error* error) {
  return guard(error, [&] { fill_heap_info(heap, out); });
}

brim_status BRIM_CALL budget(brim_device*, uint32_t heap, uint64_t* available, brim_error* error) {
  return guard(error, [&] { *available = heap_budget(heap); });
}

brim_status BRIM_CALL buffer_alloc(brim_device* device, uint32_t heap, uint64_t bytes, brim_buffer** out,
                                   brim_error* error) {
  return guard(error, [&] { *out = allocate_buffer(device, heap, bytes); });
}

brim_status BRIM_CALL buffer_import(brim_device* device, void* memory, uint64_t bytes, uint32_t read_only,
                                    brim_buffer** out, brim_error* error) {
  return guard(error, [&] { *out = import_buffer(device, memory, bytes, read_only != 0); });
}

brim_status BRIM_CALL buffer_map(brim_buffer* buffer, void** out, brim_error*) {
  *out = buffer->data;
  return BRIM_OK;
}

void BRIM_CALL buffer_free(brim_buffer* buffer) { free_buffer(buffer); }

brim_status BRIM_CALL make_queue(brim_device* device, void* native, brim_queue** out, brim_error* error) {
  return guard(error, [&] {
    if (native != nullptr) fail(BRIM_UNSUPPORTED, "the plain device has no streams that a queue could wrap");
    *out = create_queue(device);
  });
}

void BRIM_CALL free_queue(brim_queue* queue) { destroy_queue(queue); }

brim_status BRIM_CALL copy(brim_queue* queue, brim_buffer* dst, uint64_t dst_offset, brim_buffer* src,
                           uint64_t src_offset, uint64_t bytes, brim_error* error) {
  return guard(error, [&] {
    std::byte* to = writable_range_of(dst, dst_offset, bytes, "copy's destination");
    const std::byte* from = range_of(src, src_offset, bytes, "copy's source");
    drain(queue);
    if (bytes != 0) std::memmove(to, from, bytes);
  });
}

brim_status BRIM_CALL make_fence(brim_device* device, uint64_t initial, brim_fence** out, brim_error* error) {
  return guard(error, [&] { *out = create_fence(device, initial); });
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

brim_status BRIM_CALL signal_by_host(brim_fence* fence, uint64_t value, brim_error* error) {
  return guard(error, [&] { fence_signal(fence, value); });
}

brim_status BRIM_CALL support(brim_device*, const brim_graph* graph, uint32_t node, uint32_t numerics,
                              brim_support* out, brim_error* error) {
  return guard(error, [&] {
    brim_support filled{};
    filled.level = supports(taken(graph), node, numerics) ? BRIM_SUPPORT_YES : BRIM_SUPPORT_NONE;
    answer(out, filled);
  });
}

brim_status BRIM_CALL state_layout(brim_device*, const brim_state_desc* state, uint32_t dtype, brim_state_layout* out,
                                   brim_error* error) {
  return guard(error, [&] { fill_state_layout(taken(state), dtype, out); });
}

brim_status BRIM_CALL program_measure(brim_device* device, const brim_program_info* info, brim_program_cost* out,
                                      brim_error* error) {
  return guard(error, [&] { answer(out, measure_program(device, taken(info))); });
}

brim_status BRIM_CALL program_create(brim_device* device, const brim_program_info* info, brim_program** out,
                                     brim_error* error) {
  return guard(error, [&] { *out = create_program(device, taken(info)); });
}

void BRIM_CALL program_destroy(brim_program* program) { destroy_program(program); }

brim_status BRIM_CALL program_run(brim_program* program, brim_queue* queue, const brim_run* run, brim_error* error) {
  return guard(error, [&] { run_program(*program, queue, taken(run)); });
}

brim_status BRIM_CALL to_canonical(brim_queue* queue, const brim_state_desc* state, const brim_program_state* storage,
                                   const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, void* out,
                                   brim_error* error) {
  return guard(error, [&] {
    drain(queue);
    export_state(open_state(taken(state), taken(storage)), blocks, first, n, canonical, out);
  });
}

brim_status BRIM_CALL from_canonical(brim_queue* queue, const brim_state_desc* state, const brim_program_state* storage,
                                     const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical,
                                     const void* in, brim_error* error) {
  return guard(error, [&] {
    drain(queue);
    import_state(open_state(taken(state), taken(storage)), blocks, first, n, canonical, in);
  });
}

brim_backend make_table() {
  brim_backend b{};
  b.struct_size = sizeof b;
  b.caps = op_caps(&b.n_caps);
  b.caps_stride = sizeof(brim_op_caps);
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
  b.copy = copy;
  b.fence_create = make_fence;
  b.fence_destroy = free_fence;
  b.queue_signal = signal_on_queue;
  b.queue_wait = wait_on_queue;
  b.fence_wait = wait_on_host;
  b.fence_signal = signal_by_host;
  b.support = support;
  b.state_layout = state_layout;
  b.program_measure = program_measure;
  b.program_create = program_create;
  b.program_destroy = program_destroy;
  b.program_run = program_run;
  b.state_export = to_canonical;
  b.state_import = from_canonical;
  return b;
}

}  // namespace

const brim_backend& backend_table() {
  static const brim_backend table = make_table();
  return table;
}

}  // namespace plain
