#include "device/device.hpp"

#include <cstdio>

#include "device/system.hpp"
#include "plugin/settings.hpp"

namespace brim_cpu {
namespace {

template <size_t N>
void set_text(char (&out)[N], std::string_view text) {
  const size_t n = std::min(text.size(), N - 1);
  std::memcpy(out, text.data(), n);
  out[n] = 0;
}

brim_str text_of(const char* text) { return {text, std::strlen(text)}; }

void check_heap(uint32_t heap) {
  if (heap != 0) fail(BRIM_INVALID_ARGUMENT, "the CPU device has one heap, number 0; heap %u was asked for", heap);
}

}  // namespace

brim_device* open_device(brim_plugin* plugin) {
  brim_device* device = make<brim_device>(plugin->api, plugin->host);
  *device = {};
  device->plugin = plugin;
  device->live = true;
  device->threads = plugin->threads;
  processor_name(device->name, sizeof device->name);
  set_text(device->features, kArchitectureText);
  return device;
}

brim_device* describe_device(brim_plugin* plugin, const void* settings, uint32_t n, uint32_t stride) {
  brim_device described{};
  described.plugin = plugin;
  described.threads = plugin->threads;
  set_text(described.name, "described processor");
  set_text(described.features, kArchitectureText);
  constexpr const char* kWhere = "the description of a CPU device";
  each_setting(kWhere, settings, n, stride, {"name", "memory", "bandwidth", "features", "threads", "type"},
               [&](std::string_view key, std::string_view value) {
                 if (key == "name") set_text(described.name, value);
                 if (key == "type" && value != "cpu") fail(BRIM_INVALID_ARGUMENT, "%s: its type is cpu", kWhere);
                 if (key == "features") set_text(described.features, value);
                 if (key == "memory") described.memory = whole_number(kWhere, key, value, 1, UINT64_MAX);
                 if (key == "bandwidth") described.bandwidth = whole_number(kWhere, key, value, 0, UINT64_MAX);
                 if (key == "threads") {
                   described.threads = static_cast<uint32_t>(whole_number(kWhere, key, value, 1, 4096));
                 }
               });
  if (described.memory == 0) fail(BRIM_INVALID_ARGUMENT, "%s needs 'memory', its bytes", kWhere);
  return make<brim_device>(plugin->api, plugin->host, described);
}

void close_device(brim_device* device) noexcept {
  if (device != nullptr) unmake(device->plugin->api, device->plugin->host, device);
}

void fill_device_info(const brim_device* device, brim_device_info* out) {
  brim_device_info info{};
  info.type = BRIM_DEVICE_CPU;
  info.flags = BRIM_DEVICE_SYNCHRONOUS | BRIM_DEVICE_ANY_KV | BRIM_DEVICE_BATCH_INVARIANT;
  if (device->live) info.flags |= BRIM_DEVICE_LIVE;
  info.n_heaps = 1;
  info.max_binding = UINT64_MAX;
  info.name = text_of(device->name);
  info.driver = text_of(kDriverText);
  info.architecture = text_of(device->features);
  answer(out, info);
}

void fill_heap_info(const brim_device* device, uint32_t heap, brim_heap_info* out) {
  check_heap(heap);
  brim_heap_info info{};
  info.flags = BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_COHERENT | BRIM_HEAP_HOST_CACHED | BRIM_HEAP_IMPORT_HOST;
  info.pool_id[0] = BRIM_POOL_SYSTEM;
  info.size = device->live ? system_memory().total : device->memory;
  // Tensors of a GGUF file lie on multiples of 32 bytes, and what misses this is copied out of the mapped file. Kernels
  // read weights at any address.
  info.alignment = 32;
  info.max_alloc = info.size;
  info.read_bandwidth = device->bandwidth;
  info.write_bandwidth = device->bandwidth;
  answer(out, info);
}

uint64_t heap_budget(const brim_device* device, uint32_t heap) {
  check_heap(heap);
  return device->live ? system_memory().available : device->memory;
}

void need_live(const brim_device* device, const char* what) {
  if (device->live) return;
  fail(BRIM_FAILED_PRECONDITION, "%s needs a device that is here; '%s' is only described and answers planning calls",
       what, device->name);
}

brim_buffer* allocate_buffer(brim_device* device, uint32_t heap, uint64_t bytes) {
  need_live(device, "allocating a buffer");
  check_heap(heap);
  brim_plugin* plugin = device->plugin;
  auto* data = static_cast<std::byte*>(plugin->api->alloc(plugin->host, bytes, kBufferAlignment));
  if (data == nullptr && bytes != 0) fail_memory(bytes);
  try {
    return make<brim_buffer>(plugin->api, plugin->host, brim_buffer{device, data, bytes, true, false});
  } catch (...) {
    plugin->api->free(plugin->host, data, bytes, kBufferAlignment);
    throw;
  }
}

brim_buffer* import_buffer(brim_device* device, void* memory, uint64_t bytes, bool read_only) {
  need_live(device, "importing memory");
  if (memory == nullptr && bytes != 0) fail(BRIM_INVALID_ARGUMENT, "buffer_import: memory is NULL");
  brim_plugin* plugin = device->plugin;
  return make<brim_buffer>(plugin->api, plugin->host,
                           brim_buffer{device, static_cast<std::byte*>(memory), bytes, false, read_only});
}

void free_buffer(brim_buffer* buffer) noexcept {
  if (buffer == nullptr) return;
  brim_plugin* plugin = buffer->device->plugin;
  if (buffer->owned) plugin->api->free(plugin->host, buffer->data, buffer->bytes, kBufferAlignment);
  unmake(plugin->api, plugin->host, buffer);
}

std::byte* range_of(const brim_buffer* buffer, uint64_t offset, uint64_t bytes, const char* what) {
  if (buffer == nullptr) fail(BRIM_INVALID_ARGUMENT, "%s: the buffer is NULL", what);
  if (offset > buffer->bytes || bytes > buffer->bytes - offset) {
    fail(BRIM_INVALID_ARGUMENT, "%s: bytes %llu + %llu lie outside a buffer of %llu bytes", what,
         static_cast<unsigned long long>(offset), static_cast<unsigned long long>(bytes),
         static_cast<unsigned long long>(buffer->bytes));
  }
  return buffer->data + offset;
}

}  // namespace brim_cpu
