// What the operating system says of the machine and of this process's share of it: cores, memory, thread manners.
// os/linux/ and os/windows/ implement it. Readings are those of the moment; nothing is kept.
#pragma once

#include <cstdint>
#include <string>

namespace brim::os {

// Physical cores that this process may use, at least 1: affinity and quotas (cgroup cpu.max, rounded up) counted,
// hyper-threads of one core counted once. [any]
uint32_t usable_cores() noexcept;

struct MemoryReading {
  uint64_t total = 0;      // bytes that this process could ever have: the machine's, or the tightest limit on it
  uint64_t available = 0;  // bytes that can be had now without swapping; page cache that can be dropped counts as free
  std::string limited_by;  // what makes it less than the machine's: "cgroup v2 limit of /a/b"; empty: nothing does
};
// [any] total 0: the system would not say.
MemoryReading system_memory();

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
