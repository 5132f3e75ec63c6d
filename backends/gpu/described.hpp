// A GPU that is not here, from a host's description. The keys that every GPU backend takes: name, memory (bytes),
// bandwidth (bytes/s) and type; a backend may take more.
#pragma once

#include "backend.hpp"

namespace brim_gpu {

struct Described {
  char name[200] = "described GPU";
  uint64_t memory = 0, bandwidth = 0;
  bool integrated = false;
};

// Calls more(key, value) for keys of the backend's own; `known` lists all, these four too.
template <class More>
Described read_description(const char* where, const void* settings, uint32_t n, uint32_t stride,
                           std::initializer_list<std::string_view> known, More&& more) {
  Described d;
  each_setting(where, settings, n, stride, known, [&](std::string_view key, std::string_view value) {
    if (key == "name") {
      const size_t size = std::min(value.size(), sizeof d.name - 1);
      std::memcpy(d.name, value.data(), size);
      d.name[size] = 0;
    } else if (key == "memory") {
      d.memory = whole_number(where, key, value, 1, UINT64_MAX);
    } else if (key == "bandwidth") {
      d.bandwidth = whole_number(where, key, value, 0, UINT64_MAX);
    } else if (key == "type") {
      if (value != "integrated" && value != "discrete") {
        fail(BRIM_INVALID_ARGUMENT, "%s: 'type' is '%.*s'; expected integrated or discrete", where,
             detail::shown(value), value.data());
      }
      d.integrated = value == "integrated";
    } else {
      more(key, value);
    }
  });
  if (d.memory == 0) fail(BRIM_INVALID_ARGUMENT, "%s needs 'memory', its bytes", where);
  return d;
}

// A handle on a device of its own that nothing is behind, with the description's name and bandwidth.
template <class Handle, class Device, class Plugin>
Handle* make_described(Plugin* plugin, const Described& described) {
  Handle* handle = make<Handle>(plugin->memory, Handle{nullptr});
  try {
    handle->shared = make<Device>(plugin->memory, plugin);
  } catch (...) {
    unmake(plugin->memory, handle);
    throw;
  }
  Device* d = handle->shared;
  d->handles = 1;
  d->bandwidth = described.bandwidth;
  std::snprintf(d->name, sizeof d->name, "%s", described.name);
  std::snprintf(d->driver, sizeof d->driver, "described");
  return handle;
}

// FAILED_PRECONDITION for what wants a device that is here.
[[noreturn]] inline void refuse_described(const char* name) {
  fail(BRIM_FAILED_PRECONDITION, "%s is described and not here: it answers questions of planning only", name);
}

}  // namespace brim_gpu
