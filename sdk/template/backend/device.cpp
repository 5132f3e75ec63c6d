#include "device.hpp"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#endif

namespace plain {
namespace {

void check_heap(uint32_t heap) {
  if (heap != 0) fail(BRIM_INVALID_ARGUMENT, "the plain device has one heap, number 0; heap %u was asked for", heap);
}

}  // namespace

#if defined(_WIN32)
SystemMemory system_memory() noexcept {
  MEMORYSTATUSEX status = {};
  status.dwLength = sizeof status;
  if (GlobalMemoryStatusEx(&status) == 0) return {};
  return {status.ullTotalPhys, status.ullAvailPhys};
}
#else
// MemAvailable is the kernel's own estimate of what can be had; free memory alone would leave out what caches hold.
SystemMemory system_memory() noexcept {
  char text[2048];
  const int file = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  const ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0) return {};
  text[got] = '\0';
  const auto field = [&](const char* name) {
    const char* at = std::strstr(text, name);
    return at == nullptr ? 0 : std::strtoull(at + std::strlen(name), nullptr, 10) * 1024;  // it is in kB
  };
  return {field("MemTotal:"), field("MemAvailable:")};
}
#endif

void fill_device_info(brim_device_info* out) {
  static constexpr char kName[] = "plain processor", kDriver[] = "plain " PLAIN_VERSION, kIsa[] = "scalar";
  brim_device_info info{};
  info.type = BRIM_DEVICE_CPU;
  // SYNCHRONOUS: work is done when the call returns. ANY_KV: nothing is sized by a bucket's n_kv. BATCH_INVARIANT: each
  // row is computed by itself, in one fixed order; claim it only where that is true to the bit.
  info.flags = BRIM_DEVICE_LIVE | BRIM_DEVICE_SYNCHRONOUS | BRIM_DEVICE_ANY_KV | BRIM_DEVICE_BATCH_INVARIANT;
  info.n_heaps = 1;
  info.max_binding = UINT64_MAX;  // else: larger values come in pieces
  info.name = {kName, sizeof kName - 1};
  info.driver = {kDriver, sizeof kDriver - 1};
  info.architecture = {kIsa, sizeof kIsa - 1};
  answer(out, info);
}

void fill_heap_info(uint32_t heap, brim_heap_info* out) {
  check_heap(heap);
  brim_heap_info info{};
  info.flags = BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_COHERENT | BRIM_HEAP_HOST_CACHED | BRIM_HEAP_IMPORT_HOST;
  info.pool_id[0] = BRIM_POOL_SYSTEM;  // one budget with every other heap in system memory, whoever's it is
  info.size = system_memory().total;
  info.max_alloc = info.size;
  info.alignment = kAlignment;
  answer(out, info);
}

uint64_t heap_budget(uint32_t heap) {
  check_heap(heap);
  return system_memory().available;
}

brim_buffer* allocate_buffer(brim_device* device, uint32_t heap, uint64_t bytes) {
  check_heap(heap);
  brim_plugin* plugin = device->plugin;
  auto* data = static_cast<std::byte*>(take_memory(plugin, bytes, kAlignment));
  try {
    return make<brim_buffer>(plugin, device, data, bytes, true, false);
  } catch (...) {  // what was half made is given back
    give_memory(plugin, data, bytes, kAlignment);
    throw;
  }
}

brim_buffer* import_buffer(brim_device* device, void* memory, uint64_t bytes, bool read_only) {
  if (memory == nullptr && bytes != 0) fail(BRIM_INVALID_ARGUMENT, "buffer_import: memory is NULL");
  return make<brim_buffer>(device->plugin, device, static_cast<std::byte*>(memory), bytes, false, read_only);
}

void free_buffer(brim_buffer* buffer) noexcept {
  if (buffer == nullptr) return;
  brim_plugin* plugin = buffer->device->plugin;
  if (buffer->owned) give_memory(plugin, buffer->data, buffer->bytes, kAlignment);
  unmake(plugin, buffer);
}

std::byte* range_of(const brim_buffer* buffer, uint64_t offset, uint64_t bytes, const char* what) {
  if (buffer == nullptr) fail(BRIM_INVALID_ARGUMENT, "%s: the buffer is NULL", what);
  if (offset > buffer->bytes || bytes > buffer->bytes - offset) {
    fail(BRIM_INVALID_ARGUMENT, "%s: %llu bytes from %llu on lie outside of a buffer of %llu bytes", what,
         static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(offset),
         static_cast<unsigned long long>(buffer->bytes));
  }
  return buffer->data + offset;
}

std::byte* writable_range_of(const brim_buffer* buffer, uint64_t offset, uint64_t bytes, const char* what) {
  std::byte* at = range_of(buffer, offset, bytes, what);
  if (buffer->read_only) fail(BRIM_INVALID_ARGUMENT, "%s: the buffer is read-only memory", what);
  return at;
}

}  // namespace plain
