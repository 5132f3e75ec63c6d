// KV states in canonical form: token-major rows of plain F32 or F16 in host memory, the same for every backend.
//
// F32 out and in again reproduces the blocks of every storage dtype byte for byte; F16 does so for states kept in F16.
#pragma once

#include "brim/backend.h"

namespace brim_cpu {

// Both check every block number and offset against the storage. Blocking; nothing else may use the blocks meanwhile.
void export_state(const brim_state_desc& state, const brim_program_state& storage, const uint32_t* blocks,
                  uint64_t first, uint64_t n, uint32_t canonical, void* out);
void import_state(const brim_state_desc& state, const brim_program_state& storage, const uint32_t* blocks,
                  uint64_t first, uint64_t n, uint32_t canonical, const void* in);

}  // namespace brim_cpu
