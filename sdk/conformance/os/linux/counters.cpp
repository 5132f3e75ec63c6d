// The executable's own malloc family, mmap and getenv stand in front of the C library's for every library of the
// process, so that what a plugin calls can be counted and refused. glibc's functions lie behind, under the names that
// it exports for interposers; sanitizers and other C libraries have their own ways, and there nothing is counted.
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>

#include "../os.hpp"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BRIM_CHECK_COUNTS 1
#endif

namespace check::os {
namespace {

std::atomic<bool> counting{false};
std::atomic<uint64_t> allocations{0}, maps{0}, environment{0}, threads{0}, live{0};
std::atomic<int64_t> refuse_at{-1};
std::atomic<bool> refused{false};
// Thread-local storage of the executable is there before any allocation.
thread_local int paused = 0;

#if defined(BRIM_CHECK_COUNTS)

bool counted() { return counting.load(std::memory_order_relaxed) && paused == 0; }

// False: this allocation is to fail.
bool count_allocation() {
  if (!counted()) return true;
  allocations.fetch_add(1, std::memory_order_relaxed);
  live.fetch_add(1, std::memory_order_relaxed);
  if (refuse_at.load(std::memory_order_relaxed) < 0) return true;
  if (refuse_at.fetch_sub(1) != 0) return true;
  refused = true;
  live.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void count_free(const void* p) {
  if (p != nullptr && counted()) live.fetch_sub(1, std::memory_order_relaxed);
}

#endif

}  // namespace

void start_counting() {
  allocations = maps = environment = threads = live = 0;
  counting = true;
}

void resume_counting() { counting = true; }

Counted stop_counting() {
  counting = false;
  Counted out;
#if defined(BRIM_CHECK_COUNTS)
  out.known = true;
#endif
  out.allocations = allocations;
  out.maps = maps;
  out.environment = environment;
  out.threads = threads;
  out.live = live;
  return out;
}

Uncounted::Uncounted() { ++paused; }
Uncounted::~Uncounted() { --paused; }

bool fail_allocation(int64_t n) {
  const bool did = refused.exchange(false);
  refuse_at = n;
  return did;
}

}  // namespace check::os

#if defined(BRIM_CHECK_COUNTS)

extern "C" {

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);
extern char** environ;

#define BRIM_CHECK_SEEN __attribute__((visibility("default")))

BRIM_CHECK_SEEN void* malloc(size_t n) {
  if (check::os::count_allocation()) return __libc_malloc(n);
  errno = ENOMEM;
  return nullptr;
}
BRIM_CHECK_SEEN void* calloc(size_t n, size_t size) {
  if (check::os::count_allocation()) return __libc_calloc(n, size);
  errno = ENOMEM;
  return nullptr;
}
BRIM_CHECK_SEEN void* realloc(void* p, size_t n) {
  if (check::os::count_allocation()) {
    check::os::count_free(p);
    return __libc_realloc(p, n);
  }
  errno = ENOMEM;
  return nullptr;
}
BRIM_CHECK_SEEN void* memalign(size_t alignment, size_t n) {
  if (check::os::count_allocation()) return __libc_memalign(alignment, n);
  errno = ENOMEM;
  return nullptr;
}
BRIM_CHECK_SEEN void* aligned_alloc(size_t alignment, size_t n) {
  if (check::os::count_allocation()) return __libc_memalign(alignment, n);
  errno = ENOMEM;
  return nullptr;
}
BRIM_CHECK_SEEN int posix_memalign(void** out, size_t alignment, size_t n) {
  if (!check::os::count_allocation()) return ENOMEM;
  *out = __libc_memalign(alignment, n);
  return *out ? 0 : ENOMEM;
}
BRIM_CHECK_SEEN void free(void* p) {
  check::os::count_free(p);
  __libc_free(p);
}
BRIM_CHECK_SEEN void* mmap(void* at, size_t n, int protection, int flags, int file, off_t offset) {
  if (check::os::counted()) check::os::maps.fetch_add(1, std::memory_order_relaxed);
  return reinterpret_cast<void*>(syscall(SYS_mmap, at, n, protection, flags, file, offset));
}
static char* look_up(const char* name) {
  if (check::os::counted()) check::os::environment.fetch_add(1, std::memory_order_relaxed);
  const size_t n = strlen(name);
  for (char** one = environ; one != nullptr && *one != nullptr; ++one) {
    if (strncmp(*one, name, n) == 0 && (*one)[n] == '=') return *one + n + 1;
  }
  return nullptr;
}
BRIM_CHECK_SEEN char* getenv(const char* name) { return look_up(name); }
BRIM_CHECK_SEEN int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                                   void* with) {
  if (check::os::counted()) check::os::threads.fetch_add(1, std::memory_order_relaxed);
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto next = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  return next(thread, attributes, start, with);
}
// The checker is never elevated in a way that matters here.
BRIM_CHECK_SEEN char* secure_getenv(const char* name) { return look_up(name); }

}  // extern "C"

#endif
