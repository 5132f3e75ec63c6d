// What the backend asks of the operating system and the processor: memory and a name. One file per system.
#pragma once

#include <cstddef>
#include <cstdint>

namespace brim_cpu {

struct SystemMemory {
  uint64_t total;      // bytes
  uint64_t available;  // bytes that can be had without swapping
};

// [any] Zeros where the system does not tell.
SystemMemory system_memory() noexcept;

// [any] The processor's own name, terminated; "AArch64 processor" where the instruction set has no name to give.
void processor_name(char* out, size_t capacity) noexcept;

}  // namespace brim_cpu
