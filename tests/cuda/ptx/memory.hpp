// Between loads and stores and the other instructions that go to memory (memory_operations.cpp).
#pragma once

#include "lanes.hpp"

namespace ptx {

// Where the bytes of one lane's access lie, checked and noted as touched; `unit`: bytes of one element.
std::byte* place(Warp& w, const Instruction& in, Space space, uint32_t lane, uint64_t address, uint32_t bytes,
                 uint32_t unit, bool writes);
uint64_t address_of(Warp& w, const Instruction& in, const Operand& base, uint32_t lane);

}  // namespace ptx
