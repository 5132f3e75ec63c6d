// The brim.backend/1 table: each entry calls what does the work inside guard(), so that no exception leaves the plugin.
#include "brim/backend.h"

#include "device/device.hpp"
#include "device/timeline.hpp"
#include "matmul/packed.hpp"
#include "program/check.hpp"
#include "program/packing.hpp"
#include "program/program.hpp"
#include "state/canonical.hpp"
#include "state/kv.hpp"
#include "state/slots.hpp"

namespace brim_cpu {
namespace {

brim_status BRIM_CALL device_count(brim_plugin*, uint32_t* n, brim_str* why, brim_error*) {
  *n = 1;
  if (why != nullptr) *why = {nullptr, 0};
  return BRIM_OK;
}

brim_status BRIM_CALL device_open(brim_plugin* plugin, uint32_t i, brim_device** out, brim_error* error) {
  return guard(error, [&] {
    if (i != 0) fail(BRIM_NOT_FOUND, "the CPU backend has one device, number 0; device %u was asked for", i);
    *out = open_device(plugin);
  });
}

brim_status BRIM_CALL device_describe(brim_plugin* plugin, const void* settings, uint32_t n, uint32_t stride,
                                      brim_device** out, brim_error* error) {
  return guard(error, [&] { *out = describe_device(plugin, settings, n, stride); });
}

void BRIM_CALL device_close(brim_device* device) { close_device(device); }

brim_status BRIM_CALL device_info(brim_device* device, brim_device_info* out, brim_error*) {
  fill_device_info(device, out);
  return BRIM_OK;
}

brim_status BRIM_CALL heap_info(brim_device* device, uint32_t heap, brim_heap_info* out, brim_error* error) {
  return guard(error, [&] { fill_heap_info(device, heap, out); });
}

brim_status BRIM_CALL budget(brim_device* device, uint32_t heap, uint64_t* available, brim_error* error) {
  return guard(error, [&] { *available = heap_budget(device, heap); });
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

brim_status BRIM_CALL queue_create(brim_device* device, void*, brim_queue** out, brim_error* error) {
  return guard(error, [&] {
    need_live(device, "creating a queue");
    *out = create_queue(device);
  });
}

void BRIM_CALL queue_destroy(brim_queue* queue) { destroy_queue(queue); }

brim_status BRIM_CALL copy(brim_queue* queue, brim_buffer* dst, uint64_t dst_offset, brim_buffer* src,
                           uint64_t src_offset, uint64_t bytes, brim_error* error) {
  return guard(error, [&] {
    std::byte* to = range_of(dst, dst_offset, bytes, "copy's destination");
    const std::byte* from = range_of(src, src_offset, bytes, "copy's source");
    if (dst->read_only) fail(BRIM_INVALID_ARGUMENT, "copy's destination is read-only memory");
    drain(queue);
    if (bytes != 0) std::memmove(to, from, bytes);
  });
}

brim_status BRIM_CALL make_fence(brim_device* device, uint64_t initial, brim_fence** out, brim_error* error) {
  return guard(error, [&] {
    need_live(device, "creating a fence");
    *out = create_fence(device, initial);
  });
}

void BRIM_CALL free_fence(brim_fence* fence) { destroy_fence(fence); }

brim_status BRIM_CALL signal_on_queue(brim_queue* queue, brim_fence* fence, uint64_t value, brim_error* error) {
  return guard(error, [&] { queue_signal(queue, fence, value); });
}

brim_status BRIM_CALL wait_on_queue(brim_queue* queue, brim_fence* fence, uint64_t value, brim_error* error) {
  return guard(error, [&] { queue_wait(queue, fence, value); });
}

brim_status BRIM_CALL wait_for_fence(brim_fence* fence, uint64_t value, uint64_t timeout_ns, brim_error* error) {
  return guard(error, [&] { fence_wait(fence, value, timeout_ns); });
}

brim_status BRIM_CALL signal_fence(brim_fence* fence, uint64_t value, brim_error* error) {
  return guard(error, [&] { fence_signal(fence, value); });
}

brim_status BRIM_CALL support(brim_device*, const brim_graph* graph, uint32_t node, uint32_t numerics,
                              brim_support* out, brim_error* error) {
  return guard(error, [&] {
    if (node >= graph->n_nodes) fail(BRIM_INVALID_ARGUMENT, "the graph has %u nodes, not %u", graph->n_nodes, node);
    const Verdict verdict = judge(*graph, *brim_graph_node(graph, node), numerics);
    brim_support filled{};
    filled.level = verdict.level;
    filled.need_contiguous = verdict.need_contiguous;
    filled.in_place = verdict.in_place;
    answer(out, filled);
  });
}

brim_status BRIM_CALL state_layout(brim_device*, const brim_state_desc* state, uint32_t dtype, brim_state_layout* out,
                                   brim_error* error) {
  return guard(error, [&] {
    if (has_slots(*state)) return fill_state_layout(slot_layout(*state, dtype), out);
    fill_state_layout(kv_layout(*state, dtype), out);
  });
}

brim_status BRIM_CALL pack_size(brim_device*, const brim_graph* graph, brim_value weight, uint64_t* bytes,
                                uint64_t* layout_id, brim_error* error) {
  return guard(error, [&] {
    if (weight == 0 || weight >= graph->n_values) {
      fail(BRIM_INVALID_ARGUMENT, "the graph has values 1 to %u, not %u", graph->n_values - 1, weight);
    }
    *layout_id = 0;
    if (!can_be_packed(*graph, weight)) return;
    const brim_value_desc& w = *brim_graph_value(graph, weight);
    uint64_t rows = 1;
    for (uint32_t i = 0; i + 1 < w.rank; ++i) rows *= w.dim[i].k;
    *bytes = rows * brim_dtype_row_bytes(w.dtype, w.dim[w.rank - 1].k);
    *layout_id = kPackedLayout;
  });
}

brim_status BRIM_CALL pack(brim_queue* queue, uint32_t dtype, const uint64_t* dim, uint32_t rank, uint64_t layout_id,
                           uint64_t first_row, uint64_t n_rows, brim_buffer* src, uint64_t src_offset, brim_buffer* dst,
                           uint64_t dst_offset, brim_error* error) {
  return guard(error, [&] {
    const auto block = static_cast<uint64_t>(packed_block(dtype));
    if (layout_id != kPackedLayout || block == 0 || rank < 2 || dim[rank - 2] % kPackedRows != 0 ||
        dim[rank - 1] % block != 0) {
      fail(BRIM_INVALID_ARGUMENT, "layout %llu was not given for a weight of this dtype and shape",
           static_cast<unsigned long long>(layout_id));
    }
    if (first_row > dim[0] || n_rows > dim[0] - first_row) {
      fail(BRIM_INVALID_ARGUMENT, "rows %llu + %llu of a weight of %llu", static_cast<unsigned long long>(first_row),
           static_cast<unsigned long long>(n_rows), static_cast<unsigned long long>(dim[0]));
    }
    uint64_t inner = 1;  // rows of blocks in one of the outermost dimension
    for (uint32_t i = 1; i + 1 < rank; ++i) inner *= dim[i];
    const uint64_t row_bytes = brim_dtype_row_bytes(dtype, dim[rank - 1]);
    const std::byte* from = range_of(src, src_offset, n_rows * inner * row_bytes, "pack's source");
    std::byte* to = range_of(dst, dst_offset, dim[0] * inner * row_bytes, "pack's destination");
    if (dst->read_only) fail(BRIM_INVALID_ARGUMENT, "pack's destination is read-only memory");
    drain(queue);
    pack_by_team(*queue->device, dtype, reinterpret_cast<const uint8_t*>(from), row_bytes,
                 static_cast<int64_t>(first_row * inner), static_cast<int64_t>(n_rows * inner),
                 reinterpret_cast<uint8_t*>(to));
  });
}

brim_status BRIM_CALL program_measure(brim_device* device, const brim_program_info* info, brim_program_cost* out,
                                      brim_error* error) {
  return guard(error, [&] { measure_program(device, *info, out); });
}

brim_status BRIM_CALL program_create(brim_device* device, const brim_program_info* info, brim_program** out,
                                     brim_error* error) {
  return guard(error, [&] { *out = create_program(device, *info); });
}

void BRIM_CALL program_destroy(brim_program* program) { destroy_program(program); }

brim_status BRIM_CALL program_run(brim_program* program, brim_queue* queue, const brim_run* run, brim_error* error) {
  brim_status status = BRIM_OK;
  const brim_status guarded = guard(error, [&] { status = run_program(program, queue, *run); });
  if (guarded != BRIM_OK) return guarded;
  if (status == BRIM_CANCELLED) {
    static constexpr uint64_t kNoDetail[4] = {};
    report(error, status, kNoDetail, "the run was cancelled before its last op");
  }
  return status;
}

brim_status BRIM_CALL state_export(brim_queue* queue, const brim_state_desc* state, const brim_program_state* storage,
                                   const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical, void* out,
                                   brim_error* error) {
  return guard(error, [&] {
    drain(queue);
    if (has_slots(*state)) return export_slot(*state, *storage, blocks[0], out);
    export_state(*state, *storage, blocks, first, n, canonical, out);
  });
}

brim_status BRIM_CALL state_import(brim_queue* queue, const brim_state_desc* state, const brim_program_state* storage,
                                   const uint32_t* blocks, uint64_t first, uint64_t n, uint32_t canonical,
                                   const void* in, brim_error* error) {
  return guard(error, [&] {
    drain(queue);
    if (has_slots(*state)) return import_slot(*state, *storage, blocks[0], in);
    import_state(*state, *storage, blocks, first, n, canonical, in);
  });
}

}  // namespace

const brim_backend& backend_table() {
  static constexpr brim_backend table = [] {
    brim_backend b{};
    b.struct_size = sizeof b;
    b.n_caps = kCapsCount;
    b.caps_stride = sizeof kCaps[0];
    b.caps = kCaps;
    b.device_count = device_count;
    b.device_open = device_open;
    b.device_describe = device_describe;
    b.device_close = device_close;
    b.device_info = device_info;
    b.heap_info = heap_info;
    b.heap_budget = budget;
    b.buffer_alloc = buffer_alloc;
    b.buffer_import = buffer_import;
    b.buffer_map = buffer_map;
    b.buffer_free = buffer_free;
    b.queue_create = queue_create;
    b.queue_destroy = queue_destroy;
    b.copy = copy;
    b.fence_create = make_fence;
    b.fence_destroy = free_fence;
    b.queue_signal = signal_on_queue;
    b.queue_wait = wait_on_queue;
    b.fence_wait = wait_for_fence;
    b.fence_signal = signal_fence;
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
  }();
  return table;
}

}  // namespace brim_cpu
