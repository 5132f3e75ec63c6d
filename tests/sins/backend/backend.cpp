// The saint: a small clean backend of plain loops, or, where the file says so, a sinner of sins.hpp. It has one device
// with memory of its own and eleven ops, decodes a Llama or runs a causal convolution, and is here to be checked, not
// to be fast.
#include <charconv>
#include <cstdlib>

#include "program.hpp"

namespace saint {
namespace {

const brim_backend kTable = [] {
  brim_backend b{};
  b.struct_size = sizeof b;
  b.n_caps = std::size(kCaps);
  b.caps_stride = sizeof kCaps[0];
  b.caps = kCaps;
  b.device_count = device_count;
  b.device_open = device_open;
  b.device_close = device_close;
  b.device_info = device_info;
  b.heap_info = heap_info;
  b.heap_budget = heap_budget;
  b.buffer_alloc = buffer_alloc;
  b.buffer_map = buffer_map;
  b.buffer_free = buffer_free;
  b.queue_create = queue_create;
  b.queue_destroy = queue_destroy;
  b.copy = copy;
  b.fence_create = fence_create;
  b.fence_destroy = fence_destroy;
  b.queue_signal = queue_signal;
  b.queue_wait = queue_wait;
  b.fence_wait = fence_wait;
  b.fence_signal = fence_signal;
  b.support = support;
  b.state_layout = state_layout;
  b.program_measure = program_measure;
  b.program_create = program_create;
  b.program_destroy = program_destroy;
  b.program_run = program_run;
  b.state_export = state_export;
  b.state_import = state_import;
  return b;
}();

brim_status BRIM_CALL create(const brim_host_api* api, brim_host* host, const brim_create_info* theirs,
                             brim_plugin** out, brim_error* error) {
  const brim_create_info info = read(theirs);
  uint64_t lost_at = 0;
  for (uint32_t i = 0; i < info.n_settings && !sins::unknown_setting_taken; ++i) {
    const auto setting = element<brim_setting>(info.settings, info.setting_stride, i);
    const std::string_view key = view(setting.key), value = view(setting.value);
    const auto shown = [](std::string_view text) { return static_cast<int>(std::min<size_t>(text.size(), 80)); };
    if (key != "lost_at") {
      return fail(error, BRIM_INVALID_ARGUMENT, "there is no setting '%.*s'; the only one is 'lost_at'", shown(key),
                  key.data());
    }
    const auto [end, trouble] = std::from_chars(value.data(), value.data() + value.size(), lost_at);
    if (trouble != std::errc() || end != value.data() + value.size()) {
      return fail(error, BRIM_INVALID_ARGUMENT, "lost_at is '%.*s'; expected a whole number", shown(value),
                  value.data());
    }
  }
  if (sins::reads_the_environment && std::getenv("SAINT_THREADS") != nullptr) return BRIM_OK;
  const Services services{read(api), host};
  void* memory = services.take(sizeof(brim_plugin));
  if (memory == nullptr) return fail_memory(error, sizeof(brim_plugin), 0, "no host memory for an instance");
  *out = last_instance = new (memory) brim_plugin(api, host);
  (*out)->lost_at = lost_at;
  return BRIM_OK;
}

void BRIM_CALL destroy(brim_plugin* plugin) {
  if (last_instance == plugin) last_instance = nullptr;
  const Services services = plugin->services;
  plugin->~brim_plugin();
  if (!sins::leak_per_instance) services.give_back(plugin, sizeof(brim_plugin));
}

const void* BRIM_CALL get_interface(brim_plugin*, brim_str id) {
  const std::string_view name = BRIM_BACKEND_INTERFACE;
  if (sins::interface_by_its_beginning) return view(id).substr(0, name.size()) == name ? &kTable : nullptr;
  return view(id) == name ? &kTable : nullptr;
}

uint32_t build_flags() {
  uint32_t flags = sins::false_build_flags ? BRIM_BUILD_ASAN : 0;
#if defined(__SANITIZE_ADDRESS__)
  flags ^= BRIM_BUILD_ASAN;
#endif
#if defined(__SANITIZE_THREAD__)
  flags |= BRIM_BUILD_TSAN;
#endif
  return flags;
}

const brim_plugin_header kHeader = {BRIM_PLUGIN_MAGIC,
                                    sizeof(brim_plugin_header),
                                    BRIM_ABI_MAJOR,
                                    BRIM_ABI_MINOR,
                                    1,
                                    BRIM_KIND_BACKEND,
                                    build_flags(),
                                    0,
                                    text("test.saint"),
                                    text("1.2.3"),
                                    text("Apache-2.0"),
                                    create,
                                    destroy,
                                    get_interface};

}  // namespace

inline void* volatile kept = nullptr;  // for sins::query_has_effects alone

}  // namespace saint

// Exported where exporting.map is the version script.
extern "C" BRIM_EXPORT int saint_helper(void) { return 0; }

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t major) {
  static brim_plugin_header liar = saint::kHeader;
  if (sins::claims_every_major) {
    liar.major = major;
    return &liar;
  }
  if (sins::query_has_effects && std::getenv("SAINT") == nullptr) saint::kept = std::malloc(64);
  return &saint::kHeader;
}
