// What kind of memory a device has, from what its driver says, and how a host sees it: which heaps, in which pools, and
// how much of each is free. Pure, so that machines that are not here can be tested. Never judged by name or size.
//
//   class          memory             heap 0                          heap 1
//   kAtsUnified    one pool           device allocations (system)     pinned host memory (system)   GB10 under Linux
//   kUnified       one pool           the same                        the same                      Jetson, RTX Spark
//   kAtsDiscrete   two, linked        the device's own                pinned host memory            GH200
//   kDiscrete      two                the device's own                pinned host memory            cards
//   kUnknown       readings disagree  as kUnified, counted twice-shy: the least of all readings
//
// Everything that is read for every token lies in device allocations: managed memory and mapped files are slower even
// where they are coherent (design: topology.md A5, C4). On unified memory the driver's "free" counts the page cache as
// used and is no upper bound; what can be had is what the system calls available.
#pragma once

#include <cstdint>

namespace brim_cuda {

enum class Class : uint32_t { kAtsUnified, kUnified, kAtsDiscrete, kDiscrete, kUnknown };

struct Facts {
  bool integrated, pageable, host_page_tables, concurrent_managed;
  uint64_t total;         // of the device, bytes
  uint64_t system_total;  // of the machine, bytes; 0 unknown
};

Class classify(const Facts& facts);
const char* class_name(Class c);

inline bool one_pool(Class c) { return c == Class::kAtsUnified || c == Class::kUnified || c == Class::kUnknown; }

// Bytes that heap 0 (device) or 1 (host) can give now. `driver_free` as cuMemGetInfo says it, `system_available` as the
// system does; 0 where unknown.
uint64_t available(Class c, uint32_t heap, uint64_t total, uint64_t driver_free, uint64_t system_available);

// Of the machine: total and available bytes of system memory, 0 where the system does not say.
struct SystemMemory {
  uint64_t total, available;
};
SystemMemory system_memory();

}  // namespace brim_cuda
