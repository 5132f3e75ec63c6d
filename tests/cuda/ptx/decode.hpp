// Between the reader of the text and the meaning of instructions: operands as they stand in one statement, and the rows
// of a kernel's arena that hold immediates.
#pragma once

#include "module.hpp"

namespace ptx {

struct Argument {
  enum Kind { kRegister, kImmediate, kAddress, kVector, kLabel, kSink } kind = kSink;
  Operand reg;               // of a register; the base of an address, if it has one
  uint64_t bits = 0;         // of an immediate: as 64-bit integer, or float bits
  uint32_t float_bytes = 0;  // of an immediate written as a float: 4 or 8
  bool negated = false;      // !%p
  int64_t offset = 0;        // of an address
  std::string label;
  std::vector<Argument> parts;
};

struct Statement {
  uint32_t line = 0;
  std::vector<std::string> opcode;  // "ld", "global", "v4", "f32"
  std::vector<Argument> arguments;
};

class Rows {
 public:
  explicit Rows(Kernel& kernel) : kernel_(kernel) {}
  Operand add(uint32_t bytes);  // a register
  Operand immediate(uint64_t bits, uint32_t bytes);

 private:
  Kernel& kernel_;
  std::map<std::pair<uint64_t, uint32_t>, Operand> immediates_;
};

// Everything but branches, whose targets the reader knows. Throws Fault for what is unknown.
void decode(const Statement& statement, Rows& rows, Kernel& kernel, Instruction& out);

}  // namespace ptx
