// The architecture plugin whose source a test is linked with, through its one exported function: what it says of a
// file, the graph it emits, and its refusals.
#pragma once

#include <doctest/doctest.h>

#include "recorder.hpp"

extern "C" const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t host_major);

namespace brim::test {

inline constexpr uint64_t kLogits = 1u << BRIM_OUTPUT_LOGITS, kHidden = 1u << BRIM_OUTPUT_HIDDEN;

inline const brim_architecture& plugin() {
  const brim_plugin_header* header = brim_plugin_query(BRIM_ABI_MAJOR);
  const char* name = BRIM_ARCHITECTURE_INTERFACE;
  const void* table = header->get_interface(nullptr, {name, std::strlen(name)});
  REQUIRE(table != nullptr);
  return *static_cast<const brim_architecture*>(table);
}

// 0 .. 100 for a file of that architecture.
inline uint32_t score(const std::string& architecture) {
  File f;
  f.keys["general.architecture"] = architecture;
  return plugin().match(nullptr, &File::api(), f.meta());
}

inline Recorder described(const File& file) {
  Recorder r(file);
  const brim_status status = plugin().describe(nullptr, &File::api(), file.meta(), &Recorder::api(), r.builder());
  CHECK(status == r.status);
  return r;
}

inline Recorder built(const File& file, uint64_t outputs = kLogits, bool embeddings = false) {
  Recorder r = described(file);
  REQUIRE_MESSAGE(r.status == BRIM_OK, r.error);
  brim_build_info info{};
  info.struct_size = sizeof(info);
  info.phase = BRIM_PHASE_PREFILL;
  info.n_ctx = 256;
  info.n_seqs_max = 1;
  info.outputs = outputs;
  info.embeddings = embeddings;
  REQUIRE(plugin().build(nullptr, &File::api(), file.meta(), &info, &Recorder::api(), r.builder()) == BRIM_OK);
  return r;
}

inline void check_refused(const File& file, brim_status code, const std::string& key) {
  const Recorder r = described(file);
  CHECK(r.status == code);
  CHECK_MESSAGE(r.error.find(key) != std::string::npos, "said: '" << r.error << "', expected: " << key);
}

// Refused by the name of the key where it has that value.
inline void check_refused(File file, const std::string& key, File::Value value, brim_status code = BRIM_DATA_CORRUPT) {
  CAPTURE(key);
  file.keys[key] = std::move(value);
  check_refused(file, code, key);
}

// Without the key, and with a text in its place, the file is refused by the key's name.
inline void check_needed(File file, const std::string& key) {
  CAPTURE(key);
  file.keys.erase(key);
  check_refused(file, BRIM_NOT_FOUND, key);
  file.keys[key] = std::string("many");
  check_refused(file, BRIM_DATA_CORRUPT, key);
}

// A missing tensor is the host's error and passes through.
inline void check_tensor_needed(File file, const std::string& name) {
  CAPTURE(name);
  file.tensors.erase(name);
  check_refused(file, BRIM_NOT_FOUND, name);
}

}  // namespace brim::test
