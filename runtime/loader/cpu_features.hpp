// The names of the instruction sets that this CPU has and that the operating system saves the registers of. Names are
// those that manifests use:
//   x86_64   avx2 fma f16c bmi2 avx512f avx512bw avx512vl avx512dq avx512_vnni avx512_bf16
//   aarch64  neon dotprod fp16 i8mm bf16 sve
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace brim::loader {

// [any] In the order above; empty on other processors.
std::vector<std::string> detect_cpu_features();

// What this runtime was built for, in the words of manifests: "linux", "x86_64". Empty: none that manifests can name.
std::string_view host_os() noexcept;
std::string_view host_arch() noexcept;

}  // namespace brim::loader
