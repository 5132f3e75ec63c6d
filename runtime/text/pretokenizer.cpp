#include <algorithm>
#include <array>
#include <span>
#include <text/pretokenizer.hpp>
#include <text/unicode.hpp>

namespace brim::text {
namespace {

// The text, decoded: one entry a character, offsets one more.
struct Characters {
  std::vector<char32_t> code_points;
  std::vector<Category> categories;
  std::vector<uint32_t> offsets;

  explicit Characters(std::string_view text) {
    code_points.reserve(text.size());
    categories.reserve(text.size());
    offsets.reserve(text.size() + 1);
    for (size_t at = 0; at < text.size();) {
      const Decoded next = decode_utf8(text.substr(at));
      code_points.push_back(next.code_point);
      categories.push_back(category_of(next.code_point));
      offsets.push_back(static_cast<uint32_t>(at));
      at += next.size;
    }
    offsets.push_back(static_cast<uint32_t>(text.size()));
  }
};

// One piece of it. Positions are character indices into the whole text; nothing at or past end is seen.
struct Piece {
  const Characters& text;
  size_t begin;
  size_t end;

  char32_t at(size_t i) const { return i < end ? text.code_points[i] : 0; }
  bool letter(size_t i) const { return i < end && is_letter(text.categories[i]); }
  bool number(size_t i) const { return i < end && text.categories[i] == Category::kNumber; }
  bool mark(size_t i) const { return i < end && is_mark(text.categories[i]); }
  bool punctuation(size_t i) const { return i < end && text.categories[i] == Category::kPunctuation; }
  bool symbol(size_t i) const { return i < end && text.categories[i] == Category::kSymbol; }
  bool space(size_t i) const { return i < end && is_space(text.code_points[i]); }
  bool newline(size_t i) const { return i < end && (text.code_points[i] == '\r' || text.code_points[i] == '\n'); }
  // [^\s\p{L}\p{N}]
  bool other(size_t i) const { return i < end && !space(i) && !letter(i) && !number(i); }

  // The first position from i on where the predicate does not hold.
  template <class Predicate>
  size_t skip(size_t i, Predicate holds) const {
    while (i < end && holds(i)) ++i;
    return i;
  }
};

// A match [position, end), or none that begins before end.
struct Match {
  size_t end;
  bool matched;
};

using Matcher = Match (*)(const Piece&, size_t);

Match none_before(size_t i) { return {i, false}; }
Match until(size_t i) { return {i, true}; }

// '(s|t|re|ve|m|ll|d), of either case if any_case. Its length in characters, 0 if there is none.
size_t contraction(const Piece& p, size_t i, bool any_case) {
  if (p.at(i) != '\'') return 0;
  const auto letter = [&](size_t k) -> char32_t {
    const char32_t c = p.at(k);
    return any_case && c >= 'A' && c <= 'Z' ? c + 32 : c;
  };
  const char32_t a = letter(i + 1), b = letter(i + 2);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
  return 0;
}

// \s+(?!\S)|\s+ at a run of white space: all of it at the end of the piece, else all but its last character, else that.
Match white_space(const Piece& p, size_t i) {
  const size_t end = p.skip(i, [&](size_t k) { return p.space(k); });
  return until(end < p.end && end - i > 1 ? end - 1 : end);
}

// \s*[\r\n]+|\s+(?!\S)|\s+
Match lines_or_white_space(const Piece& p, size_t i) {
  size_t after_newline = i;
  for (size_t k = i; p.space(k); ++k) {
    if (p.newline(k)) after_newline = k + 1;
  }
  return after_newline > i ? until(after_newline) : white_space(p, i);
}

// \p{N}{1,most}
size_t numbers(const Piece& p, size_t i, size_t most) {
  const size_t end = p.skip(i, [&](size_t k) { return p.number(k); });
  return std::min(end, i + most);
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S), and the gaps that it leaves
Match gpt2(const Piece& p, size_t i) {
  if (const size_t length = contraction(p, i, false)) return until(i + length);
  const size_t k = p.at(i) == ' ' ? i + 1 : i;
  if (p.letter(k)) return until(p.skip(k, [&](size_t j) { return p.letter(j); }));
  if (p.number(k)) return until(p.skip(k, [&](size_t j) { return p.number(j); }));
  if (p.other(k)) return until(p.skip(k, [&](size_t j) { return p.other(j); }));
  return white_space(p, i);
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,kDigits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
// \s+(?!\S)|\s+
// With marks, \p{M} belongs to words: [\p{L}\p{M}]+ in place of \p{L}+, and [^\s\p{L}\p{M}\p{N}]+.
template <size_t kDigits, bool kMarks = false>
Match llama3(const Piece& p, size_t i) {
  const auto word = [&](size_t j) { return p.letter(j) || (kMarks && p.mark(j)); };
  const auto other = [&](size_t j) { return p.other(j) && !(kMarks && p.mark(j)); };
  if (const size_t length = contraction(p, i, true)) return until(i + length);
  const bool leads = !p.newline(i) && !p.letter(i) && !p.number(i);
  if (const size_t k = leads ? i + 1 : i; word(k)) return until(p.skip(k, word));
  if (word(i)) return until(i + 1);  // a mark that leads nothing
  if (p.number(i)) return until(numbers(p, i, kDigits));
  if (const size_t k = p.at(i) == ' ' ? i + 1 : i; other(k)) {
    const size_t end = p.skip(k, other);
    return until(p.skip(end, [&](size_t j) { return p.newline(j); }));
  }
  return lines_or_white_space(p, i);
}

// The words of tekken and gpt-4o, where a change from lower to upper case ends a word:
//   [Lu Lt Lm Lo M]*[Ll Lm Lo M]+ or, failing that, [Lu Lt Lm Lo M]+[Ll Lm Lo M]*, each after [^\r\n\p{L}\p{N}]?
// The end of the match, i if there is none.
size_t cased_word(const Piece& p, size_t i) {
  const auto either = [&](size_t k) {  // in both sets
    return p.mark(k) || (k < p.end && (p.text.categories[k] == Category::kModifier ||
                                       p.text.categories[k] == Category::kOtherLetter));
  };
  const auto upper = [&](size_t k) {
    return k < p.end &&
           (p.text.categories[k] == Category::kUpper || p.text.categories[k] == Category::kTitle || either(k));
  };
  const auto lower = [&](size_t k) { return k < p.end && (p.text.categories[k] == Category::kLower || either(k)); };
  const auto ends_lower = [&](size_t start) {
    const size_t head = p.skip(start, upper);
    const size_t tail = p.skip(head, lower);
    if (tail > head) return tail;
    // The head gives back characters until one can be the tail.
    for (size_t k = head; k > start; --k) {
      if (either(k - 1)) return k;
    }
    return start;
  };
  const auto begins_upper = [&](size_t start) {
    const size_t head = p.skip(start, upper);
    return head > start ? p.skip(head, lower) : start;
  };
  const bool leads = !p.newline(i) && !p.letter(i) && !p.number(i);
  if (leads) {
    if (const size_t end = ends_lower(i + 1); end > i + 1) return end;
  }
  if (const size_t end = ends_lower(i); end > i) return end;
  if (leads) {
    if (const size_t end = begins_upper(i + 1); end > i + 1) return end;
  }
  return begins_upper(i);
}

// cased words|\p{N}{1,kDigits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+; kContractions: a cased word may end
// in (?i:'s|'t|'re|'ve|'m|'ll|'d)
template <size_t kDigits, bool kContractions>
Match cased(const Piece& p, size_t i) {
  if (const size_t end = cased_word(p, i); end > i) {
    return until(kContractions ? end + contraction(p, end, true) : end);
  }
  if (p.number(i)) return until(numbers(p, i, kDigits));
  if (const size_t k = p.at(i) == ' ' ? i + 1 : i; p.other(k)) {
    const size_t end = p.skip(k, [&](size_t j) { return p.other(j); });
    return until(p.skip(end, [&](size_t j) { return p.newline(j) || p.at(j) == '/'; }));
  }
  return lines_or_white_space(p, i);
}

// \p{N}{1,most}; most is 1, 3 or without end.
template <size_t kMost>
Match number_run(const Piece& p, size_t i) {
  return p.number(i) ? until(numbers(p, i, std::min(kMost, p.end - i))) : none_before(i + 1);
}

// [0-9][0-9][0-9]
Match three_digits(const Piece& p, size_t i) {
  const auto digit = [&](size_t k) { return p.at(k) >= '0' && p.at(k) <= '9'; };
  return digit(i) && digit(i + 1) && digit(i + 2) ? until(i + 3) : none_before(i + 1);
}

// [\p{P}\$\+<=>\^~\|]+, with the backquote too if kBackquote
template <bool kBackquote>
Match falcon_punctuation(const Piece& p, size_t i) {
  const auto holds = [&](size_t k) {
    const char32_t c = p.at(k);
    return p.punctuation(k) || c == '$' || c == '+' || c == '<' || c == '=' || c == '>' || c == '^' || c == '~' ||
           c == '|' || (kBackquote && c == '`');
  };
  const size_t end = p.skip(i, holds);
  return end > i ? until(end) : none_before(i + 1);
}

// [\r\n]
Match newline(const Piece& p, size_t i) { return p.newline(i) ? until(i + 1) : none_before(i + 1); }

// \s?X+ where holds says what X is
template <class Predicate>
Match after_space(const Piece& p, size_t i, Predicate holds) {
  const size_t k = p.space(i) && !holds(i) ? i + 1 : i;
  const size_t end = p.skip(k, holds);
  if (end > k) return until(end);
  return none_before(i + 1);
}

// \s?\p{L}+
Match spaced_letters(const Piece& p, size_t i) {
  return after_space(p, i, [&](size_t k) { return p.letter(k); });
}

// \s?\p{P}+
Match spaced_punctuation(const Piece& p, size_t i) {
  return after_space(p, i, [&](size_t k) { return p.punctuation(k); });
}

struct Range {
  char32_t first, last;
};

bool within(std::span<const Range> ranges, char32_t c) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), c,
                                      [](char32_t value, const Range& range) { return value < range.first; });
  return after != ranges.begin() && c <= std::prev(after)->last;
}

// The letters with case that deepseek-llm's tokenizer.json lists by hand.
constexpr std::array kDeepseekLetters = {
    Range{0x41, 0x5A},       Range{0x61, 0x7A},       Range{0xB5, 0xB5},       Range{0xC0, 0xD6},
    Range{0xD8, 0xF6},       Range{0xF8, 0x1BA},      Range{0x1BC, 0x1BF},     Range{0x1C4, 0x293},
    Range{0x295, 0x2AF},     Range{0x370, 0x373},     Range{0x376, 0x376},     Range{0x377, 0x377},
    Range{0x37B, 0x37D},     Range{0x37F, 0x37F},     Range{0x386, 0x386},     Range{0x388, 0x38A},
    Range{0x38C, 0x38C},     Range{0x38E, 0x3A1},     Range{0x3A3, 0x3F5},     Range{0x3F7, 0x481},
    Range{0x48A, 0x52F},     Range{0x531, 0x556},     Range{0x10A0, 0x10C5},   Range{0x13A0, 0x13F5},
    Range{0x13F8, 0x13FD},   Range{0x1C90, 0x1CBA},   Range{0x1CBD, 0x1CBF},   Range{0x1D00, 0x1D2B},
    Range{0x1D6B, 0x1D77},   Range{0x1D79, 0x1D9A},   Range{0x1E00, 0x1F15},   Range{0x1F18, 0x1F1D},
    Range{0x1F20, 0x1F45},   Range{0x1F48, 0x1F4D},   Range{0x1F50, 0x1F57},   Range{0x1F59, 0x1F59},
    Range{0x1F5B, 0x1F5B},   Range{0x1F5D, 0x1F5D},   Range{0x1F5F, 0x1F7D},   Range{0x1F80, 0x1FB4},
    Range{0x1FB6, 0x1FBC},   Range{0x1FBE, 0x1FBE},   Range{0x1FC2, 0x1FC4},   Range{0x1FC6, 0x1FCC},
    Range{0x1FD0, 0x1FD3},   Range{0x1FD6, 0x1FDB},   Range{0x1FE0, 0x1FEC},   Range{0x1FF2, 0x1FF4},
    Range{0x1FF6, 0x1FFC},   Range{0x2102, 0x2102},   Range{0x2107, 0x2107},   Range{0x210A, 0x2113},
    Range{0x2115, 0x2115},   Range{0x2119, 0x211D},   Range{0x2124, 0x2124},   Range{0x2126, 0x2126},
    Range{0x2128, 0x2128},   Range{0x212A, 0x212D},   Range{0x212F, 0x2134},   Range{0x2139, 0x2139},
    Range{0x213C, 0x213F},   Range{0x2145, 0x2149},   Range{0x214E, 0x214E},   Range{0x2183, 0x2183},
    Range{0x2184, 0x2184},   Range{0x2C00, 0x2C7B},   Range{0x2C7E, 0x2CE4},   Range{0x2CEB, 0x2CEE},
    Range{0x2CF2, 0x2CF2},   Range{0x2CF3, 0x2CF3},   Range{0xA640, 0xA66D},   Range{0xA680, 0xA69B},
    Range{0xA722, 0xA76F},   Range{0xA771, 0xA787},   Range{0xA78B, 0xA78E},   Range{0xAB70, 0xABBF},
    Range{0xFB00, 0xFB06},   Range{0xFB13, 0xFB17},   Range{0xFF21, 0xFF3A},   Range{0xFF41, 0xFF5A},
    Range{0x10400, 0x1044F}, Range{0x104B0, 0x104D3}, Range{0x104D8, 0x104FB}, Range{0x10C80, 0x10CB2},
    Range{0x10CC0, 0x10CF2}, Range{0x118A0, 0x118DF}, Range{0x1E900, 0x1E943}};

Match deepseek_letters(const Piece& p, size_t i) {
  return after_space(p, i, [&](size_t k) { return within(kDeepseekLetters, p.at(k)); });
}

// [!-/:-~！-／：-～‘-‟\u3000-。]; letters between the colon and the tilde went to the stage before
constexpr std::array kDeepseekPunctuation = {Range{0x21, 0x2F},     Range{0x3A, 0x7E},     Range{0x2018, 0x201F},
                                             Range{0x3000, 0x3002}, Range{0xFF01, 0xFF0F}, Range{0xFF1A, 0xFF5E}};

Match deepseek_punctuation(const Piece& p, size_t i) {
  const auto holds = [&](size_t k) { return within(kDeepseekPunctuation, p.at(k)); };
  // U+3000 is white space and in the set: the optional space takes it where more follows, with the same end.
  return after_space(p, i, holds);
}

// \s+$, the end being the piece's
Match trailing_space(const Piece& p, size_t i) {
  if (!p.space(i)) return none_before(i + 1);
  const size_t end = p.skip(i, [&](size_t k) { return p.space(k); });
  return {end, end == p.end};
}

// The range of the second class as its authors wrote it takes in nearly every script from Samaritan on.
constexpr std::array kDeepseekIdeographs = {Range{0x800, 0x9FA5}, Range{0xAC00, 0xD7FF}};
constexpr std::array kDeepseekV3Ideographs = {Range{0x3040, 0x30FF}, Range{0x4E00, 0x9FA5}};

Match run_of(const Piece& p, size_t i, std::span<const Range> ranges) {
  const size_t end = p.skip(i, [&](size_t k) { return within(ranges, p.at(k)); });
  return end > i ? until(end) : none_before(i + 1);
}

// [一-龥ࠀ-一가-퟿]+
Match deepseek_ideographs(const Piece& p, size_t i) { return run_of(p, i, kDeepseekIdeographs); }

// [一-龥぀-ゟ゠-ヿ]+
Match deepseek_v3_ideographs(const Piece& p, size_t i) { return run_of(p, i, kDeepseekV3Ideographs); }

// [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
Match deepseek_v3(const Piece& p, size_t i) {
  const auto ascii_letter = [&](size_t k) {
    const char32_t c = p.at(k) | 0x20;
    return c >= 'a' && c <= 'z';
  };
  const auto word = [&](size_t k) { return p.letter(k) || p.mark(k); };
  const auto sign = [&](size_t k) { return p.punctuation(k) || p.symbol(k); };
  if (p.at(i) < 0x80 && sign(i) && ascii_letter(i + 1)) return until(p.skip(i + 1, ascii_letter));
  // A mark may be the optional first character or part of the run; both end at the same place.
  const bool leads = !p.newline(i) && !p.letter(i) && !sign(i);
  if (leads && word(i + 1)) return until(p.skip(i + 1, word));
  if (word(i)) return until(p.skip(i, word));
  if (const size_t k = p.at(i) == ' ' ? i + 1 : i; sign(k)) {
    return until(p.skip(p.skip(k, sign), [&](size_t j) { return p.newline(j); }));
  }
  return p.space(i) ? lines_or_white_space(p, i) : none_before(i + 1);
}

constexpr size_t kNoEnd = SIZE_MAX;

std::span<const Matcher> stages_of(PreTokenizer kind) {
  static constexpr Matcher kDefault[] = {falcon_punctuation<false>, gpt2, number_run<kNoEnd>, three_digits};
  static constexpr Matcher kGpt2[] = {gpt2};
  static constexpr Matcher kLlama3[] = {llama3<3>};
  static constexpr Matcher kQwen2[] = {llama3<1>};
  static constexpr Matcher kQwen35[] = {llama3<1, true>};
  static constexpr Matcher kStarcoder[] = {number_run<1>, gpt2};
  static constexpr Matcher kFalcon[] = {falcon_punctuation<true>, gpt2, three_digits};
  static constexpr Matcher kDeepseekLlm[] = {newline,        deepseek_letters,    deepseek_punctuation,
                                             trailing_space, deepseek_ideographs, number_run<kNoEnd>};
  static constexpr Matcher kDeepseekCoder[] = {newline, spaced_letters, spaced_punctuation, deepseek_ideographs,
                                               number_run<1>};
  static constexpr Matcher kDeepseekV3[] = {number_run<3>, deepseek_v3_ideographs, deepseek_v3};
  static constexpr Matcher kTekken[] = {cased<1, false>};
  static constexpr Matcher kGpt4o[] = {cased<3, true>};
  switch (kind) {
    case PreTokenizer::kDefault:
      return kDefault;
    case PreTokenizer::kGpt2:
      return kGpt2;
    case PreTokenizer::kLlama3:
      return kLlama3;
    case PreTokenizer::kQwen2:
      return kQwen2;
    case PreTokenizer::kQwen35:
      return kQwen35;
    case PreTokenizer::kStarcoder:
      return kStarcoder;
    case PreTokenizer::kFalcon:
      return kFalcon;
    case PreTokenizer::kDeepseekLlm:
      return kDeepseekLlm;
    case PreTokenizer::kDeepseekCoder:
      return kDeepseekCoder;
    case PreTokenizer::kDeepseekV3:
      return kDeepseekV3;
    case PreTokenizer::kTekken:
      return kTekken;
    case PreTokenizer::kGpt4o:
      return kGpt4o;
  }
  return {};
}

// Adds the ends of the piece's matches and gaps.
void cut(const Piece& piece, Matcher match, std::vector<uint32_t>& ends) {
  size_t gap = piece.begin;
  for (size_t i = piece.begin; i < piece.end;) {
    const Match found = match(piece, i);
    if (found.matched) {
      if (gap < i) ends.push_back(static_cast<uint32_t>(i));
      ends.push_back(static_cast<uint32_t>(found.end));
      gap = found.end;
    }
    i = found.end;
  }
  if (gap < piece.end) ends.push_back(static_cast<uint32_t>(piece.end));
}

}  // namespace

std::vector<uint32_t> split_words(PreTokenizer kind, std::string_view text) {
  const Characters characters(text);
  const size_t count = characters.code_points.size();
  std::vector<uint32_t> ends;
  if (count == 0) return ends;
  ends.push_back(static_cast<uint32_t>(count));
  std::vector<uint32_t> next;
  for (const Matcher match : stages_of(kind)) {
    next.clear();
    next.reserve(std::max(ends.size(), count / 4));
    size_t begin = 0;
    for (const uint32_t end : ends) {
      cut(Piece{characters, begin, end}, match, next);
      begin = end;
    }
    ends.swap(next);
  }
  for (uint32_t& end : ends) end = characters.offsets[end];
  return ends;
}

}  // namespace brim::text
