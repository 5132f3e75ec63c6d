// What a library file exports and imports, read from its bytes: ELF's dynamic symbols, PE's export table.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace check {

struct Symbols {
  std::vector<std::string> exported, imported;  // PE: exported only
  std::vector<std::string> needed;              // libraries that it is linked with; ELF only
};
// Nothing where the file is of neither format.
std::optional<Symbols> read_symbols(const std::string& path);

}  // namespace check
