// The generated tables behind unicode.hpp; only unicode.cpp reads them. make_unicode_tables.py writes their content and
// prints the counts that stand here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace brim::text {

// Every step-th code point from first to last has its lower-case form at that distance.
struct LowerRun {
  uint32_t first, last;
  uint32_t step;
  int32_t distance;
};

// Canonical decomposition without nonspacing marks; unused places are 0.
struct PlainForm {
  uint32_t code_point;
  std::array<uint32_t, 3> plain;
};

inline constexpr size_t kCategoryRunCount = 3690;
inline constexpr size_t kLowerRunCount = 181;
inline constexpr size_t kPlainFormCount = 2043;

extern const std::array<uint32_t, kCategoryRunCount> kCategoryRuns;
extern const std::array<LowerRun, kLowerRunCount> kLowerRuns;
extern const std::array<PlainForm, kPlainFormCount> kPlainForms;

}  // namespace brim::text
