#include "words.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cli {

namespace {

size_t characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

std::string bytes_text(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  if (bytes < 1'000'000) return fmt::format("{:.1f} kB", value / 1e3);
  if (bytes < 1'000'000'000) return fmt::format("{:.1f} MB", value / 1e6);
  return fmt::format("{:.2f} GB", value / 1e9);
}

std::string exact_bytes_text(uint64_t bytes) {
  std::string digits = std::to_string(bytes);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string count_text(uint64_t count) {
  const auto value = static_cast<double>(count);
  if (count < 1000) return std::to_string(count);
  if (count < 1'000'000) return fmt::format("{:.0f} K", value / 1e3);
  if (count < 1'000'000'000) return fmt::format("{:.2f} M", value / 1e6);
  return fmt::format("{:.2f} B", value / 1e9);
}

std::string seconds_text(double seconds) {
  if (seconds < 0.1) return fmt::format("{:.1f} ms", seconds * 1e3);
  return fmt::format("{:.2f} s", seconds);
}

std::string table_text(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right,
                       std::string_view indent) {
  std::vector<size_t> widths(right.size());
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], characters(row[c]));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line{indent};
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string pad(widths[c] - characters(row[c]), ' ');
      if (c > 0) line += "  ";
      line += right[c] ? pad + row[c] : row[c] + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

std::string wrapped(std::string_view text, size_t width, std::string_view indent) {
  std::string out;
  size_t column = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    const size_t length = characters(word);
    if (column > 0 && column + 1 + length > width) {
      out += '\n';
      out += indent;
      column = characters(indent);
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out += word;
    column += length;
  }
  return out;
}

std::string memory_bar(const std::vector<BarPart>& parts, size_t cells) {
  uint64_t total = 0;
  for (const BarPart& part : parts) total += part.bytes;
  if (total == 0) return {};
  std::string bar, legend;
  for (size_t i = 0; i < parts.size(); ++i) {
    const double share = static_cast<double>(parts[i].bytes) / static_cast<double>(total);
    auto length = static_cast<size_t>(share * static_cast<double>(cells) + 0.5);
    if (length == 0 && parts[i].bytes > 0) length = 1;  // what is there is seen
    const size_t room = cells - bar.size();
    bar += std::string(i + 1 == parts.size() ? room : std::min(length, room), parts[i].glyph);
    legend += fmt::format("{}{} {}", i == 0 ? "" : " | ", parts[i].name, bytes_text(parts[i].bytes));
  }
  return fmt::format("[{}] {}", bar, legend);
}

}  // namespace cli
