#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <base/error.hpp>
#include <base/memory.hpp>
#include <cstring>
#include <loader/plugin.hpp>
#include <utility>

// What a plugin's calls into the host find: one per instance.
struct brim_host {
  std::string id;
  brim::Log log;
  std::shared_ptr<brim::Team> team;
  std::atomic<int64_t> bytes{0};
  std::atomic<int64_t> blocks{0};
};

namespace brim::loader {
namespace {

// ---- the host's services; nothing throws out of them

void* BRIM_CALL host_api_alloc(brim_host* host, uint64_t bytes, uint64_t alignment) {
  if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > 4096) {
    host->log.write(BRIM_LOG_PLUGIN_MISUSE, host->id,
                    "alloc: the alignment must be a power of two, at most 4096; NULL was given");
    return nullptr;
  }
  if (bytes > SIZE_MAX) return nullptr;
  try {
    void* const block = host_alloc(static_cast<size_t>(bytes), static_cast<size_t>(alignment));
    host->bytes.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    host->blocks.fetch_add(1, std::memory_order_relaxed);
    return block;
  } catch (...) {
    return nullptr;
  }
}

void BRIM_CALL host_api_free(brim_host* host, void* block, uint64_t bytes, uint64_t) {
  if (!block) return;
  host_free(block);
  host->bytes.fetch_sub(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  host->blocks.fetch_sub(1, std::memory_order_relaxed);
}

void BRIM_CALL host_api_log(brim_host* host, uint32_t level, brim_str message) {
  host->log.write(level, host->id, view(message));
}

uint32_t BRIM_CALL host_api_team_run(brim_host* host, uint32_t want, brim_task_fn fn, void* arg) {
  return host->team->run(want, fn, arg);
}

uint32_t BRIM_CALL host_api_team_size(brim_host* host) { return host->team->size(); }

const void* BRIM_CALL host_api_get_interface(brim_host*, brim_str) { return nullptr; }

constexpr brim_host_api make_host_api() {
  brim_host_api api{};
  api.struct_size = sizeof(brim_host_api);
  api.abi_minor = BRIM_ABI_MINOR;
  api.alloc = host_api_alloc;
  api.free = host_api_free;
  api.log = host_api_log;
  api.team_run = host_api_team_run;
  api.team_size = host_api_team_size;
  api.get_interface = host_api_get_interface;
  return api;
}
constexpr brim_host_api kHostApi = make_host_api();

// ---- interfaces

// min(theirs, own) bytes into a zeroed struct of this host's size.
template <class T>
T copy_struct(const T* theirs) {
  T own{};
  std::memcpy(&own, theirs, std::min<size_t>(theirs->struct_size, sizeof(T)));
  own.struct_size = sizeof(T);
  return own;
}

template <class T>
T fetch_interface(const Plugin& plugin, std::string_view name) {
  const void* const answer = plugin.get_interface(name);
  if (!answer)
    fail(BRIM_INCOMPATIBLE, "plugin '{}' {} offers no interface \"{}\"; tell its author", plugin.id(), plugin.version(),
         name);
  const T* const theirs = static_cast<const T*>(answer);
  if (theirs->struct_size < sizeof(uint32_t))
    fail(BRIM_DATA_CORRUPT, "plugin '{}': its interface \"{}\" says that it has {} bytes; it is damaged", plugin.id(),
         name, theirs->struct_size);
  return copy_struct(theirs);
}

[[noreturn]] void fail_slot(const Plugin& plugin, std::string_view interface, std::string_view slot,
                            std::string_view because) {
  fail(BRIM_INCOMPATIBLE, "plugin '{}' {}: the required function '{}' of \"{}\" is NULL{}; tell its author",
       plugin.id(), plugin.version(), slot, interface, because);
}

void report_leak(const brim_host& host, std::string_view when) noexcept {
  const int64_t bytes = host.bytes, blocks = host.blocks;
  if (bytes == 0 && blocks == 0) return;
  try {
    host.log.write(BRIM_LOG_PLUGIN_MISUSE, host.id,
                   fmt::format("{} and left {} bytes in {} blocks of host memory behind", when, bytes, blocks));
  } catch (...) {
    // No memory for a message about memory: the leak stays unsaid.
  }
}

}  // namespace

Plugin::Plugin(const brim_plugin_header& header, std::string directory, const Settings& settings, Log log,
               std::shared_ptr<Team> team)
    : id_(view(header.id)),
      version_(view(header.version)),
      license_(view(header.license)),
      directory_(std::move(directory)),
      header_(copy_struct(&header)),
      host_(std::make_unique<brim_host>()) {
  host_->id = id_;
  host_->log = std::move(log);
  host_->team = std::move(team);

  std::vector<brim_setting> list;
  list.reserve(settings.size());
  for (const auto& [key, value] : settings) {
    brim_setting& setting = list.emplace_back();
    setting.key = str(key);
    setting.value = str(value);
  }
  brim_create_info info{};
  info.struct_size = sizeof(info);
  info.n_settings = static_cast<uint32_t>(list.size());
  info.settings = list.empty() ? nullptr : list.data();
  info.setting_stride = sizeof(brim_setting);
  info.directory = str(directory_);
  brim_error error = empty_error();
  const brim_status status = header_.create(&kHostApi, host_.get(), &info, &instance_, &error);
  // Words are put together only where they are needed: nothing may throw between a create() that worked and the end.
  if (status != BRIM_OK) {
    report_leak(*host_, "failed to start");
    check(status, error, fmt::format("plugin '{}' {} failed to start", id_, version_));
  }
  if (!instance_)
    fail(BRIM_INCOMPATIBLE, "plugin '{}' {}: create() answered OK and gave no instance; tell its author", id_,
         version_);
}

Plugin::~Plugin() {
  header_.destroy(instance_);
  report_leak(*host_, "was destroyed");
}

const void* Plugin::get_interface(std::string_view name) const { return header_.get_interface(instance_, str(name)); }

uint64_t Plugin::host_bytes() const { return static_cast<uint64_t>(std::max<int64_t>(0, host_->bytes)); }
uint64_t Plugin::host_blocks() const { return static_cast<uint64_t>(std::max<int64_t>(0, host_->blocks)); }

Backend connect_backend(std::shared_ptr<Plugin> plugin) {
  constexpr std::string_view kName = BRIM_BACKEND_INTERFACE;
  Backend backend;
  backend.api = fetch_interface<brim_backend>(*plugin, kName);
  const brim_backend& api = backend.api;
  const std::pair<const char*, bool> required[] = {{"device_count", api.device_count},
                                                   {"device_open", api.device_open},
                                                   {"device_close", api.device_close},
                                                   {"device_info", api.device_info},
                                                   {"heap_info", api.heap_info},
                                                   {"heap_budget", api.heap_budget},
                                                   {"buffer_alloc", api.buffer_alloc},
                                                   {"buffer_map", api.buffer_map},
                                                   {"buffer_free", api.buffer_free},
                                                   {"queue_create", api.queue_create},
                                                   {"queue_destroy", api.queue_destroy},
                                                   {"copy", api.copy},
                                                   {"fence_create", api.fence_create},
                                                   {"fence_destroy", api.fence_destroy},
                                                   {"queue_signal", api.queue_signal},
                                                   {"queue_wait", api.queue_wait},
                                                   {"fence_wait", api.fence_wait},
                                                   {"fence_signal", api.fence_signal},
                                                   {"support", api.support},
                                                   {"program_measure", api.program_measure},
                                                   {"program_create", api.program_create},
                                                   {"program_destroy", api.program_destroy},
                                                   {"program_run", api.program_run}};
  for (const auto& [slot, present] : required)
    if (!present) fail_slot(*plugin, kName, slot, "");

  if (api.n_caps != 0 && (!api.caps || !BRIM_ELEM_HAS(api.caps_stride, brim_op_caps, features)))
    fail(BRIM_DATA_CORRUPT,
         "plugin '{}' {}: its table of ops has {} entries at {} with a stride of {} bytes, expected at "
         "least {}; tell its author",
         plugin->id(), plugin->version(), api.n_caps, api.caps, api.caps_stride,
         BRIM_SIZE_THROUGH(brim_op_caps, features));
  bool has_states = false;
  for (uint32_t i = 0; i < api.n_caps; ++i) {
    brim_op_caps caps{};
    std::memcpy(&caps, BRIM_ELEM(brim_op_caps, api.caps, api.caps_stride, i),
                std::min<size_t>(api.caps_stride, sizeof(caps)));
    backend.caps.push_back(caps);
    has_states = has_states || caps.op == BRIM_OP_KV_WRITE || caps.op == BRIM_OP_ATTENTION ||
                 caps.op == BRIM_OP_CAUSAL_CONV1D || caps.op == BRIM_OP_SSM_SCAN || caps.op == BRIM_OP_LINEAR_ATTENTION;
  }
  if (has_states && !api.state_layout) fail_slot(*plugin, kName, "state_layout", ", but its ops keep states");
  if (api.state_layout && !api.state_export) fail_slot(*plugin, kName, "state_export", ", but state_layout is there");
  if (api.state_layout && !api.state_import) fail_slot(*plugin, kName, "state_import", ", but state_layout is there");
  if (api.pack_size && !api.pack) fail_slot(*plugin, kName, "pack", ", but pack_size is there");
  backend.plugin = std::move(plugin);
  return backend;
}

Architecture connect_architecture(std::shared_ptr<Plugin> plugin) {
  constexpr std::string_view kName = BRIM_ARCHITECTURE_INTERFACE;
  Architecture architecture;
  architecture.api = fetch_interface<brim_architecture>(*plugin, kName);
  const brim_architecture& api = architecture.api;
  if (!api.match) fail_slot(*plugin, kName, "match", "");
  if (!api.describe) fail_slot(*plugin, kName, "describe", "");
  if (!api.build) fail_slot(*plugin, kName, "build", "");
  architecture.plugin = std::move(plugin);
  return architecture;
}

}  // namespace brim::loader
