// The plugin's entry: the constant header, and making and freeing an instance.
#include "brim/plugin.h"

#include <algorithm>
#include <string>

#include "brim/backend.h"
#include "device/instance.hpp"
#include "plugin/memory.hpp"
#include "plugin/settings.hpp"

namespace brim_cpu {

const char kVersionText[] = BRIM_CPU_VERSION;
const char kDriverText[] = BRIM_CPU_LIBRARY " " BRIM_CPU_VERSION;
const char kArchitectureText[] = BRIM_CPU_ARCHITECTURE;

brim_status create_instance(const brim_host_api* api, brim_host* host, const brim_create_info* info, brim_plugin** out,
                            brim_error* error) {
  return guard(error, [&] {
    uint32_t threads = std::max(1u, api->team_size(host));
    if (info != nullptr) {
      each_setting("the CPU backend", info->settings, info->n_settings, info->setting_stride, {"threads"},
                   [&](std::string_view key, std::string_view value) {
                     const uint64_t wanted = whole_number("the CPU backend", key, value, 1, 4096);
                     threads = std::min(threads, static_cast<uint32_t>(wanted));
                   });
    }
    *out = make<brim_plugin>(api, host, api, host, threads);
  });
}

void destroy_instance(brim_plugin* plugin) {
  if (plugin != nullptr) unmake(plugin->api, plugin->host, plugin);
}

namespace {

const void* BRIM_CALL get_interface(brim_plugin*, brim_str id) {
  return view(id) == BRIM_BACKEND_INTERFACE ? &backend_table() : nullptr;
}

brim_status BRIM_CALL create(const brim_host_api* api, brim_host* host, const brim_create_info* info, brim_plugin** out,
                             brim_error* error) {
  return create_instance(api, host, info, out, error);
}

void BRIM_CALL destroy(brim_plugin* plugin) { destroy_instance(plugin); }

constexpr brim_str text(const char* s) { return {s, std::char_traits<char>::length(s)}; }

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

constexpr brim_plugin_header kHeader = {BRIM_PLUGIN_MAGIC,
                                        sizeof(brim_plugin_header),
                                        BRIM_ABI_MAJOR,
                                        BRIM_ABI_MINOR,
                                        1,
                                        BRIM_KIND_BACKEND,
                                        build_flags(),
                                        0,
                                        text("brim.cpu"),
                                        text(BRIM_CPU_VERSION),
                                        text("Apache-2.0"),
                                        create,
                                        destroy,
                                        get_interface};

}  // namespace
}  // namespace brim_cpu

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) { return &brim_cpu::kHeader; }
