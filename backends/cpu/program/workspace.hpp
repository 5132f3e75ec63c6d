// Where private intermediates of a program lie in its workspace: first fit among those that are still needed.
//
// Lifetimes count nodes in program order. Steps may run in another order (schedule.hpp): it treats workspace like any
// memory, so a reuse orders the steps that share it.
#pragma once

#include <algorithm>

#include "plugin/memory.hpp"

namespace brim_cpu {

class Workspace {
 public:
  explicit Workspace(Memory& memory) : live_(HostAllocator<Item>(memory)) {}

  // Offset of `bytes` needed by nodes [now, last]; `now` never decreases from call to call.
  uint64_t take(uint64_t bytes, uint64_t now, uint64_t last) {
    std::erase_if(live_, [&](const Item& item) { return item.last < now; });
    if (bytes > UINT64_MAX / 4) fail(BRIM_INVALID_ARGUMENT, "a program's workspace overflows 64 bits");
    const uint64_t size = (bytes + 63) / 64 * 64;
    uint64_t at = 0;
    auto next = live_.begin();
    for (; next != live_.end() && next->begin - at < size; ++next) at = next->end;
    live_.insert(next, {at, at + size, last});
    bytes_ = std::max(bytes_, at + size);
    return at;
  }

  uint64_t bytes() const { return bytes_; }

 private:
  struct Item {
    uint64_t begin, end, last;
  };
  Array<Item> live_;  // ordered by begin, disjoint
  uint64_t bytes_ = 0;
};

}  // namespace brim_cpu
