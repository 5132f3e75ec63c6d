#include "failing_plugins.hpp"

#include <brim/architecture.h>
#include <brim/backend.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <tuple>

#include "../support/static_plugins.hpp"
#include "injector.hpp"

namespace brim::test {
namespace {

PluginOrder standing;
std::atomic<bool> armed{false};
std::atomic<uint64_t> calls{0};
std::atomic<const char*> failed{nullptr};

bool fails(const char* function) {
  if (!armed.load(std::memory_order_acquire) || standing.at == 0) return false;
  const uint64_t n = calls.fetch_add(1) + 1;
  if (n != standing.at && !(standing.for_ever && n > standing.at)) return false;
  const char* none = nullptr;
  failed.compare_exchange_strong(none, function);
  return true;
}

void say(brim_error* error) {
  if (!error) return;
  error->code = standing.status;
  error->message[0] = '\0';
  if (standing.words == Words::kUsual) std::snprintf(error->message, sizeof(error->message), "%s", kPluginSays);
  if (standing.words == Words::kGarbage) std::memset(error->message, 0xF0, sizeof(error->message));
}

// ---- the backend

template <size_t N>
struct Name {
  char text[N];
  constexpr Name(const char (&given)[N]) { std::copy_n(given, N, text); }
};

brim_backend backend, failing_backend;

// Slot's function with the gate before it.
template <Name name, auto Slot, class Function>
struct Gate;
template <Name name, auto Slot, class... Args>
struct Gate<name, Slot, brim_status(BRIM_CALL*)(Args...)> {
  static brim_status BRIM_CALL call(Args... args) {
    const Outside outside;
    if (fails(name.text)) {
      say(std::get<sizeof...(Args) - 1>(std::tuple(args...)));
      return standing.status;
    }
    return (backend.*Slot)(args...);
  }
};
template <Name name, auto Slot, class... Args>
struct Gate<name, Slot, void(BRIM_CALL*)(Args...)> {
  static void BRIM_CALL call(Args... args) {
    const Outside outside;
    (backend.*Slot)(args...);
  }
};

template <Name name, auto Slot>
void put_gate() {
  using Function = std::remove_reference_t<decltype(backend.*Slot)>;
  if (backend.*Slot) failing_backend.*Slot = Gate<name, Slot, Function>::call;
}

const void* BRIM_CALL async_interface(brim_plugin* plugin, brim_str id) {
  const auto* real = static_cast<const brim_backend*>(brim_query_async(BRIM_ABI_MAJOR)->get_interface(plugin, id));
  if (!real) return nullptr;
  backend = failing_backend = *real;
  put_gate<"device_count", &brim_backend::device_count>();
  put_gate<"device_open", &brim_backend::device_open>();
  put_gate<"device_close", &brim_backend::device_close>();
  put_gate<"device_info", &brim_backend::device_info>();
  put_gate<"heap_info", &brim_backend::heap_info>();
  put_gate<"heap_budget", &brim_backend::heap_budget>();
  put_gate<"buffer_alloc", &brim_backend::buffer_alloc>();
  put_gate<"buffer_map", &brim_backend::buffer_map>();
  put_gate<"buffer_free", &brim_backend::buffer_free>();
  put_gate<"queue_create", &brim_backend::queue_create>();
  put_gate<"queue_destroy", &brim_backend::queue_destroy>();
  put_gate<"copy", &brim_backend::copy>();
  put_gate<"fence_create", &brim_backend::fence_create>();
  put_gate<"fence_destroy", &brim_backend::fence_destroy>();
  put_gate<"queue_signal", &brim_backend::queue_signal>();
  put_gate<"queue_wait", &brim_backend::queue_wait>();
  put_gate<"fence_wait", &brim_backend::fence_wait>();
  put_gate<"fence_signal", &brim_backend::fence_signal>();
  put_gate<"support", &brim_backend::support>();
  put_gate<"state_layout", &brim_backend::state_layout>();
  put_gate<"pack_size", &brim_backend::pack_size>();
  put_gate<"pack", &brim_backend::pack>();
  put_gate<"program_measure", &brim_backend::program_measure>();
  put_gate<"program_create", &brim_backend::program_create>();
  put_gate<"program_destroy", &brim_backend::program_destroy>();
  put_gate<"program_run", &brim_backend::program_run>();
  put_gate<"state_export", &brim_backend::state_export>();
  put_gate<"state_import", &brim_backend::state_import>();
  return &failing_backend;
}

brim_status BRIM_CALL create_async(const brim_host_api* api, brim_host* host, const brim_create_info* info,
                                   brim_plugin** out, brim_error* error) {
  const Outside outside;
  if (fails("create")) {
    say(error);
    return standing.status;
  }
  return brim_query_async(BRIM_ABI_MAJOR)->create(api, host, info, out, error);
}

// ---- the architecture: its memory is the library's affair, for it is the tree's own code

brim_architecture architecture, failing_architecture;

brim_status complain(const brim_builder_api* api, brim_builder* builder) {
  brim_error error{};
  say(&error);
  const brim_str words = {error.message, strnlen(error.message, sizeof(error.message))};
  if (standing.words != Words::kNone) api->error(builder, standing.status, words);
  return standing.status;
}

brim_status BRIM_CALL describe(brim_plugin* plugin, const brim_meta_api* api, const brim_meta* meta,
                               const brim_builder_api* builder_api, brim_builder* builder) {
  if (fails("describe")) return complain(builder_api, builder);
  return architecture.describe(plugin, api, meta, builder_api, builder);
}

brim_status BRIM_CALL build(brim_plugin* plugin, const brim_meta_api* api, const brim_meta* meta,
                            const brim_build_info* info, const brim_builder_api* builder_api, brim_builder* builder) {
  if (fails("build")) return complain(builder_api, builder);
  return architecture.build(plugin, api, meta, info, builder_api, builder);
}

const void* BRIM_CALL llama_interface(brim_plugin* plugin, brim_str id) {
  const auto* real = static_cast<const brim_architecture*>(brim_query_llama(BRIM_ABI_MAJOR)->get_interface(plugin, id));
  if (!real) return nullptr;
  architecture = failing_architecture = *real;
  failing_architecture.describe = describe;
  failing_architecture.build = build;
  return &failing_architecture;
}

}  // namespace

void place(const PluginOrder& order) {
  standing = order;
  calls = 0;
  failed = nullptr;
  armed.store(true, std::memory_order_release);
}

const char* withdraw_from_plugins() {
  armed = false;
  return failed;
}

const brim_plugin_header* BRIM_CALL query_failing_async(uint32_t host_major) {
  static const brim_plugin_header header = [host_major] {
    brim_plugin_header h = *brim_query_async(host_major);
    h.create = create_async;
    h.get_interface = async_interface;
    return h;
  }();
  return &header;
}

const brim_plugin_header* BRIM_CALL query_failing_llama(uint32_t host_major) {
  static const brim_plugin_header header = [host_major] {
    brim_plugin_header h = *brim_query_llama(host_major);
    h.get_interface = llama_interface;
    return h;
  }();
  return &header;
}

}  // namespace brim::test
