// How many bytes of a memory may be planned with. Every reading of it is kept; the class of the devices that use the
// memory says which of them bound it, which only promise a least and which mean something else; each bound is lowered
// by a reserve for the rest of the machine, and the smallest holds. A pure function of its arguments: tests hand it
// readings of machines that are not here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <topology/memory_class.hpp>
#include <vector>

namespace brim::topology {

enum class ReadingKind : uint8_t {
  kHostAvailable,  // MemAvailable of MemTotal, ullAvailPhys of ullTotalPhys
  kHostFree,       // MemFree: page cache counts as used
  kHostLimit,      // what a cgroup or job object still leaves of its limit; page cache that can go counts as left
  kCommitLeft,     // Windows: what may still be promised of memory and page file
  kHugePages,      // free pages of the hugetlb pool, which nobody else gets
  kCarveOut,       // memory set aside for the GPU, no part of what the host reads
  kDeviceNode,     // a device's own memory that the host reads as a NUMA node, a part of kHostAvailable
  kDriver,         // cudaMemGetInfo
  kManagement,     // NVML, nvidia-smi
  kHeap,           // a heap of a device's interface
};
std::string_view reading_name(ReadingKind kind);  // "host_available"

struct Reading {
  ReadingKind kind{};
  uint64_t bytes = 0;  // free, by this reading
  uint64_t of = 0;     // of so many; 0: it does not say
  std::string name;    // "MemAvailable", "the cgroup v2 limit of /a/b"
  uint32_t view = 0;   // of kHeap: which device shows it. Heaps of one view add up, of several views the smallest holds
  bool bounds = false;  // set by budget_of: the budget is never more than this less its reserve
  std::string note;     // set by budget_of: why it does not bound, or what it counts wrongly
};

inline constexpr uint32_t kNoReading = 0xffffffffu;

struct Budget {
  uint64_t bytes = 0;             // of the whole memory that this process could ever have
  uint64_t available = 0;         // by the reading that binds
  uint64_t reserve = 0;           // of it that plans leave to others
  uint64_t floor = 0;             // of it left at every moment, while loading too: below it everybody starves
  uint64_t budget = 0;            // available less reserve
  uint32_t binding = kNoReading;  // index of the reading that binds; of heaps that add up the first
};

// Under these rules, does such a reading stay as it was when a device allocates? Limits of groups do where the kernel
// does not count CUDA's memory.
constexpr bool counts_no_device_memory(Class rules, ReadingKind kind) {
  return kind == ReadingKind::kHostLimit && (rules == Class::kAtsUma || rules == Class::kTegraUma);
}

// Fills `bounds` and `note` of every reading.
Budget budget_of(Class rules, std::vector<Reading>& readings);

// RTX Spark under Windows: bytes of the memory behind the carve-out that the GPU may share: all but 16 GiB, at least
// half and at most four fifths.
uint64_t windows_shared_region(uint64_t post_carve_out);

}  // namespace brim::topology
