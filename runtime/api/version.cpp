// brim_abi_version, brim_version, brim_cancel_*.
#include <api/guard.hpp>
#include <api/handles.hpp>

using namespace brim::api;

void brim_abi_version(uint32_t* major, uint32_t* minor) {
  if (major) *major = BRIM_ABI_MAJOR;
  if (minor) *minor = BRIM_ABI_MINOR;
}

const char* brim_version(void) { return BRIM_VERSION; }

brim_status brim_cancel_create(brim_cancel** out, brim_error* error) {
  return guard(error, [&] {
    need(out, "out") = nullptr;
    *out = new brim_cancel;
  });
}

// Called from signal handlers, which may touch lock-free atomics only.
static_assert(std::atomic<uint32_t>::is_always_lock_free);

void brim_cancel_fire(brim_cancel* cancel) {
  if (cancel) cancel->fired.store(1, std::memory_order_relaxed);
}

void brim_cancel_reset(brim_cancel* cancel) {
  if (cancel) cancel->fired.store(0, std::memory_order_relaxed);
}

void brim_cancel_destroy(brim_cancel* cancel) { delete cancel; }
