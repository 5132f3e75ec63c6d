#include "counters.hpp"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>

// glibc's own, under the names that it exports for interposers.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {

std::atomic<bool> armed{false};
std::atomic<uint64_t> calls{0};

void count() {
  if (armed.load(std::memory_order_relaxed)) calls.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) void* malloc(size_t n) {
  count();
  return __libc_malloc(n);
}
__attribute__((visibility("default"))) void* calloc(size_t n, size_t size) {
  count();
  return __libc_calloc(n, size);
}
__attribute__((visibility("default"))) void* realloc(void* p, size_t n) {
  count();
  return __libc_realloc(p, n);
}
__attribute__((visibility("default"))) void* memalign(size_t alignment, size_t n) {
  count();
  return __libc_memalign(alignment, n);
}
__attribute__((visibility("default"))) void* aligned_alloc(size_t alignment, size_t n) {
  count();
  return __libc_memalign(alignment, n);
}
__attribute__((visibility("default"))) int posix_memalign(void** out, size_t alignment, size_t n) {
  count();
  *out = __libc_memalign(alignment, n);
  return *out ? 0 : ENOMEM;
}
__attribute__((visibility("default"))) void* mmap(void* at, size_t n, int protection, int flags, int file,
                                                  off_t offset) {
  count();
  return reinterpret_cast<void*>(syscall(SYS_mmap, at, n, protection, flags, file, offset));
}
}

namespace brim::test {

void Counters::arm() {
  calls = 0;
  armed = true;
}

uint64_t Counters::disarm() {
  armed = false;
  return calls;
}

}  // namespace brim::test
