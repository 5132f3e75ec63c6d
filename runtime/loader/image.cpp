#include <base/error.hpp>
#include <base/mapping.hpp>
#include <loader/cpu_features.hpp>
#include <loader/image.hpp>

#if defined(__linux__)
#include <elf.h>
#endif

#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace brim::loader {

#if defined(__linux__)

namespace {

template <class T>
void read_struct(const File& file, uint64_t offset, T& out) {
  file.read(offset, std::as_writable_bytes(std::span(&out, 1)));
}

[[noreturn]] void fail_cut(const File& file, std::string_view what, uint64_t end) {
  fail(BRIM_DATA_CORRUPT, "the library '{}' is cut short: {} end at byte {}, the file has {}; install the plugin anew",
       file.path(), what, end, file.size());
}

// [offset, offset + bytes) must lie in the file.
void check_range(const File& file, std::string_view what, uint64_t offset, uint64_t bytes) {
  if (offset > UINT64_MAX - bytes || offset + bytes > file.size())
    fail_cut(file, what, offset > UINT64_MAX - bytes ? UINT64_MAX : offset + bytes);
}

constexpr uint16_t kMachine =
#if defined(__x86_64__)
    EM_X86_64;
#elif defined(__aarch64__)
    EM_AARCH64;
#else
    EM_NONE;
#endif

}  // namespace

// System V gABI, chapters 4 and 5.
void check_image(const std::string& path) {
  const File file(path);
  Elf64_Ehdr header{};
  if (file.size() >= sizeof(header)) read_struct(file, 0, header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    fail(BRIM_DATA_CORRUPT,
         "'{}' is no shared library: it does not start as an ELF file of at least {} bytes (it has {}); correct "
         "'plugin.library' in its manifest or install the plugin anew",
         path, sizeof(header), file.size());
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      (kMachine != EM_NONE && header.e_machine != kMachine))
    fail(BRIM_INCOMPATIBLE,
         "the library '{}' is for another processor (ELF class {}, machine {}), expected {} (class {}, machine {}); "
         "install the plugin's build for this one",
         path, header.e_ident[EI_CLASS], header.e_machine, host_arch(), int{ELFCLASS64}, kMachine);
  if (header.e_type != ET_DYN || header.e_phentsize != sizeof(Elf64_Phdr))
    fail(BRIM_DATA_CORRUPT,
         "'{}' is an ELF file but no shared library (type {}); correct 'plugin.library' in its manifest", path,
         header.e_type);
  check_range(file, "its program headers", header.e_phoff, uint64_t{header.e_phnum} * header.e_phentsize);
  if (header.e_shoff != 0)
    check_range(file, "its section headers", header.e_shoff, uint64_t{header.e_shnum} * header.e_shentsize);
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment{};
    read_struct(file, header.e_phoff + i * sizeof(segment), segment);
    check_range(file, "its segments", segment.p_offset, segment.p_filesz);
  }
}

#else

// Opening it is the check that there is such a file.
void check_image(const std::string& path) { const File file(path); }

#endif

}  // namespace brim::loader
