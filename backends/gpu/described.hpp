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
             static_cast<int>(std::min<size_t>(value.size(), 80)), value.data());
      }
      d.integrated = value == "integrated";
    } else {
      more(key, value);
    }
  });
  if (d.memory == 0) fail(BRIM_INVALID_ARGUMENT, "%s needs 'memory', its bytes", where);
  return d;
}

}  // namespace brim_gpu
