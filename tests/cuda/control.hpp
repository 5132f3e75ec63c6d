// The test driver's own functions (driver/control.hpp) in a program that opens it as the plugin does.
#pragma once

#include <dlfcn.h>
#include <doctest/doctest.h>

#include "driver/control.hpp"

namespace cuda_test {

struct Driver {
  decltype(&brim_test_cuda_configure) configure;
  decltype(&brim_test_cuda_calls) calls;
  decltype(&brim_test_cuda_called) called;
  decltype(&brim_test_cuda_live) live;
  decltype(&brim_test_cuda_most_bytes) most_bytes;
  decltype(&brim_test_cuda_instructions) instructions;
};

inline const Driver& driver() {
  static const Driver opened = [] {
    void* library = dlopen(BRIM_TEST_DRIVER, RTLD_NOW | RTLD_LOCAL);
    REQUIRE_MESSAGE(library != nullptr, BRIM_TEST_DRIVER);
    Driver d{};
    d.configure = reinterpret_cast<decltype(d.configure)>(dlsym(library, "brim_test_cuda_configure"));
    d.calls = reinterpret_cast<decltype(d.calls)>(dlsym(library, "brim_test_cuda_calls"));
    d.called = reinterpret_cast<decltype(d.called)>(dlsym(library, "brim_test_cuda_called"));
    d.live = reinterpret_cast<decltype(d.live)>(dlsym(library, "brim_test_cuda_live"));
    d.most_bytes = reinterpret_cast<decltype(d.most_bytes)>(dlsym(library, "brim_test_cuda_most_bytes"));
    d.instructions = reinterpret_cast<decltype(d.instructions)>(dlsym(library, "brim_test_cuda_instructions"));
    REQUIRE((d.instructions ? 1 : 0) == 1);
    return d;
  }();
  return opened;
}

}  // namespace cuda_test
