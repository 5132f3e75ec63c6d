// An instance of the plugin and its memory. Everything hangs off the instance, and lies in memory that the host gave:
// so it is accounted, and what is not given back is found. Several instances live in one process and share nothing.
#pragma once

#include <utility>

#include "contract.hpp"
#include "timeline.hpp"

struct brim_plugin {
  const brim_host_api* api;
  brim_host* host;
  plain::Timeline timeline;
};

namespace plain {

// Host memory, or throws OUT_OF_MEMORY. Asked for 0 bytes it gives NULL.
void* take_memory(brim_plugin* plugin, uint64_t bytes, uint64_t alignment);
void give_memory(brim_plugin* plugin, void* memory, uint64_t bytes, uint64_t alignment) noexcept;

template <class T, class... Args>
T* make(brim_plugin* plugin, Args&&... args) {
  return new (take_memory(plugin, sizeof(T), alignof(T))) T{std::forward<Args>(args)...};
}
template <class T>
void unmake(brim_plugin* plugin, T* object) noexcept {
  object->~T();
  give_memory(plugin, object, sizeof(T), alignof(T));
}

}  // namespace plain
