// PTX as nvcc writes it, read into a form that can be run: kernels with decoded instructions over numbered registers.
//
// A register is a row of 32 lanes of its own width in the warp's arena, so that most instructions are a loop over
// neighbouring memory. Immediates are rows that are filled once. Whatever the reader does not know (an opcode, a type,
// a directive) is an error with its line: nothing is skipped silently.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace ptx {

// What went wrong, and where: in the text, or in a thread that ran.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Space : uint8_t { kGeneric, kGlobal, kShared, kLocal, kParam };

inline constexpr uint32_t kNone = ~0u;

// A register or an immediate: where its lanes lie in the arena, and its number in the table of defined lanes.
struct Operand {
  uint32_t offset = 0, index = kNone;  // index kNone: an immediate, always defined
  uint8_t bytes = 0;                   // of a lane: 2, 4, 8; 0 of a predicate, which is one mask of 32 bits
};

struct Warp;
struct Instruction;
using Step = void (*)(Warp&, const Instruction&, uint32_t mask);

enum class Flow : uint8_t { kPlain, kBranch, kBranchTable, kExit, kBarrier, kWarpBarrier, kTogether };

struct Instruction {
  Step step = nullptr;
  Flow flow = Flow::kPlain;
  bool guard_negated = false;
  uint8_t n_to = 0, n_from = 0;
  uint32_t guard = kNone;  // index of a predicate
  Operand to[4], from[11];
  int64_t offset = 0;             // of an address
  uint32_t target = kNone;        // of a branch
  std::vector<uint32_t> targets;  // of a table
  uint32_t variant = 0;           // what the step wants to know besides
  Space space = Space::kGeneric;
  uint32_t line = 0;
  mutable uint32_t hint = 0;  // the allocation that was met last
};

struct Variable {
  std::string name;
  uint64_t offset = 0, bytes = 0, alignment = 1;
  std::vector<uint8_t> init;  // of module variables
};

struct Kernel {
  std::string name;
  std::vector<Variable> params;
  uint64_t param_bytes = 0, shared_bytes = 0, local_bytes = 0;
  uint32_t max_threads = 1024;
  uint32_t shared_granule = 8, global_granule = 8;  // the narrowest access to such memory, bytes
  std::vector<Instruction> code;
  uint32_t n_registers = 0;   // entries of the table of defined lanes, predicates among them
  uint32_t arena_bytes = 0;   // of one warp
  std::vector<uint8_t> rows;  // initial arena: immediates filled in
  // Registers that the machine fills: tid, ntid, ctaid, nctaid by x, y, z, laneid, warpid.
  struct Special {
    uint32_t which = 0;
    Operand at;
  };
  std::vector<Special> special;
};

struct Module {
  std::string target;  // "sm_75"
  std::map<std::string, Kernel> kernels;
};

// Reads all of a module. `place` gives each .global and .const variable an address, which is baked into the code.
std::unique_ptr<Module> parse(const std::string& text, const std::function<uint64_t(const Variable&)>& place);

}  // namespace ptx
