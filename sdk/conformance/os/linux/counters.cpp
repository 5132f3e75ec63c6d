// The executable's own malloc family, mmap and getenv stand in front of the C library's for every library of the
// process, so that what a plugin calls can be counted and refused. glibc's functions lie behind, under the names that
// it exports for interposers; sanitizers and other C libraries have their own ways, and there nothing is counted.
//
// Whose call it is, the stack tells: the first frame above those of this program and of the C and C++ libraries, which
// work for their callers, belongs to the library that wanted it. The dynamic linker's memory is its own.
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>
#include <unwind.h>

#include <array>
#include <atomic>
#include <utility>

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

// Addresses of loaded segments. Written while nothing is counted, and without an allocation.
struct Segments {
  struct One {
    uintptr_t begin, end;
  };
  std::array<One, 64> all;
  size_t n = 0;

  void add(const dl_phdr_info& library) {
    for (size_t i = 0; i < library.dlpi_phnum && n < all.size(); ++i) {
      const auto& header = library.dlpi_phdr[i];
      if (header.p_type != PT_LOAD) continue;
      const uintptr_t begin = library.dlpi_addr + header.p_vaddr;
      all[n++] = {begin, begin + header.p_memsz};
    }
  }
  bool hold(uintptr_t address) const {
    for (size_t i = 0; i < n; ++i)
      if (address >= all[i].begin && address < all[i].end) return true;
    return false;
  }
};
std::atomic<bool> own_alone{false};
Segments own, helpers;  // the library whose calls count, and those that work for their callers

bool helps(const char* path) {
  if (*path == 0) return true;  // this program
  const char* slash = strrchr(path, '/');
  const char* name = slash ? slash + 1 : path;
  for (const char* one : {"libc.so", "libstdc++.so", "libc++.so", "libc++abi.so", "libgcc_s.so", "libpthread.so"})
    if (strncmp(name, one, strlen(one)) == 0) return true;
  return false;
}

void find_segments(const void* of) {
  static const void* known = nullptr;  // they stay as they are, and a thread that was just counted may still look
  if (std::exchange(known, of) == of) return;
  own.n = helpers.n = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* library, size_t, void* address) {
        Segments one;
        one.add(*library);
        if (one.hold(reinterpret_cast<uintptr_t>(address))) {
          own.add(*library);
        } else if (helps(library->dlpi_name)) {
          helpers.add(*library);
        }
        return 0;
      },
      const_cast<void*>(of));
}

// True: the call that this is on the way of is the library's own.
bool called_by_own() {
  bool found = false;
  _Unwind_Backtrace(
      [](_Unwind_Context* frame, void* out) {
        const uintptr_t at = _Unwind_GetIP(frame);
        if (helpers.hold(at)) return _URC_NO_REASON;
        *static_cast<bool*>(out) = own.hold(at);
        return _URC_END_OF_STACK;
      },
      &found);
  return found;
}

bool counted() {
  if (!counting.load(std::memory_order_relaxed) || paused != 0) return false;
  if (!own_alone.load(std::memory_order_relaxed)) return true;
  ++paused;  // the walk may allocate
  const bool own_call = called_by_own();
  --paused;
  return own_call;
}

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
  if (p != nullptr && !own_alone.load(std::memory_order_relaxed) && counted())
    live.fetch_sub(1, std::memory_order_relaxed);
}

#endif

}  // namespace

void start_counting([[maybe_unused]] const void* of) {
#if defined(BRIM_CHECK_COUNTS)
  if (of != nullptr) find_segments(of);
  own_alone = of != nullptr;
#endif
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
