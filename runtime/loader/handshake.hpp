// The library's side of meeting a plugin: open the shared library, find brim_plugin_query, ask it, and check the answer
// before a byte of it is believed. Numbers come first and in the order of the frozen prefix, so that a plugin of any
// version is refused with words. What was opened stays mapped until the process ends, refused or not: threads, thread
// locals and pointers of a plugin have nowhere to return to after an unload.
#pragma once

#include <brim/plugin.h>

#include <string>
#include <string_view>

namespace brim::loader {

// What the manifest promised; empty fields promise nothing (static plugins).
struct Promise {
  std::string id;
  std::string kind;  // "backend" or "architecture"
};

// BRIM_BUILD_* of this host.
uint32_t host_build_flags() noexcept;

// "backend", "architecture" or "" for a number this host does not know.
std::string_view kind_name(uint32_t kind) noexcept;

// [control] Opens the library at an absolute path and finds its query function. Throws NOT_FOUND, DATA_CORRUPT or
// INCOMPATIBLE with the loader's own words.
brim_plugin_query_fn open_library(const std::string& path);

// [control] Asks and checks; `name` is what messages call the plugin. The answer is constant for ever. Throws
// INCOMPATIBLE or DATA_CORRUPT.
const brim_plugin_header& shake_hands(brim_plugin_query_fn query, const Promise& promise, const std::string& name);

}  // namespace brim::loader
