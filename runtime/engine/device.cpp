#include <algorithm>
#include <engine/device.hpp>

namespace brim::engine {

Device::Device(const topology::Device& device) : device_(device) {
  brim_error error = empty_error();
  check(api().queue_create(handle(), nullptr, &queue_, &error), error, "creating a queue");
  const brim_status status = api().fence_create(handle(), 0, &fence_, &error);
  if (status != BRIM_OK) api().queue_destroy(queue_);
  check(status, error, "creating a fence");
}

Device::~Device() {
  stop();
  api().fence_destroy(fence_);
}

void Device::stop() noexcept {
  if (queue_) api().queue_destroy(queue_);
  queue_ = nullptr;
}

void Device::check(brim_status status, const brim_error& error, const char* doing) const {
  if (status != BRIM_OK) brim::check(status, error, fmt::format("{}: {}", device_.name, doing));
}

Buffer Device::allocate(uint32_t heap, uint64_t bytes) {
  if (bytes == 0) return Buffer(nullptr, {&api()});
  brim_buffer* buffer = nullptr;
  brim_error error = empty_error();
  check(api().buffer_alloc(handle(), heap, bytes, &buffer, &error), error, "allocating memory");
  allocated_ += bytes;
  most_allocated_ = std::max(most_allocated_, allocated_);
  return Buffer(buffer, {&api()});
}

void Device::give_back(Buffer& buffer, uint64_t bytes) {
  if (!buffer) return;
  buffer.reset();
  allocated_ -= bytes;
}

Buffer Device::import(const void* memory, uint64_t bytes, bool write) {
  brim_buffer* buffer = nullptr;
  brim_error error = empty_error();
  check(api().buffer_import(handle(), const_cast<void*>(memory), bytes, !write, &buffer, &error), error,
        write ? "importing another device's memory" : "importing the mapped file (load = read does without)");
  return Buffer(buffer, {&api()});
}

void* Device::map(brim_buffer* buffer) {
  void* memory = nullptr;
  brim_error error = empty_error();
  check(api().buffer_map(buffer, &memory, &error), error, "mapping a buffer");
  return memory;
}

void Device::copy(brim_buffer* to, uint64_t to_offset, brim_buffer* from, uint64_t from_offset, uint64_t bytes) {
  brim_error error = empty_error();
  busy_ = true;
  check(api().copy(queue_, to, to_offset, from, from_offset, bytes, &error), error, "copying");
}

Program Device::create(const brim_program_info& info) {
  brim_program* program = nullptr;
  brim_error error = empty_error();
  check(api().program_create(handle(), &info, &program, &error), error, "compiling a program");
  return Program(program, {&api()});
}

brim_status Device::run(brim_program* program, const brim_run& run) {
  brim_error error = empty_error();
  busy_ = true;
  const brim_status status = api().program_run(program, queue_, &run, &error);
  if (status != BRIM_CANCELLED) check(status, error, "running a step");
  return status;
}

uint64_t Device::mark() {
  brim_error error = empty_error();
  check(api().queue_signal(queue_, fence_, ++submitted_, &error), error, "submitting a fence");
  return submitted_;
}

void Device::wait(uint64_t mark) {
  brim_error error = empty_error();
  check(api().fence_wait(fence_, mark, UINT64_MAX, &error), error, "waiting for the device");
}

}  // namespace brim::engine
