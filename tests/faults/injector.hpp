// Failures of what the process gives to the library, made to order: memory (operator new, the library's mimalloc and
// pages), files (the calls of runtime/base/os) and threads. While an order stands, the calls of its service are counted
// in all threads and the n-th fails, or the n-th and all after it.
//
// What is not the library's is left alone: code of the test inside of callbacks (Exempt), and a backend with its own
// threads (Outside). What a backend asks of the host by brim_host_api is the library's.
#pragma once

#include <cstdint>

namespace brim::test {

enum class Service : uint32_t { kNone, kMemory, kFiles, kThreads };

struct Order {
  Service service = Service::kNone;
  uint64_t at = 1;        // the call that fails, from 1
  bool for_ever = false;  // and those after it
  int error = 0;          // errno of a file's failing call; 0: the file ends early, or the disk is written short
};

void place(const Order& order);
// The order stands no longer. True if something failed.
bool withdraw();

// Nothing is counted in this thread.
class Exempt {
 public:
  Exempt();
  ~Exempt();
  Exempt(const Exempt&) = delete;
  Exempt& operator=(const Exempt&) = delete;
};

// This thread is inside of a backend: its operator new is its own, and so are threads that it starts.
class Outside {
 public:
  Outside();
  ~Outside();
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;
};

// Bytes that operator new and the library's allocator have given and that live.
int64_t live_bytes();

}  // namespace brim::test
