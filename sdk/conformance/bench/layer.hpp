// The validation layer: every slot of brim_backend as a call that checks what it can see. Structs go in with padding
// behind them and against an untouchable page, answers come out into structs larger than the plugin knows, whose tail
// must stay as it was; errors are looked through; the order of lifetimes is watched.
//
// Safe for several threads where the slot is.
#pragma once

#include <brim/backend.h>

#include "../os/os.hpp"
#include "instance.hpp"

namespace check {

class Layer {
 public:
  // Ends the test where the instance has no brim.backend/1 or required slots are NULL.
  Layer(Trial& trial, const Instance& instance);

  Trial& trial() const { return trial_; }
  const brim_backend& table() const { return table_; }
  // What the plugin's caps say; null where it has no such op.
  const brim_op_caps* caps_of(uint32_t op) const;
  const std::vector<brim_op_caps>& caps() const { return caps_; }

  // Bytes of brim_error from now on (an older host's are fewer), 0: NULL is passed.
  void set_error_bytes(uint32_t bytes) { error_bytes_ = bytes; }
  // Bytes that every answer's struct is larger (or smaller) than this ABI's.
  void set_answer_growth(int32_t bytes) { growth_ = bytes; }

  // From now on what each program_run calls of the process's memory functions is counted.
  void count_runs() { counts_runs_ = true; }
  const os::Counted& last_run() const { return last_run_; }

  Answer device_count(uint32_t* n, brim_str* why);
  Answer device_open(uint32_t i, brim_device** out);
  Answer device_describe(const Settings& settings, brim_device** out);
  void device_close(brim_device* device);
  Answer device_info(brim_device* device, brim_device_info* out);
  Answer heap_info(brim_device* device, uint32_t heap, brim_heap_info* out);
  Answer heap_budget(brim_device* device, uint32_t heap, uint64_t* available);
  Answer edge(brim_device* device, const uint64_t pool[2], brim_edge* out);
  Answer buffer_alloc(brim_device* device, uint32_t heap, uint64_t bytes, brim_buffer** out);
  Answer buffer_import(brim_device* device, void* memory, uint64_t bytes, bool read_only, brim_buffer** out);
  Answer buffer_map(brim_buffer* buffer, void** out);
  void buffer_free(brim_buffer* buffer);
  Answer queue_create(brim_device* device, brim_queue** out);
  void queue_destroy(brim_queue* queue);
  Answer copy(brim_queue* queue, brim_buffer* dst, uint64_t dst_offset, brim_buffer* src, uint64_t src_offset,
              uint64_t bytes);
  Answer fence_create(brim_device* device, uint64_t initial, brim_fence** out);
  void fence_destroy(brim_fence* fence);
  Answer queue_signal(brim_queue* queue, brim_fence* fence, uint64_t value);
  Answer queue_wait(brim_queue* queue, brim_fence* fence, uint64_t value);
  Answer fence_wait(brim_fence* fence, uint64_t value, uint64_t timeout_ns);
  Answer fence_signal(brim_fence* fence, uint64_t value);
  Answer support(brim_device* device, const brim_graph* graph, uint32_t node, uint32_t numerics, brim_support* out);
  Answer state_layout(brim_device* device, const brim_state_desc& state, uint32_t dtype, brim_state_layout* out);
  // Without the slot: the plain layout.
  Answer pack_size(brim_device* device, const brim_graph* graph, brim_value weight, uint64_t* bytes,
                   uint64_t* layout_id);
  Answer pack(brim_queue* queue, uint32_t dtype, const std::vector<uint64_t>& dims, uint64_t layout_id,
              uint64_t first_row, uint64_t n_rows, brim_buffer* src, uint64_t src_offset, brim_buffer* dst,
              uint64_t dst_offset);
  Answer program_measure(brim_device* device, const brim_program_info* info, brim_program_cost* out);
  Answer program_create(brim_device* device, const brim_program_info* info, brim_program** out);
  void program_destroy(brim_program* program);
  Answer program_run(brim_program* program, brim_queue* queue, const brim_run* run);
  Answer state_export(brim_queue* queue, const brim_state_desc& state, const brim_program_state& storage,
                      const std::vector<uint32_t>& blocks, uint64_t first, uint64_t n, uint32_t canonical, void* out);
  Answer state_import(brim_queue* queue, const brim_state_desc& state, const brim_program_state& storage,
                      const std::vector<uint32_t>& blocks, uint64_t first, uint64_t n, uint32_t canonical,
                      const void* in);

 private:
  template <class F>
  Answer make(const char* entry, F&& fn) {
    return call(trial_, entry, std::forward<F>(fn), error_bytes_);
  }
  template <class T, class F>
  Answer ask(const char* entry, T* out, F&& fn);
  template <class T>
  Answer made(const char* entry, Answer answer, T* const* object);
  // Does the plugin fill this slot? A finding and UNSUPPORTED where not.
  template <class Slot>
  bool has(Slot slot, const char* entry, Answer* answer);

  Trial& trial_;
  brim_plugin* plugin_;
  brim_backend table_{};
  std::vector<brim_op_caps> caps_;
  uint32_t error_bytes_ = sizeof(brim_error);
  int32_t growth_ = 24;
  bool counts_runs_ = false;
  os::Counted last_run_;
};

}  // namespace check
