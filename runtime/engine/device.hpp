// A device at work: RAII over the handles of a backend, and the one queue and timeline that the engine drives it with.
// Every call throws what the backend reports, with the device's name in front.
#pragma once

#include <brim/backend.h>

#include <base/error.hpp>
#include <memory>
#include <topology/topology.hpp>

namespace brim::engine {

struct FreeBuffer {
  const brim_backend* api;
  void operator()(brim_buffer* buffer) const noexcept { api->buffer_free(buffer); }
};
using Buffer = std::unique_ptr<brim_buffer, FreeBuffer>;

struct DestroyProgram {
  const brim_backend* api;
  void operator()(brim_program* program) const noexcept { api->program_destroy(program); }
};
using Program = std::unique_ptr<brim_program, DestroyProgram>;

class Device {
 public:
  // `device` outlives this.
  explicit Device(const topology::Device& device);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const topology::Device& info() const { return device_; }
  const brim_backend& api() const { return device_.backend->api; }
  brim_device* handle() const { return device_.handle.get(); }
  brim_queue* queue() const { return queue_; }

  Buffer allocate(uint32_t heap, uint64_t bytes);  // 0 bytes: no buffer
  void give_back(Buffer& buffer, uint64_t bytes);  // before the device goes; `bytes` as allocated
  // The caller's memory in place; read-only unless `write`.
  Buffer import(const void* memory, uint64_t bytes, bool write = false);
  void* map(brim_buffer* buffer);  // of a host-visible heap
  // Bytes that allocate() has given and that live, now and at most, for the books.
  uint64_t allocated() const { return allocated_; }
  uint64_t most_allocated() const { return most_allocated_; }

  void copy(brim_buffer* to, uint64_t to_offset, brim_buffer* from, uint64_t from_offset, uint64_t bytes);
  Program create(const brim_program_info& info);
  // Returns CANCELLED, throws everything else that is not OK.
  brim_status run(brim_program* program, const brim_run& run);
  // The timeline's value once everything submitted so far has been done, and the wait for it.
  uint64_t mark();
  void wait(uint64_t mark);
  void finish() {
    wait(mark());
    busy_ = false;
  }
  // The same where something was submitted since the last finish() that succeeded.
  void settle() {
    if (busy_) finish();
  }
  // Waits for what is under way whatever fails, so that buffers and programs can go; nothing can be submitted
  // afterwards.
  void stop() noexcept;

  void check(brim_status status, const brim_error& error, const char* doing) const;

 private:
  const topology::Device& device_;
  brim_queue* queue_ = nullptr;
  brim_fence* fence_ = nullptr;
  uint64_t submitted_ = 0;  // the timeline's last value
  uint64_t allocated_ = 0, most_allocated_ = 0;
  bool busy_ = false;
};

}  // namespace brim::engine
