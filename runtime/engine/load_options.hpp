// What the host wants of a load while it goes on.
#pragma once

#include <brim/brim.h>

#include <atomic>
#include <base/error.hpp>
#include <functional>

namespace brim::engine {

struct LoadOptions {
  const std::atomic<uint32_t>* cancel = nullptr;                                // nonzero: stop
  std::function<void(uint32_t stage, uint64_t done, uint64_t total)> progress;  // BRIM_STAGE_*; may be empty
  std::function<uint64_t()> memory_left;  // bytes, in place of what the system says, for tests; may be empty

  void stop_if_cancelled() const {
    if (cancel && cancel->load(std::memory_order_relaxed)) fail(BRIM_CANCELLED, "loading was cancelled");
  }
};

}  // namespace brim::engine
