// What tests say to the test driver and ask of it, beside the CUDA functions. Exported by the test libcuda.so.1.
//
// Options, "key=value" with commas between them, from brim_test_cuda_configure() or, where that was not called, from
// the environment's BRIM_TEST_CUDA:
//   class     gb10, gh200, jetson, discrete (the default), discrete-hmm, windows
//   total     bytes of device memory, instead of the class's
//   fail      the n-th call from now on fails, 1 is the first; 0: none
//   of        of this function alone is the n-th meant, by its exported name
//   error     with which CUresult; 2, out of memory, if not said
//   host      how a device that goes through the host's page tables sees its memory: as it is, if not said; "stale",
//             as it was when a page of it was first met; "none", not at all, whatever the attributes say
//   reversed  1: what may run in any order runs in reverse
//   groups    the largest grid in y and z, instead of 65535
//   most      instructions of one launch, a fault of the kernel beyond
//   reached   a file that gets a line for each instruction of a kernel that runs for the first time: kernel, PTX line
#pragma once

#include <cstdint>

extern "C" {
// Back to a driver that nobody has used, with these options. Nothing may be left of an earlier use.
void brim_test_cuda_configure(const char* options);
// How often a function was called since then, by its exported name; of all functions together for null.
uint64_t brim_test_cuda_calls(const char* function);
// The i-th of the functions that were called since then, by name; null behind the last.
const char* brim_test_cuda_called(uint32_t i);
// Streams, events, allocations, modules, graphs and retained contexts that nobody has given back.
uint64_t brim_test_cuda_live();
// The most bytes that were allocated at once since then: of the device's memory, or pinned.
uint64_t brim_test_cuda_most_bytes(int pinned);
// The instructions that warps have run.
uint64_t brim_test_cuda_instructions();
}
