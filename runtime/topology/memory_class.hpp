// Which kind of memory a device computes from, told from what its driver says and never from a name or a size. The
// class decides which readings of free memory are to be believed (budget.hpp) and how weights are best brought in.
#pragma once

#include <brim/backend.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace brim::topology {

enum class Class : uint8_t {
  kUnknown,          // the facts contradict each other: the smallest of all readings holds
  kCpu,              // the host's processors
  kSoftware,         // a GPU's interface over the host's processors
  kAtsUma,           // shares the system's memory and its page tables (GB10 on Linux)
  kWindowsUma,       // CUDA on the system's memory, under Windows' rules (RTX Spark)
  kTegraUma,         // CUDA on the system's memory, page tables of its own (Jetson)
  kUma,              // shares the system's memory, through another interface (APU, Intel, Apple)
  kAtsNuma,          // memory of its own that is a NUMA node of the host's, coherent (GH200)
  kDiscreteHmm,      // a card; CUDA migrates any page of the host's on demand
  kDiscreteManaged,  // a card; CUDA migrates managed pages
  kDiscreteLimited,  // a card; managed memory does not move while it runs (Windows, WSL)
  kDiscrete,         // a card, through an interface that does not tell more
};

std::string_view class_name(Class c);

// A GPU that computes from the system's memory.
constexpr bool is_uma(Class c) {
  return c == Class::kAtsUma || c == Class::kWindowsUma || c == Class::kTegraUma || c == Class::kUma;
}
// Memory of its own.
constexpr bool is_discrete(Class c) { return c >= Class::kAtsNuma; }

enum class Fact : int8_t { kNotSaid = -1, kNo = 0, kYes = 1 };

struct Facts {
  uint32_t type = 0;     // BRIM_DEVICE_*
  bool windows = false;  // the machine is under Windows
  bool software = false;
  bool own_pool = false;  // its first heap is not in the system's memory
  bool own_link = false;  // a bus to it is known: PCI address, C2C
  // CUDA's attributes PAGEABLE_MEMORY_ACCESS, PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES, CONCURRENT_MANAGED_ACCESS.
  Fact pageable = Fact::kNotSaid, host_page_tables = Fact::kNotSaid, concurrent_managed = Fact::kNotSaid;
  uint64_t device_bytes = 0, host_bytes = 0;  // of its own pool and of the system's; 0: not known
};

struct Classified {
  Class value = Class::kUnknown;
  std::string because;  // "integrated; shares the host's page tables"
};
Classified classify(const Facts& facts);

}  // namespace brim::topology
