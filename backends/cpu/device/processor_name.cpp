// The processor's name from its own instructions.
#include <algorithm>
#include <cstring>

#include "device/system.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace brim_cpu {

void processor_name(char* out, size_t capacity) noexcept {
#if defined(__x86_64__)
  char text[49] = "x86-64 processor";
  unsigned words[12] = {};
  if (static_cast<unsigned>(__get_cpuid_max(0x80000000u, nullptr)) >= 0x80000004u) {
    for (unsigned leaf = 0; leaf < 3; ++leaf) {
      __get_cpuid(0x80000002u + leaf, &words[4 * leaf], &words[4 * leaf + 1], &words[4 * leaf + 2],
                  &words[4 * leaf + 3]);
    }
    std::memcpy(text, words, sizeof words);
    text[48] = 0;
  }
#else
  const char text[] = "AArch64 processor";
#endif
  const char* begin = text + std::strspn(text, " ");
  size_t length = std::strlen(begin);
  while (length > 0 && begin[length - 1] == ' ') --length;  // brand strings are padded with blanks
  length = std::min(length, capacity - 1);
  std::memcpy(out, begin, length);
  out[length] = 0;
}

}  // namespace brim_cpu
