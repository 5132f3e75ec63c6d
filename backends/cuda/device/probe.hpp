// Whether kernels read and write the host program's own memory where it lies and see what the processor sees there. A
// driver that says so is not believed before it has been tried: the host writes and kernels read, three times over the
// same memory; kernels write and the host reads; and kernels read a page of a mapped file, this library.
//
// Asked only where the driver says that the device goes through the host's page tables. What the trial cannot see is
// coherence while both sides work; nothing here relies on it: the host writes before work is handed over and reads
// after a fence.
#pragma once

#include "device/device.hpp"

namespace brim_cuda {

// A trial that loses the device opens its context anew, and the answer is no. Throws where even that fails.
bool host_memory_works(Device* device);

}  // namespace brim_cuda
