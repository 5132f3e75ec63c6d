// What the operating system says of the machine and of this process's share of it: cores, memory, thread manners.
// os/linux/ and os/windows/ implement it. Readings are those of the moment; nothing is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace brim::os {

// Physical cores that this process may use, at least 1: affinity and quotas (cgroup cpu.max, rounded up) counted,
// hyper-threads of one core counted once. [any]
uint32_t usable_cores() noexcept;

// A cgroup's or a job object's.
struct MemoryLimit {
  std::string name;  // "the cgroup v2 limit of /a/b"
  uint64_t bytes = 0;
  uint64_t left = 0;  // page cache that can be dropped counts as left
};

struct MemoryReading {
  uint64_t total = 0;      // bytes that this process could ever have: the machine's, or the tightest limit on it
  uint64_t available = 0;  // bytes that can be had now without swapping; page cache that can be dropped counts as free
  std::string limited_by;  // what makes it less than the machine's: "the cgroup v2 limit of /a/b"; empty: nothing does

  // What the two above were made of.
  uint64_t machine_total = 0, machine_available = 0, machine_free = 0;
  uint64_t huge_total = 0, huge_free = 0;      // bytes of the pool of huge pages
  uint64_t commit_limit = 0, commit_left = 0;  // Windows: memory and page file; 0 elsewhere
  std::vector<MemoryLimit> limits;             // every one on the way up, innermost first
};
// [any] total 0: the system would not say.
MemoryReading system_memory();
// The machine's `available` alone, without allocating; UINT64_MAX: the system would not say. [any]
uint64_t memory_left() noexcept;

// Private pages straight from the system, zeroed as they are touched, in huge ones where the system likes to be asked;
// null where there are none. [any]
void* take_pages(size_t bytes) noexcept;
void give_pages(void* pages, size_t bytes) noexcept;

// Gives the pages that lie wholly in [address, address + bytes) back to the system. The memory stays allocated; what it
// held is undefined until it is written again. Of private memory only, no file's. [any]
void discard(void* address, size_t bytes) noexcept;

// Blocks every signal in this thread while it lives, so that threads started meanwhile never run the host program's
// signal handlers. Nothing where the system has no signals.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept;
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  alignas(16) unsigned char kept_[128] = {};  // the thread's former mask
};

// For debuggers and top; at most 15 bytes are kept.
void name_this_thread(const char* name) noexcept;

}  // namespace brim::os
