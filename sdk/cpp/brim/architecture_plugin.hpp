// The plugin edge of an architecture: everything between brim_plugin_query and three plain C++ functions. An author
// writes a struct
//
//   struct MyFamily {
//     static constexpr std::string_view kId = "com.example.myfamily", kVersion = "1.0.0", kLicense = "MIT";
//     static uint32_t match(const Meta&);                                            // 0 .. 100
//     static void describe(const Meta&, Description&);
//     static void build(const Meta&, const brim_build_info&, Graph&);
//   };
//   extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) {
//     return brim::arch::plugin_header<MyFamily>();
//   }
//
// and nothing else. What they throw becomes a status here. An architecture is pure: it has no settings and no state.
#pragma once

#include <brim/architecture.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "failure.hpp"
#include "graph.hpp"
#include "meta.hpp"

namespace brim::arch {

namespace edge {

// What there is instead of an instance: how to give back its own memory.
struct Instance {
  const brim_host_api* api;
  brim_host* host;
};

inline constexpr uint32_t kBuildFlags = 0
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

inline constexpr brim_str constant(std::string_view text) { return {text.data(), text.size()}; }

inline brim_status refuse(brim_error* error, brim_status code, std::string_view first,
                          std::string_view second) noexcept {
  if (!error) return code;
  brim_error full = sized<brim_error>();
  full.code = code;
  full.domain = BRIM_DOMAIN_ARCHITECTURE;
  size_t length = 0;
  for (const std::string_view part : {first, second}) {
    const size_t n = std::min(part.size(), sizeof(full.message) - 1 - length);
    std::memcpy(full.message + length, part.data(), n);
    length += n;
  }
  full.struct_size = error->struct_size;
  const uint32_t room = std::min<uint32_t>(error->struct_size, sizeof(full));
  std::memcpy(error, &full, room);
  if (room > offsetof(brim_error, message)) reinterpret_cast<char*>(error)[room - 1] = '\0';
  return code;
}

template <class Family>
struct Edge {
  static brim_status BRIM_CALL create(const brim_host_api* api, brim_host* host, const brim_create_info* info,
                                      brim_plugin** out, brim_error* error) {
    if (info && BRIM_HAS(info, brim_create_info, setting_stride) && info->n_settings > 0) {
      const auto* setting = static_cast<const brim_setting*>(info->settings);
      return refuse(error, BRIM_INVALID_ARGUMENT, "this architecture has no settings; remove the key ",
                    std::string_view(setting->key.ptr, static_cast<size_t>(setting->key.len)));
    }
    void* memory = api->alloc(host, sizeof(Instance), alignof(Instance));
    if (!memory) return refuse(error, BRIM_OUT_OF_MEMORY, "no host memory for an instance of ", Family::kId);
    *out = reinterpret_cast<brim_plugin*>(new (memory) Instance{api, host});
    return BRIM_OK;
  }

  static void BRIM_CALL destroy(brim_plugin* plugin) {
    if (!plugin) return;
    const Instance instance = *reinterpret_cast<Instance*>(plugin);
    instance.api->free(instance.host, plugin, sizeof(Instance), alignof(Instance));
  }

  static const void* BRIM_CALL get_interface(brim_plugin*, brim_str id) {
    const std::string_view name(id.ptr, static_cast<size_t>(id.len));
    return name == BRIM_ARCHITECTURE_INTERFACE ? &kTable : nullptr;
  }

  static uint32_t BRIM_CALL match(brim_plugin*, const brim_meta_api* api, const brim_meta* meta) {
    try {
      return Family::match(Meta(*api, meta));
    } catch (...) {
      return 0;  // a file that cannot be read is not ours
    }
  }

  static brim_status BRIM_CALL describe(brim_plugin*, const brim_meta_api* api, const brim_meta* meta,
                                        const brim_builder_api* builder_api, brim_builder* builder) {
    return guard(*builder_api, builder, [&] {
      Description description(*builder_api, builder);
      Family::describe(Meta(*api, meta), description);
    });
  }

  static brim_status BRIM_CALL build(brim_plugin*, const brim_meta_api* api, const brim_meta* meta,
                                     const brim_build_info* info, const brim_builder_api* builder_api,
                                     brim_builder* builder) {
    return guard(*builder_api, builder, [&] {
      brim_build_info own{};
      std::memcpy(&own, info, std::min<size_t>(info->struct_size, sizeof(own)));
      Graph graph(*builder_api, builder);
      Family::build(Meta(*api, meta), own, graph);
    });
  }

  static constexpr brim_architecture kTable = {sizeof(brim_architecture), 0, match, describe, build};
  static constexpr brim_plugin_header kHeader = {BRIM_PLUGIN_MAGIC,
                                                 sizeof(brim_plugin_header),
                                                 BRIM_ABI_MAJOR,
                                                 BRIM_ABI_MINOR,
                                                 1,  // min_minor: the first that had brim.architecture/1
                                                 BRIM_KIND_ARCHITECTURE,
                                                 kBuildFlags,
                                                 0,
                                                 constant(Family::kId),
                                                 constant(Family::kVersion),
                                                 constant(Family::kLicense),
                                                 create,
                                                 destroy,
                                                 get_interface};
};

}  // namespace edge

template <class Family>
const brim_plugin_header* plugin_header() {
  return &edge::Edge<Family>::kHeader;
}

}  // namespace brim::arch
