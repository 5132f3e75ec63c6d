#include "plugin/settings.hpp"

#include <algorithm>
#include <charconv>

#include "plugin/failure.hpp"

namespace brim_cpu {
namespace {

// Levenshtein distance; keys longer than the table count as far away.
size_t distance(std::string_view a, std::string_view b) {
  constexpr size_t kMost = 63;
  if (a.size() > kMost || b.size() > kMost) return SIZE_MAX;
  size_t row[kMost + 1];
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

int shown(std::string_view text) { return static_cast<int>(std::min<size_t>(text.size(), 80)); }

}  // namespace

void refuse_unknown(const char* where, std::string_view key, std::initializer_list<std::string_view> known) {
  if (std::find(known.begin(), known.end(), key) != known.end()) return;
  const std::string_view* nearest =
      std::min_element(known.begin(), known.end(),
                       [&](std::string_view a, std::string_view b) { return distance(key, a) < distance(key, b); });
  fail(BRIM_INVALID_ARGUMENT, "%s has no setting '%.*s'; the nearest one is '%.*s'", where, shown(key), key.data(),
       shown(*nearest), nearest->data());
}

uint64_t whole_number(const char* where, std::string_view key, std::string_view value, uint64_t least, uint64_t most) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < least || number > most) {
    fail(BRIM_INVALID_ARGUMENT, "%s: setting '%.*s' is '%.*s'; expected a whole number from %llu to %llu", where,
         shown(key), key.data(), shown(value), value.data(), static_cast<unsigned long long>(least),
         static_cast<unsigned long long>(most));
  }
  return number;
}

}  // namespace brim_cpu
