// Every way to memory that this process has, counted while armed: the executable's own malloc family and mmap stand in
// front of the C library's for all libraries of the process, operator new ends in malloc.
#pragma once

#include <cstdint>

namespace brim::test {

struct Counters {
  static void arm();
  // What was called since, in any thread.
  static uint64_t disarm();
};

}  // namespace brim::test
