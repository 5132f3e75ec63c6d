// One live instance of the plugin: its host, its settings, and the hub through which its fences meet.
#pragma once

#include "brim/backend.h"
#include "device/timeline.hpp"

struct brim_plugin {
  const brim_host_api* api;
  brim_host* host;
  uint32_t threads;  // most team members of a program
  brim_cpu::Hub hub;

  brim_plugin(const brim_host_api* host_api, brim_host* of, uint32_t n) : api(host_api), host(of), threads(n) {}
};

namespace brim_cpu {

// The build's own words: "x86-64 avx2 fma f16c bmi2" and "libbrim-cpu-avx2 0.1.0".
extern const char kArchitectureText[];
extern const char kDriverText[];
extern const char kVersionText[];

brim_status create_instance(const brim_host_api* api, brim_host* host, const brim_create_info* info, brim_plugin** out,
                            brim_error* error);
void destroy_instance(brim_plugin* plugin);

// The constant brim.backend/1 table.
const brim_backend& backend_table();

}  // namespace brim_cpu
