#include <fmt/format.h>

#include <base/atomic_file.hpp>
#include <base/error.hpp>
#include <base/mapping.hpp>
#include <charconv>
#include <cmath>
#include <new>
#include <span>
#include <topology/probe_cache.hpp>

namespace brim::topology {
namespace {

constexpr uint64_t kMostBytes = 64 * 1024;

std::string text_of(const std::string& path) {
  try {
    const File file(path);
    if (file.size() > kMostBytes) return {};
    std::string text(static_cast<size_t>(file.size()), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
  } catch (const Error&) {
    return {};
  }
}

// Calls use(line without its end) for each line.
void each_line(std::string_view text, const auto& use) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    use(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::string_view key_of(std::string_view line) {
  const size_t space = line.find(' ');
  return space == line.npos ? std::string_view() : line.substr(space + 1);
}

}  // namespace

std::string probe_key(const Topology& topology, std::string_view build, uint32_t threads) {
  for (const Device& d : topology.devices) {
    if (!d.live || d.memory_class != Class::kCpu) continue;
    std::string key = fmt::format("{}; {}; {}; brim {}; {} threads", d.name, d.architecture, d.driver, build, threads);
    for (char& c : key)
      if (static_cast<unsigned char>(c) < ' ') c = ' ';
    return key;
  }
  return {};
}

double kept_bandwidth(const std::string& path, std::string_view key) {
  double found = 0;
  each_line(text_of(path), [&](std::string_view line) {
    double value = 0;
    if (key.empty() || key_of(line) != key) return;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
    // Between an emulator and what no memory has.
    if (error == std::errc() && std::isfinite(value) && value > 1e7 && value < 1e14) found = value;
  });
  return found;
}

void keep_bandwidth(const std::string& path, std::string_view key, double bytes_per_second) {
  if (key.empty() || !(bytes_per_second > 0)) return;
  std::string text = fmt::format("{:.0f} {}\n", bytes_per_second, key);
  each_line(text_of(path), [&](std::string_view line) {
    if (key_of(line) != key && !line.empty() && text.size() + line.size() < kMostBytes) text.append(line) += '\n';
  });
  try {
    AtomicFile file(path);
    file.write(std::as_bytes(std::span(text)));
    file.commit();
  } catch (const Error&) {
    // Measured again next time.
  }
}

}  // namespace brim::topology
