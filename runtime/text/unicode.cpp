#include <algorithm>
#include <text/unicode.hpp>
#include <text/unicode_tables.hpp>

namespace brim::text {
namespace {

constexpr uint32_t kPlaneSize = 0x10000;

Category search_category(char32_t c) {
  const uint32_t key = (static_cast<uint32_t>(c) << 8) | 0xFF;
  const auto after = std::upper_bound(kCategoryRuns.begin(), kCategoryRuns.end(), key);
  return static_cast<Category>(*std::prev(after) & 0xFF);
}

// The first plane spread out, one byte a code point: nearly all text lies in it.
std::array<Category, kPlaneSize> spread_first_plane() {
  std::array<Category, kPlaneSize> plane{};
  for (size_t run = 0; run < kCategoryRuns.size(); ++run) {
    const uint32_t first = kCategoryRuns[run] >> 8;
    const uint32_t end = run + 1 < kCategoryRuns.size() ? kCategoryRuns[run + 1] >> 8 : kPlaneSize;
    for (uint32_t c = first; c < std::min(end, kPlaneSize); ++c) {
      plane[c] = static_cast<Category>(kCategoryRuns[run] & 0xFF);
    }
  }
  return plane;
}

}  // namespace

Category category_of(char32_t c) {
  static const std::array<Category, kPlaneSize> plane = spread_first_plane();
  if (c < kPlaneSize) return plane[c];
  return c <= 0x10FFFF ? search_category(c) : Category::kUnassigned;
}

char32_t to_lower(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  const auto after = std::upper_bound(kLowerRuns.begin(), kLowerRuns.end(), c,
                                      [](char32_t value, const LowerRun& run) { return value < run.first; });
  if (after == kLowerRuns.begin()) return c;
  const LowerRun& run = *std::prev(after);
  if (c <= run.last && (c - run.first) % run.step == 0) {
    return static_cast<char32_t>(static_cast<int32_t>(c) + run.distance);
  }
  return c;
}

Plain without_accents(char32_t c) {
  if (c < 0xC0) return {{c}, 1};
  // Hangul syllables: The Unicode Standard, section 3.12.
  constexpr char32_t kSyllables = 0xAC00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11A7;
  if (c >= kSyllables && c < kSyllables + 11172) {
    const char32_t index = c - kSyllables;
    const char32_t tail = index % 28;
    return {{kLead + index / 588, kVowel + index % 588 / 28, kTail + tail}, tail == 0 ? 2u : 3u};
  }
  const auto form = std::lower_bound(kPlainForms.begin(), kPlainForms.end(), c,
                                     [](const PlainForm& entry, char32_t value) { return entry.code_point < value; });
  if (form == kPlainForms.end() || form->code_point != c) return {{c}, 1};
  Plain out{};
  while (out.count < 3 && form->plain[out.count] != 0) {
    out.code_points[out.count] = form->plain[out.count];
    ++out.count;
  }
  return out;
}

Decoded decode_utf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true, false};
  uint32_t size = 0;
  // The second byte's range keeps out overlong forms, surrogates and values past U+10FFFF.
  uint8_t low = 0x80, high = 0xBF;
  char32_t c = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    size = 2;
    c = lead & 0x1F;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    size = 3;
    c = lead & 0x0F;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    size = 4;
    c = lead & 0x07;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {kReplacement, 1, false, false};
  }
  for (uint32_t i = 1; i < size; ++i) {
    if (i == text.size()) return {kReplacement, i, false, true};
    if (byte(i) < low || byte(i) > high) return {kReplacement, i, false, false};
    c = (c << 6) | (byte(i) & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {c, size, true, false};
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(static_cast<uint8_t>(byte))); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

}  // namespace brim::text
