// The plugins that static_host.cmake links into a test program: the llama architecture and the asynchronous fake
// backend.
#pragma once

#include <brim/plugin.h>

extern "C" {
const brim_plugin_header* BRIM_CALL brim_query_llama(uint32_t host_major);
const brim_plugin_header* BRIM_CALL brim_query_async(uint32_t host_major);
}
