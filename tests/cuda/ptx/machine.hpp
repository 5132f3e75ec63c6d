// The machine that runs decoded kernels: device memory as a table of allocations, blocks of warps, and what each warp
// holds. run.cpp has the scheduler; operations.cpp the meaning of each instruction.
//
// Lanes of a warp that branched apart run in the order of their place in the code, the earliest first, and go on
// together where they meet. Warps of a block run one after the other up to the next barrier, in an order that can be
// reversed. What a real device leaves undefined is a Fault here: reading a register or shared memory that nobody wrote,
// two threads that touch one place of shared memory without a barrier between them, addresses outside of every
// allocation or not aligned to the access, barriers that part of a block does not reach, global memory that one thread
// writes and another touches later in the same launch: blocks have no order, and there are no atomic operations here. A
// read that comes before the other's write is found where the order is reversed. What cp.async writes is there when its
// thread has waited for it, as if it had written then; until then nobody may touch the place.
#pragma once

#include <bit>
#include <cstring>
#include <span>
#include <unordered_map>

#include "module.hpp"

namespace ptx {

// Generic addresses of what is no global memory.
inline constexpr uint64_t kSharedBase = 1ull << 52, kLocalBase = 1ull << 53, kParamBase = 1ull << 54;

// Device memory: addresses, and where the bytes really are.
struct Allocation {
  uint64_t begin, end;
  std::byte* host;
  bool read_only;
};

class Memory {
 public:
  void add(const Allocation& allocation);
  void remove(uint64_t begin);
  // The one that holds the address, or null; `hint` is tried first and set.
  const Allocation* find(uint64_t address, uint32_t* hint) const;
  // Host address of a range; null where it is not all inside one allocation.
  std::byte* at(uint64_t address, uint64_t bytes, bool writes = false) const;

 private:
  std::vector<Allocation> all_;  // by begin
};

// Where an address leads that no allocation holds, on a device that reaches the host's memory; null: nowhere.
class HostMemory {
 public:
  virtual ~HostMemory() = default;
  virtual std::byte* at(uint64_t address, uint64_t bytes, bool writes) = 0;
};

struct Shape {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
};

struct Options {
  bool reversed = false;           // blocks and warps from the last to the first
  uint64_t most_instructions = 0;  // of all warps of a launch, a Fault beyond; 0: no end is set
  HostMemory* host = nullptr;
  uint8_t* reached = nullptr;  // [code of the kernel], set to 1 for what has run
};

struct Counts {
  uint64_t warp_instructions = 0;
};

// Runs a kernel to its end. `params` are the bytes of its parameters in order, as the module's offsets say.
void launch(const Kernel& kernel, Shape grid, Shape block, std::span<const std::byte> params, const Memory& memory,
            const Options& options, Counts* counts);

// ---- inside ----

// Who touched a granule of shared memory last. Threads are numbered from 1 in a block, 0: nobody.
struct Touch {
  static constexpr uint16_t kManyWarps = 0xffff, kManyLanes = 0x8000;
  uint32_t written = 0, read = 0;                // barrier epochs of the block, from 1
  uint32_t write_in_warp = 0, read_in_warp = 0;  // epochs of the warp
  uint16_t writer = 0, reader = 0;
  uint16_t copier = 0;  // whose asynchronous copy, not waited for yet, writes here
};

// A cp.async that its thread has not waited for: what it will write.
struct Copy {
  uint32_t lane, group;  // groups of a thread are numbered from 0 as they are committed
  uint64_t to;           // in shared memory
  uint32_t bytes;
  std::byte data[16];
};

// Which thread wrote each granule of global memory last in a launch; pages of it, made when they are written.
class Writes {
 public:
  struct Writer {
    uint32_t block = 0;  // from 1; 0: nobody
    uint32_t thread = 0, epoch = 0, epoch_in_warp = 0;
  };
  explicit Writes(uint32_t granule) : granule_(granule) {}
  uint64_t granule() const { return granule_; }
  bool may_hold(uint64_t begin, uint64_t end) const { return begin < end_ && end > begin_; }
  // Null: nobody wrote there.
  Writer* find(uint64_t address);
  Writer& at(uint64_t address);

 private:
  static constexpr uint64_t kPage = 4096;
  const uint64_t granule_;
  uint64_t begin_ = ~0ull, end_ = 0;  // of all pages
  uint64_t last_ = ~0ull;             // the page that was met last
  std::vector<Writer>* last_page_ = nullptr;
  std::unordered_map<uint64_t, std::vector<Writer>> pages_;
};

struct Block {
  const Kernel* kernel = nullptr;
  const Memory* memory = nullptr;
  std::span<const std::byte> params;
  Shape grid, block, at;
  uint32_t number = 0;  // in the grid
  Writes* writes = nullptr;
  HostMemory* host = nullptr;
  std::vector<std::byte> shared, local;
  std::vector<Touch> touches;
  uint32_t epoch = 1;
};

struct Group {
  uint32_t pc, mask;
  bool waits;  // for the lanes that a .sync names
};

struct Warp {
  Block* block = nullptr;
  uint32_t number = 0, alive = 0, epoch = 1;
  uint32_t pc = 0, mask = 0;  // of the group that runs
  std::vector<Group> groups;  // the others
  bool at_barrier = false;
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> arena;
  std::vector<uint32_t> defined;  // lanes, by register; a predicate's value lies in `truth`
  std::vector<uint32_t> truth;
  std::vector<Copy> copies;            // in the order of their beginning
  uint32_t committed_groups[32] = {};  // of copies, by lane

  template <class T>
  T* row(const Operand& o) {
    return reinterpret_cast<T*>(arena.data()->bytes + o.offset);
  }
};

// A Fault with kernel, line, block and thread in front.
[[noreturn]] void fail_in(const Warp& warp, const Instruction& in, uint32_t lane, const std::string& what);

}  // namespace ptx
