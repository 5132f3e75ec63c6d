#include <loader/cpu_features.hpp>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#endif

#include <cstdint>

namespace brim::loader {

#if defined(__x86_64__)

namespace {

struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

// All zero where the CPU has no such leaf.
Registers cpuid(uint32_t leaf, uint32_t sub = 0) {
  Registers r;
  if (!__get_cpuid_count(leaf, sub, &r.a, &r.b, &r.c, &r.d)) return Registers{};
  return r;
}

// Which register files the operating system saves. To be called where OSXSAVE is set.
uint32_t xcr0() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

bool bit(uint32_t word, int index) { return (word >> index & 1u) != 0; }

}  // namespace

// Intel SDM volume 2, CPUID: leaf 1, leaf 7 subleafs 0 and 1; volume 1, 13.3 for XCR0.
std::vector<std::string> detect_cpu_features() {
  const Registers one = cpuid(1), seven = cpuid(7), seven1 = seven.a >= 1 ? cpuid(7, 1) : Registers{};
  const uint32_t saved = bit(one.c, 27) ? xcr0() : 0;
  const bool ymm = (saved & 0x6) == 0x6;           // SSE, AVX
  const bool zmm = ymm && (saved & 0xe0) == 0xe0;  // opmask, upper halves, upper 16
  const bool avx512 = zmm && bit(seven.b, 16);
  std::vector<std::string> out;
  const auto add = [&out](bool present, const char* name) {
    if (present) out.emplace_back(name);
  };
  add(ymm && bit(one.c, 28) && bit(seven.b, 5), "avx2");
  add(ymm && bit(one.c, 12), "fma");
  add(ymm && bit(one.c, 29), "f16c");
  add(bit(seven.b, 8), "bmi2");
  add(avx512, "avx512f");
  add(avx512 && bit(seven.b, 30), "avx512bw");
  add(avx512 && bit(seven.b, 31), "avx512vl");
  add(avx512 && bit(seven.b, 17), "avx512dq");
  add(avx512 && bit(seven.c, 11), "avx512_vnni");
  add(avx512 && bit(seven1.a, 5), "avx512_bf16");
  return out;
}

#elif defined(__aarch64__) && defined(__linux__)

// Linux, Documentation/arch/arm64/elf_hwcaps.rst. The bits are written out: a cross build's headers may be older.
std::vector<std::string> detect_cpu_features() {
  const unsigned long one = getauxval(AT_HWCAP), two = getauxval(AT_HWCAP2);
  std::vector<std::string> out;
  const auto add = [&out](unsigned long word, int index, const char* name) {
    if ((word >> index & 1ul) != 0) out.emplace_back(name);
  };
  add(one, 1, "neon");      // HWCAP_ASIMD
  add(one, 20, "dotprod");  // HWCAP_ASIMDDP
  add(one, 10, "fp16");     // HWCAP_ASIMDHP
  add(two, 13, "i8mm");     // HWCAP2_I8MM
  add(two, 14, "bf16");     // HWCAP2_BF16
  add(one, 22, "sve");      // HWCAP_SVE
  return out;
}

#elif defined(__aarch64__) && defined(_WIN32)

// Numbers of winnt.h, written out: older SDKs lack some. Windows says nothing of fp16 apart from SVE's relatives.
std::vector<std::string> detect_cpu_features() {
  std::vector<std::string> out;
  const auto add = [&out](DWORD feature, const char* name) {
    if (IsProcessorFeaturePresent(feature)) out.emplace_back(name);
  };
  out.emplace_back("neon");  // part of the platform
  add(43, "dotprod");        // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
  add(67, "fp16");           // PF_ARM_V82_FP16_INSTRUCTIONS_AVAILABLE
  add(66, "i8mm");           // PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE
  add(68, "bf16");           // PF_ARM_V86_BF16_INSTRUCTIONS_AVAILABLE
  add(46, "sve");            // PF_ARM_SVE_INSTRUCTIONS_AVAILABLE
  return out;
}

#else

std::vector<std::string> detect_cpu_features() { return {}; }

#endif

std::string_view host_os() noexcept {
#if defined(__linux__)
  return "linux";
#elif defined(_WIN32)
  return "windows";
#elif defined(__APPLE__)
  return "macos";
#else
  return "";
#endif
}

std::string_view host_arch() noexcept {
#if defined(__x86_64__) || defined(_M_X64)
  return "x86_64";
#elif defined(__aarch64__) || defined(_M_ARM64)
  return "aarch64";
#else
  return "";
#endif
}

}  // namespace brim::loader
