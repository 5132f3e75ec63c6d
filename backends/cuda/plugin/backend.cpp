// The plugin's one exported function, with the entries that GPU backends share.
#include <gpu/check.hpp>
#include <gpu/kv.hpp>

#include "device/queue.hpp"
#include "program/program.hpp"

namespace brim_cuda {
namespace {

#include <gpu/entries.inc>

}  // namespace
}  // namespace brim_cuda

extern "C" BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t) { return &brim_cuda::kHeader; }
