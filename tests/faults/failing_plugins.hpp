// The llama architecture and the asynchronous fake backend with every function of their tables behind a gate: the n-th
// call through a gate fails as it was told to, or the n-th and all after it.
#pragma once

#include <brim/plugin.h>

#include <cstdint>

namespace brim::test {

enum class Words { kUsual, kNone, kGarbage };  // kGarbage: 512 bytes that are no UTF-8 and have no end

struct PluginOrder {
  uint64_t at = 0;  // from 1; 0: none
  brim_status status = BRIM_OK;
  Words words = Words::kUsual;
  bool for_ever = false;
};

void place(const PluginOrder& order);
// The order stands no longer. The name of the function that failed, NULL if none did.
const char* withdraw_from_plugins();

inline constexpr const char* kPluginSays = "it fails, as it was told to";

const brim_plugin_header* BRIM_CALL query_failing_async(uint32_t host_major);
const brim_plugin_header* BRIM_CALL query_failing_llama(uint32_t host_major);

}  // namespace brim::test
