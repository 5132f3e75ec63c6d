// What this machine could do at most, for a benchmark to hold its figures against: the rate at which memory is read and
// the rates at which the widest multiply-add instructions issue. Measured with so many threads at once, in about half a
// second.
//
// Reading: the best of kReadPatterns over 256 MiB, so that no figure hangs on one way of walking. Multiplying: operands
// in registers, sums in enough of them to hide the latency. Both are limits of instructions, not of algorithms: what a
// kernel needs besides multiplications is its own affair. Unknown instruction sets give 0.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

inline constexpr std::string_view kReadPatterns[] = {"forward", "four streams", "two streams, 2 KiB ahead",
                                                     "four streams, 1 KiB ahead", "eight streams, 1 KiB ahead"};

struct Limits {
  double bandwidth = 0;          // bytes/s
  std::string_view pattern;      // that reached it
  double integer_macs = 0;       // 8-bit multiply-adds a second
  double float_macs = 0;         // F32
  double bfloat_macs = 0;        // BF16, where there is an instruction for it
  const char* integer_how = "";  // the instruction
  const char* float_how = "";
  const char* bfloat_how = "";

  void raise(const Limits& other);  // to the best of both
};

class Probe {
 public:
  // Takes the memory to read; without it bandwidths are 0.
  explicit Probe(uint32_t threads);
  Limits measure();

 private:
  uint32_t threads_;
  std::vector<uint64_t> block_;
};

}  // namespace cli
