// The library's own allocator stays its own: a host that links libbrim, or opens it while it runs, keeps the C and C++
// libraries' malloc, free and operators. BRIM_HOST_LINKS says which host this is.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstring>
#include <iterator>
#include <string>

#ifdef BRIM_HOST_LINKS
#include <brim/brim.h>
#endif

namespace {

// The library that a symbol comes from, as the whole process resolves it.
std::string home_of(const char* symbol) {
  void* address = dlsym(RTLD_DEFAULT, symbol);
  Dl_info info{};
  REQUIRE_MESSAGE(address, symbol);
  REQUIRE(dladdr(address, &info));
  return info.dli_fname;
}

const char* const kC[] = {
    "malloc", "free", "calloc", "realloc", "posix_memalign", "aligned_alloc", "malloc_usable_size"};
const char* const kCpp[] = {"_Znwm", "_Znam", "_ZdlPv", "_ZdaPv", "_ZnwmSt11align_val_t", "_ZdlPvSt11align_val_t"};

void check_homes() {
  for (const char* symbol : kC) {
    CAPTURE(symbol);
    CHECK(home_of(symbol).find("libc.so") != std::string::npos);
  }
  for (const char* symbol : kCpp) {
    CAPTURE(symbol);
    CHECK(home_of(symbol).find("libstdc++.so") != std::string::npos);
  }
}

}  // namespace

TEST_CASE("the host's memory functions are the system's, before and after the library came") {
  check_homes();
#ifdef BRIM_HOST_LINKS
  const char* (*version)() = brim_version;
#else
  void* library = dlopen(BRIM_LIBRARY, RTLD_NOW | RTLD_GLOBAL);
  REQUIRE_MESSAGE(library, dlerror());
  const auto version = reinterpret_cast<const char* (*)()>(dlsym(library, "brim_version"));
#endif
  REQUIRE((version != nullptr));
  CHECK(std::strlen(version()) > 0);
  check_homes();
  // The library itself offers none of them.
  void* itself = dlopen(BRIM_LIBRARY, RTLD_NOW | RTLD_NOLOAD);
  REQUIRE(itself);
  for (const auto* list : {kC, kCpp}) {
    for (size_t i = 0; i < (list == kC ? std::size(kC) : std::size(kCpp)); ++i) {
      // dlsym on a handle looks through its dependencies too; what it finds must not lie in libbrim.
      Dl_info info{};
      void* found = dlsym(itself, list[i]);
      REQUIRE(found);
      REQUIRE(dladdr(found, &info));
      CHECK(std::string(info.dli_fname).find("libbrim") == std::string::npos);
    }
  }
}
