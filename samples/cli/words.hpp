// Numbers and lists as words: sizes in decimal units (1 GB = 10^9 bytes), durations, tables, wrapped paragraphs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

std::string bytes_text(uint64_t bytes);        // "1.10 GB"
std::string exact_bytes_text(uint64_t bytes);  // "1,101,004,800"
std::string count_text(uint64_t count);        // "1.10 B", "260 K": parameters
std::string seconds_text(double seconds);      // "1.21 s", "35.0 ms"

// Columns padded to their widest cell, counted in characters, separated by two spaces. The first row is the heading.
// right[c]: column c is set to the right.
std::string table_text(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right,
                       std::string_view indent = "");

// Breaks at spaces so that no line exceeds `width`; every line but the first begins with `indent`.
std::string wrapped(std::string_view text, size_t width, std::string_view indent);

// One memory as a bar of `cells` characters and its parts with numbers, largest remainder left to what is free.
struct BarPart {
  std::string name;
  char glyph;
  uint64_t bytes;
};
std::string memory_bar(const std::vector<BarPart>& parts, size_t cells);

}  // namespace cli
