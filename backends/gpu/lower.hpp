// From the nodes of a program to launches with their arguments, and what memory each touches.
#pragma once

#include "schedule.hpp"

namespace brim_gpu {

// What the nodes of a program become, with the addresses baked in.
struct Lowered {
  explicit Lowered(Memory memory) : launches(memory), touches(memory), blob(memory) {}
  Array<Launch> launches;  // `arguments` is an offset in the blob until the program's buffer is there
  Array<Touches> touches;  // of each
  Array<std::byte> blob;   // arguments and tables
  uint64_t workspace = 0;  // bytes
};

// `live`: buffers are there and their ranges are checked. `blob_address`: where the blob will lie.
void lower(const Target& target, const brim_program_info& info, bool live, uint64_t blob_address, Lowered& out);

}  // namespace brim_gpu
