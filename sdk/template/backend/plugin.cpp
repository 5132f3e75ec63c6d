// The handshake: the one exported function, the constant header that it answers with, and the making of an instance.
#include "plugin.hpp"

#include "device.hpp"
#include "table.hpp"

namespace plain {

void* take_memory(brim_plugin* plugin, uint64_t bytes, uint64_t alignment) {
  if (bytes == 0) return nullptr;
  void* memory = plugin->api->alloc(plugin->host, bytes, alignment);
  if (memory == nullptr) fail_memory(bytes, system_memory().available);
  return memory;
}

void give_memory(brim_plugin* plugin, void* memory, uint64_t bytes, uint64_t alignment) noexcept {
  plugin->api->free(plugin->host, memory, bytes, alignment);
}

namespace {

// This backend has no settings, so every one is a mistake in [backend."org.example.plain"] and is told by name.
void refuse_settings(const brim_create_info& info) {
  if (info.n_settings == 0) return;
  const auto setting = element<brim_setting>(info.settings, 0, info.setting_stride);
  fail(BRIM_INVALID_ARGUMENT, "the plain backend has no settings; found '%.*s': remove it from the configuration",
       static_cast<int>(std::min<uint64_t>(setting.key.len, 80)), setting.key.ptr);
}

brim_status BRIM_CALL create(const brim_host_api* api, brim_host* host, const brim_create_info* info, brim_plugin** out,
                             brim_error* error) {
  return guard(error, [&] {
    refuse_settings(taken(info));
    void* memory = api->alloc(host, sizeof(brim_plugin), alignof(brim_plugin));
    if (memory == nullptr) fail_memory(sizeof(brim_plugin), system_memory().available);
    *out = new (memory) brim_plugin{api, host, {}};
  });
}

void BRIM_CALL destroy(brim_plugin* plugin) {
  if (plugin == nullptr) return;
  const brim_host_api* api = plugin->api;
  brim_host* host = plugin->host;
  plugin->~brim_plugin();
  api->free(host, plugin, sizeof(brim_plugin), alignof(brim_plugin));
}

constexpr brim_str text(const char* s) { return {s, std::char_traits<char>::length(s)}; }

const void* BRIM_CALL get_interface(brim_plugin*, brim_str id) {
  constexpr brim_str mine = text(BRIM_BACKEND_INTERFACE);
  return id.len == mine.len && std::memcmp(id.ptr, mine.ptr, mine.len) == 0 ? &backend_table() : nullptr;
}

// A sanitized plugin in a host without that sanitizer would not work: the host reads this and refuses it with words.
constexpr uint32_t kBuildFlags = 0
#if defined(__SANITIZE_ADDRESS__)
                                 | BRIM_BUILD_ASAN
#endif
#if defined(__SANITIZE_THREAD__)
                                 | BRIM_BUILD_TSAN
#endif
#if !defined(NDEBUG)
                                 | BRIM_BUILD_DEBUG
#endif
    ;

constexpr brim_plugin_header kHeader = {BRIM_PLUGIN_MAGIC,
                                        sizeof(brim_plugin_header),
                                        BRIM_ABI_MAJOR,
                                        BRIM_ABI_MINOR,
                                        PLAIN_MIN_MINOR,
                                        BRIM_KIND_BACKEND,
                                        kBuildFlags,
                                        0,
                                        text(PLAIN_ID),
                                        text(PLAIN_VERSION),
                                        text("Apache-2.0"),
                                        create,
                                        destroy,
                                        get_interface};

}  // namespace
}  // namespace plain

// One header for every major that a host may ask for: the host compares the numbers and says what does not fit.
extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) { return &plain::kHeader; }
