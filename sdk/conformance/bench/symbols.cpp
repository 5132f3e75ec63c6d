#include "symbols.hpp"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>

namespace check {
namespace {

// Bytes of a file; every read is checked against its end and gives zero beyond it.
class File {
 public:
  explicit File(std::string bytes) : bytes_(std::move(bytes)) {}
  uint64_t number(uint64_t at, unsigned size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) return 0;
    uint64_t value = 0;
    std::memcpy(&value, bytes_.data() + at, size);
    return value;
  }
  std::string text(uint64_t at) const {
    if (at >= bytes_.size()) return {};
    return std::string(bytes_.data() + at, strnlen(bytes_.data() + at, bytes_.size() - at));
  }
  bool starts_with(const char* magic) const { return bytes_.rfind(magic, 0) == 0; }

 private:
  std::string bytes_;
};

constexpr uint64_t kMostEntries = 1u << 20;  // of any table; what says more is damaged

// 64-bit little-endian ELF (System V ABI): the section headers of .dynsym and .dynamic with their string tables.
Symbols elf_symbols(const File& file) {
  Symbols out;
  const uint64_t sections = file.number(0x28, 8), size = file.number(0x3a, 2), n = file.number(0x3c, 2);
  constexpr uint64_t kDynSym = 11, kDynamic = 6, kNeeded = 1;
  const auto field = [&](uint64_t section, uint64_t at, unsigned bytes) {
    return file.number(sections + section * size + at, bytes);
  };
  for (uint64_t i = 0; i < n; ++i) {
    const uint64_t type = field(i, 4, 4), offset = field(i, 0x18, 8), bytes = field(i, 0x20, 8);
    const uint64_t texts = field(field(i, 0x28, 4), 0x18, 8);
    if (type == kDynSym) {
      for (uint64_t s = 1; s < bytes / 24 && s < kMostEntries; ++s) {
        const uint64_t at = offset + s * 24, info = file.number(at + 4, 1), visibility = file.number(at + 5, 1) & 3;
        const uint64_t where = file.number(at + 6, 2);
        const std::string name = file.text(texts + file.number(at, 4));
        if (name.empty() || info >> 4 == 0 || visibility == 1 || visibility == 2) continue;  // local, internal, hidden
        (where == 0 ? out.imported : out.exported).push_back(name);
      }
    }
    if (type == kDynamic) {
      for (uint64_t d = 0; d < bytes / 16 && d < kMostEntries; ++d) {
        if (file.number(offset + d * 16, 8) == kNeeded) {
          out.needed.push_back(file.text(texts + file.number(offset + d * 16 + 8, 8)));
        }
      }
    }
  }
  return out;
}

// PE32+ (Microsoft's PE format): the export directory's names.
std::optional<Symbols> pe_symbols(const File& file) {
  const uint64_t header = file.number(0x3c, 4);
  if (file.number(header, 4) != 0x4550 || file.number(header + 24, 2) != 0x20b) return std::nullopt;
  const uint64_t sections = header + 24 + file.number(header + 20, 2), n = file.number(header + 6, 2);
  const auto file_offset = [&](uint64_t address) -> uint64_t {
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t at = sections + i * 40, start = file.number(at + 12, 4), bytes = file.number(at + 16, 4);
      if (address >= start && address < start + bytes) return address - start + file.number(at + 20, 4);
    }
    return 0;
  };
  Symbols out;
  const uint64_t directory = file.number(header + 24 + 112, 4);
  if (directory == 0) return out;
  const uint64_t table = file_offset(directory), names = file_offset(file.number(table + 32, 4));
  const uint64_t count = file.number(table + 24, 4);
  for (uint64_t i = 0; i < count && i < kMostEntries; ++i) {
    out.exported.push_back(file.text(file_offset(file.number(names + 4 * i, 4))));
  }
  return out;
}

}  // namespace

std::optional<Symbols> read_symbols(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const File file(std::string(std::istreambuf_iterator<char>(in), {}));
  if (file.starts_with("\x7f"
                       "ELF\x02\x01"))
    return elf_symbols(file);
  if (file.starts_with("MZ")) return pe_symbols(file);
  return std::nullopt;
}

}  // namespace check
