// A host of brim.h for the targets that go through the C ABI: a runtime with two plugins that are linked in, the llama
// architecture and the asynchronous fake of tests/fakes_async, and no others. Whatever the host does, neither side of
// the plugin edge may blame the other: a line of misuse in the log ends the program.
#pragma once

#include <brim/brim.h>

#include "../support/static_plugins.hpp"
#include "../support/temp_folder.hpp"
#include "fuzz.hpp"

namespace brim::fuzz {

inline brim_str str_of(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view view_of(brim_str text) { return {text.ptr, static_cast<size_t>(text.len)}; }

inline const test::TempFolder& temp_folder() {
  static const test::TempFolder folder;
  return folder;
}

inline constexpr brim_plugin_query_fn kPlugins[] = {brim_query_llama, brim_query_async};

// What a status and its words promise, for every call alike.
inline brim_status checked(brim_status status, const brim_error& error) {
  expect(status <= BRIM_CONTEXT_FULL, "a status is one of status.h");
  if (status == BRIM_OK) return status;
  expect(error.code == status, "the error has the code that is returned", error.message);
  const size_t length = strnlen(error.message, sizeof(error.message));
  expect(length > 0 && length < sizeof(error.message), "an error has words and ends");
  expect(is_utf8({error.message, length}), "an error's words are UTF-8", error.message);
  return status;
}

// Runs a call with an error to write to.
template <class Call>
brim_status call(const Call& c) {
  brim_error error{};
  error.struct_size = sizeof(error);
  return checked(c(&error), error);
}
template <class Call>
void must(const Call& c) {
  brim_error error{};
  error.struct_size = sizeof(error);
  expect(c(&error) == BRIM_OK, "what the target itself relies on", error.message);
}

// A device that answers at once and has little memory, so that what is planned too large is refused.
inline brim_config* small_device(uint64_t bytes = 4u << 20) {
  brim_config* config = nullptr;
  must([&](brim_error* e) { return brim_config_create(&config, e); });
  const std::string budget = std::to_string(bytes);
  for (const auto& [key, value] : {std::pair<const char*, std::string_view>{"backend.test.async.delay_us", "0"},
                                   {"backend.test.async.budget", budget}}) {
    must([&](brim_error* e) { return brim_config_set(config, str_of(key), str_of(value), e); });
  }
  return config;
}

// The fields that every target's runtime has; `folder` outlives the call.
inline brim_runtime_config runtime_config(const brim_config* config, const brim_str* folder) {
  brim_runtime_config info{};
  info.struct_size = sizeof(info);
  info.log_level = BRIM_LOG_DEBUG;
  info.config = config;
  info.log = [](void*, uint32_t level, brim_str source, brim_str message) {
    expect(is_utf8(view_of(source)) && is_utf8(view_of(message)), "the log is UTF-8");
    if (level >= BRIM_LOG_HOST_MISUSE) broken("nobody breaks the contract", view_of(message));
  };
  info.plugin_dirs = folder;
  info.n_plugin_dirs = 1;
  info.threads = 1;
  info.static_plugins = kPlugins;
  info.n_static_plugins = static_cast<uint32_t>(std::size(kPlugins));
  return info;
}

inline brim_runtime* small_runtime() {
  const std::string folder = temp_folder().path().string();
  const brim_str view = str_of(folder);
  brim_config* config = small_device();
  const brim_runtime_config info = runtime_config(config, &view);
  brim_runtime* runtime = nullptr;
  must([&](brim_error* e) { return brim_runtime_create(&info, &runtime, e); });
  brim_config_destroy(config);
  return runtime;
}

// (buf, cap, need): asks for the size, then for the text.
template <class Ask>
std::string whole_text(const Ask& ask) {
  uint64_t need = 0;
  if (call([&](brim_error* e) { return ask(nullptr, 0, &need, e); }) != BRIM_OK) return {};
  std::string text(need, '\0');
  if (call([&](brim_error* e) { return ask(text.data(), text.size(), &need, e); }) != BRIM_OK) return {};
  return text;
}

}  // namespace brim::fuzz
