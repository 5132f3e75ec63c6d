#include "injector.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace brim::test {
namespace {

Order standing;
std::atomic<bool> armed{false}, fired{false};
std::atomic<uint64_t> calls{0};
std::atomic<int64_t> live{0};
thread_local int exempt = 0, outside = 0;

bool fails(Service service) {
  if (exempt || !armed.load(std::memory_order_acquire) || standing.service != service) return false;
  const uint64_t n = calls.fetch_add(1) + 1;
  if (n != standing.at && !(standing.for_ever && n > standing.at)) return false;
  fired = true;
  return true;
}

// ---- memory

// What lies before every block.
struct Head {
  void* begin;   // of what malloc gave
  size_t bytes;  // as asked for
};

void* new_block(size_t bytes, size_t alignment) {
  if (!outside && fails(Service::kMemory)) throw std::bad_alloc();
  // Ends where malloc's block ends if it can, for sanitizers to watch.
  const size_t more = alignment > sizeof(Head) ? alignment + sizeof(Head) : sizeof(Head);
  void* const begin = std::malloc(bytes + more);
  if (!begin) throw std::bad_alloc();
  const size_t grain = alignment > sizeof(Head) ? alignment : sizeof(Head);
  auto* const block =
      reinterpret_cast<Head*>((reinterpret_cast<uintptr_t>(begin) + sizeof(Head) + grain - 1) / grain * grain);
  block[-1] = {begin, bytes};
  live += static_cast<int64_t>(bytes);
  return block;
}

void delete_block(void* block) {
  if (!block) return;
  const Head head = static_cast<Head*>(block)[-1];
  live -= static_cast<int64_t>(head.bytes);
  std::free(head.begin);
}

// ---- files

// Sets errno where a call with an error has to fail.
bool file_fails() {
  if (outside || !fails(Service::kFiles)) return false;
  errno = standing.error;
  return true;
}

// ---- threads

struct Start {
  void* (*run)(void*);
  void* arg;
  bool outside;
};

void* begin(void* given) {
  const Start start = *static_cast<Start*>(given);
  std::free(given);
  outside = start.outside;
  exempt = start.outside;
  return start.run(start.arg);
}

}  // namespace

void place(const Order& order) {
  standing = order;
  calls = 0;
  fired = false;
  armed.store(true, std::memory_order_release);
}

bool withdraw() {
  armed = false;
  return fired;
}

Exempt::Exempt() { ++exempt; }
Exempt::~Exempt() { --exempt; }
Outside::Outside() { ++outside; }
Outside::~Outside() { --outside; }

int64_t live_bytes() { return live; }

}  // namespace brim::test

using namespace brim::test;

// Every other form of new and delete comes down to these.
void* operator new(size_t bytes) { return new_block(bytes, 0); }
void* operator new(size_t bytes, std::align_val_t alignment) { return new_block(bytes, size_t(alignment)); }
void operator delete(void* block) noexcept { delete_block(block); }
void operator delete(void* block, size_t) noexcept { delete_block(block); }
void operator delete(void* block, std::align_val_t) noexcept { delete_block(block); }
void operator delete(void* block, size_t, std::align_val_t) noexcept { delete_block(block); }

extern "C" {

// The linker puts these in front of the library's calls (--wrap).
int __real_open(const char* path, int flags, ...);
int __real_fstat(int file, struct stat* out);
ssize_t __real_pread(int file, void* to, size_t bytes, off_t offset);
ssize_t __real_write(int file, const void* from, size_t bytes);
int __real_fsync(int file);
int __real_rename(const char* from, const char* to);
void* __real_mmap(void* at, size_t bytes, int protection, int flags, int file, off_t offset);

int __wrap_open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (standing.error && file_fails()) return -1;
  return __real_open(path, flags, mode);
}
int __wrap_fstat(int file, struct stat* out) {
  const int result = __real_fstat(file, out);
  if (!file_fails()) return result;
  if (standing.error) return -1;
  out->st_size /= 2;
  return result;
}
ssize_t __wrap_pread(int file, void* to, size_t bytes, off_t offset) {
  if (file_fails()) return standing.error ? -1 : 0;
  return __real_pread(file, to, bytes, offset);
}
ssize_t __wrap_write(int file, const void* from, size_t bytes) {
  if (!file_fails()) return __real_write(file, from, bytes);
  return standing.error ? -1 : __real_write(file, from, (bytes + 1) / 2);
}
int __wrap_fsync(int file) { return standing.error && file_fails() ? -1 : __real_fsync(file); }
int __wrap_rename(const char* from, const char* to) {
  return standing.error && file_fails() ? -1 : __real_rename(from, to);
}
void* __wrap_mmap(void* at, size_t bytes, int protection, int flags, int file, off_t offset) {
  if (file >= 0 && standing.error && file_fails()) return MAP_FAILED;
  return __real_mmap(at, bytes, protection, flags, file, offset);
}

// In front of the C library's, for libstdc++ too.
__attribute__((visibility("default"))) int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                                                          void* (*run)(void*), void* arg) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto real = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  if (!outside && fails(Service::kThreads)) return EAGAIN;
  auto* start = static_cast<Start*>(std::malloc(sizeof(Start)));
  if (!start) return EAGAIN;
  *start = {run, arg, outside != 0};
  const int result = real(thread, attributes, begin, start);
  if (result != 0) std::free(start);
  return result;
}

#if defined(BRIM_TEST_MIMALLOC)
// brim::os::take_pages(size_t) and give_pages(void*, size_t).
void* __real__ZN4brim2os10take_pagesEm(size_t bytes);
void __real__ZN4brim2os10give_pagesEPvm(void* pages, size_t bytes);

void* __wrap__ZN4brim2os10take_pagesEm(size_t bytes) {
  if (fails(Service::kMemory)) return nullptr;
  void* pages = __real__ZN4brim2os10take_pagesEm(bytes);
  if (pages) live += static_cast<int64_t>(bytes);
  return pages;
}
void __wrap__ZN4brim2os10give_pagesEPvm(void* pages, size_t bytes) {
  live -= static_cast<int64_t>(bytes);
  __real__ZN4brim2os10give_pagesEPvm(pages, bytes);
}

void* __real_mi_malloc_aligned_at(size_t bytes, size_t alignment, size_t offset);
void __real_mi_free(void* block);
size_t mi_usable_size(const void* block);

void* __wrap_mi_malloc_aligned_at(size_t bytes, size_t alignment, size_t offset) {
  if (fails(Service::kMemory)) return nullptr;
  void* block = __real_mi_malloc_aligned_at(bytes, alignment, offset);
  if (block) live += static_cast<int64_t>(mi_usable_size(block));
  return block;
}
void __wrap_mi_free(void* block) {
  if (block) live -= static_cast<int64_t>(mi_usable_size(block));
  __real_mi_free(block);
}
#endif
}
