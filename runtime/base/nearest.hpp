// The known word that an unknown one was most likely meant to be, for error messages: the smallest edit distance, if it
// is small for the word's length.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace brim {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
inline size_t edit_distance(std::string_view a, std::string_view b) {
  const size_t width = b.size() + 1;
  std::vector<size_t> before(width), above(width), row(width);
  for (size_t j = 0; j < width; ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before.swap(above);
    above.swap(row);
    row[0] = i;
    for (size_t j = 1; j < width; ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

// The nearest of `known` (any range of things that turn into string_view); empty if none is near.
template <class Words>
std::string nearest(std::string_view word, const Words& known) {
  std::string best;
  size_t best_distance = std::max<size_t>(1, word.size() / 2);
  for (const auto& candidate : known) {
    const std::string_view text(candidate);
    const size_t distance = edit_distance(word, text);
    if (distance > best_distance || (distance == best_distance && !best.empty())) continue;
    best = text;
    best_distance = distance;
  }
  return best;
}

}  // namespace brim
