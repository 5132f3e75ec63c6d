// What the GPU backends share is compiled into each of them: which nodes can be computed, what launches they become,
// what must wait for what, how states lie in memory. This is what it asks of the backend around it: buffers with device
// addresses, a queue that copies, and the numbers that shapes of launches depend on. Each backend defines the functions
// below for its own brim_buffer and brim_queue.
//
// A backend gives every kernel of kernel.hpp that its Target asks for, under the arguments of arguments.h; the choice
// between several kernels for one op is the lowering's.
#pragma once

#include <cstddef>

#include "brim/backend_plugin.hpp"
#include "kernel.hpp"

namespace brim_gpu {

using namespace brim::backend;

inline constexpr uint64_t kAlignment = 32;  // of offsets in buffers: GGUF's, and more than any load needs

// Of a device, for planning alone.
struct Target {
  Memory memory;
  uint32_t max_groups;      // work groups of one launch, in every dimension
  const uint32_t* threads;  // of a work group, by Kernel; of kernels that the backend does not have, 0
  // Whether fast numerics multiply signed bytes four at a time: the kernels MATVEC_DOT, a group of which computes so
  // many outputs, of a few block formats or of all, and QUANTISE.
  bool integer_dot = false;
  uint32_t dot_outputs = 4;
  bool dot_all_formats = false;
  // Whether there are matrix units for many rows: for products of signed bytes, which blocks then take (the kernel
  // MATMUL_DOT), of F16 and BF16 (MATMUL_HALF), and for attention (ATTENTION_MMA).
  bool matrix_units = false;
  // Whether those units multiply F16 so fast that blocks are rather unpacked to it (MATMUL_UNPACKED, HALVE).
  bool unpacks = false;
  // Whether norms and GLUs write the codes of their results where products take those, and products add a value.
  bool fuses = false;
};

struct BufferFacts {
  uint64_t address, bytes;
  std::byte* mapped;  // null where the host does not see it
  bool read_only;
};
BufferFacts facts_of(const brim_buffer* buffer);

// INVALID_ARGUMENT, naming `what`, where the range does not lie inside the buffer, or there is no buffer.
inline void check_range(const brim_buffer* buffer, uint64_t offset, uint64_t bytes, const char* what) {
  if (buffer == nullptr) fail(BRIM_INVALID_ARGUMENT, "%s: the buffer is NULL", what);
  const uint64_t size = facts_of(buffer).bytes;
  if (offset > size || bytes > size - offset) {
    fail(BRIM_INVALID_ARGUMENT, "%s: bytes %llu + %llu lie outside a buffer of %llu bytes", what,
         static_cast<unsigned long long>(offset), static_cast<unsigned long long>(bytes),
         static_cast<unsigned long long>(size));
  }
}

// [queue] Memory that the host sees, to copy to and from; given back by free_staging().
brim_buffer* allocate_staging(brim_queue* queue, uint64_t bytes);
void free_staging(brim_buffer* buffer) noexcept;
void copy(brim_queue* queue, brim_buffer* to, uint64_t to_offset, brim_buffer* from, uint64_t from_offset,
          uint64_t bytes);
// [queue] Blocks until all that was submitted has been done.
void drain(brim_queue* queue);
Memory memory_of(const brim_queue* queue);

}  // namespace brim_gpu
