// Whether this processor has what the variant under test was compiled for (BRIM_TEST_VARIANT, set by CMake).
#include <doctest/doctest.h>

#include <string_view>

#include "weights.hpp"

namespace kernel_test {

bool host_runs_variant() {
  [[maybe_unused]] const std::string_view variant = BRIM_TEST_VARIANT;
  bool runs = true;
#if defined(__x86_64__)
  if (variant != "x86_64") {
    runs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  }
  if (variant == "avx512") {
    runs = runs && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512bf16");
  }
#endif
  if (!runs) MESSAGE("skipped: this processor does not run the variant ", BRIM_TEST_VARIANT);
  return runs;
}

}  // namespace kernel_test
