// The one place where barriers come from: a list of launches in program order, each with the memory it reads and
// writes, becomes levels. Launches of one level touch no memory that another of them writes and may run in any order;
// between levels stands one barrier. A launch goes into the first level behind all before it that it conflicts with, so
// there are as few levels as the data flow allows.
//
// Conflicts are judged by addresses, not by values: the host may give a dead value's storage to a later one.
#pragma once

#include "backend.hpp"

namespace brim_gpu {

struct Range {
  uint64_t begin, end;
};

inline bool overlap(Range a, Range b) { return a.begin < b.end && b.begin < a.end; }

struct Touches {
  static constexpr uint32_t kMost = 10;
  Range read[kMost], written[kMost];
  uint32_t n_read, n_written;

  void add_read(Range range) { add(read, &n_read, range); }
  void add_write(Range range) { add(written, &n_written, range); }

 private:
  static void add(Range* list, uint32_t* n, Range range) {
    if (range.begin >= range.end) return;
    if (*n == kMost) fail(BRIM_INTERNAL, "a kernel touches more memory than the schedule can hold");
    list[(*n)++] = range;
  }
};

// True if the two may not run in any order.
bool conflict(const Touches& before, const Touches& after);

// The level of every launch; returns the number of levels.
uint32_t schedule(const Array<Touches>& launches, Array<uint32_t>& level);

}  // namespace brim_gpu
