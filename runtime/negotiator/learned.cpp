#include <algorithm>
#include <base/atomic_file.hpp>
#include <base/error.hpp>
#include <base/mapping.hpp>
#include <charconv>
#include <negotiator/learned.hpp>

namespace brim::negotiator {
namespace {

constexpr double kShare = 0.3;          // of a new observation
constexpr size_t kMostBytes = 1 << 20;  // a longer file is none of ours

// Up to the next tab or the end; takes it off the line.
std::string_view cell(std::string_view* line) {
  const size_t end = std::min(line->find('\t'), line->size());
  const std::string_view cell = line->substr(0, end);
  line->remove_prefix(std::min(end + 1, line->size()));
  return cell;
}

template <class T>
bool number(std::string_view text, T* out) {
  const auto [at, code] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return code == std::errc() && at == text.data() + text.size();
}

// Names come from drivers: a tab or a break in one would end the cell.
std::string plain(std::string_view name) {
  std::string out(name);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c == '\t' || c == '\n' || c == '\r'; }, ' ');
  return out;
}

std::string read_all(const std::string& path) {
  try {
    const File file(path);
    if (file.size() > kMostBytes) return {};
    std::string text(static_cast<size_t>(file.size()), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
  } catch (const Error& e) {
    if (e.code == BRIM_NOT_FOUND) return {};
    throw;
  }
}

}  // namespace

Learned::Learned(std::string path) : path_(std::move(path)) {
  if (path_.empty()) return;
  const std::string text = read_all(path_);
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    Entry e{};
    if (!number(cell(&line), &e.bandwidth) || !number(cell(&line), &e.count)) continue;
    e.key.device = cell(&line);
    e.key.driver = cell(&line);
    e.key.format = cell(&line);
    if (e.bandwidth > 0 && !e.key.format.empty()) entries_.push_back(std::move(e));
  }
}

double Learned::bandwidth(const Key& key) const {
  const std::lock_guard lock(mutex_);
  for (const Entry& e : entries_) {
    if (e.key == key) return e.bandwidth;
  }
  return 0;
}

void Learned::observe(const Key& given, double bandwidth) {
  if (!(bandwidth > 0)) return;
  const Key key{plain(given.device), plain(given.driver), plain(given.format)};
  const std::lock_guard lock(mutex_);
  const auto known = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
  if (known == entries_.end()) {
    entries_.push_back({key, bandwidth, 1});
  } else {
    const double ratio = std::clamp(bandwidth / known->bandwidth, 0.5, 1.5);
    known->bandwidth *= 1 + kShare * (ratio - 1);
    ++known->count;
  }
  write();
}

void Learned::write() const {
  if (path_.empty()) return;
  std::string text = "# bytes/s of weights in decoding, times seen, device, driver, weight format\n";
  for (const Entry& e : entries_) {
    text += fmt::format("{:.0f}\t{}\t{}\t{}\t{}\n", e.bandwidth, e.count, e.key.device, e.key.driver, e.key.format);
  }
  AtomicFile file(path_);
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

}  // namespace brim::negotiator
