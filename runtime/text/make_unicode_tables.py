#!/usr/bin/env python3
"""Writes unicode_tables.cpp from Python's unicodedata.

    python3 make_unicode_tables.py > unicode_tables.cpp

Three tables, all sorted by their first code point:
  kCategoryRuns   where runs of one category start; a run reaches to the next start
  kLowerRuns      simple lower-case mappings, as runs of equal distance and step
  kPlainForms     canonical decompositions without their nonspacing marks, where that differs from the code point itself
                  (Hangul syllables are left out: their decomposition is arithmetic)
The categories are those of enum Category in unicode.hpp.
"""
import sys
import unicodedata

CATEGORY = {
    "Cn": "kUnassigned", "Cc": "kControl", "Cf": "kControl", "Co": "kControl", "Cs": "kControl",
    "Lu": "kUpper", "Ll": "kLower", "Lt": "kTitle", "Lm": "kModifier", "Lo": "kOtherLetter",
    "Mn": "kNonspacingMark", "Mc": "kMark", "Me": "kMark", "Nd": "kNumber", "Nl": "kNumber", "No": "kNumber",
}
ORDER = ["kUnassigned", "kControl", "kUpper", "kLower", "kTitle", "kModifier", "kOtherLetter", "kNonspacingMark",
         "kMark", "kNumber", "kPunctuation", "kSymbol", "kSeparator"]
LAST = 0x10FFFF


def category(cp):
    name = unicodedata.category(chr(cp))
    wide = {"P": "kPunctuation", "S": "kSymbol", "Z": "kSeparator"}
    return ORDER.index(CATEGORY.get(name) or wide[name[0]])


def category_runs():
    runs, last = [], None
    for cp in range(LAST + 1):
        now = category(cp)
        if now != last:
            runs.append((cp << 8) | now)
            last = now
    return runs


def lower_runs():
    pairs = []
    for cp in range(LAST + 1):
        low = chr(cp).lower()
        if len(low) == 1 and ord(low) != cp:
            pairs.append((cp, ord(low) - cp))
    runs = []
    for cp, distance in pairs:
        if runs:
            first, last, step, held = runs[-1]
            gap = cp - last
            if held == distance and gap <= 2 and (first == last or gap == step):
                runs[-1] = (first, cp, gap, held)
                continue
        runs.append((cp, cp, 1, distance))
    return runs


def plain_forms():
    forms = []
    for cp in range(LAST + 1):
        if 0xAC00 <= cp <= 0xD7A3 or 0xD800 <= cp <= 0xDFFF:
            continue
        whole = unicodedata.normalize("NFD", chr(cp))
        plain = [ord(c) for c in whole if unicodedata.category(c) != "Mn"]
        if plain and plain != [cp]:
            forms.append((cp, plain))
    return forms


def rows(items):
    out, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > 120:
            out.append(line)
            line = "   "
        line += " " + item + ","
    return "\n".join(out + [line])


def main():
    forms = plain_forms()
    longest = max(len(plain) for _, plain in forms)
    assert longest <= 3, longest
    print(f"// Unicode {unicodedata.unidata_version}: categories, lower case, decompositions. Written by"
          " make_unicode_tables.py; do not edit.")
    print("// clang-format off")
    print('#include "text/unicode_tables.hpp"\n\nnamespace brim::text {\n')
    runs = category_runs()
    print(f"// Code point << 8 | Category.\nextern const std::array<uint32_t, kCategoryRunCount> kCategoryRuns = {{")
    print(rows([hex(run) for run in runs]))
    print("};\n")
    lows = lower_runs()
    print("extern const std::array<LowerRun, kLowerRunCount> kLowerRuns = {{")
    print(rows(["{0x%x, 0x%x, %d, %d}" % run for run in lows]))
    print("}};\n")
    print("extern const std::array<PlainForm, kPlainFormCount> kPlainForms = {{")
    print(rows(["{0x%x, {%s}}" % (cp, ", ".join(hex(p) for p in plain)) for cp, plain in forms]))
    print("}};\n\n}  // namespace brim::text")
    print(f"categories {len(runs)}, lower {len(lows)}, plain {len(forms)}: the counts of unicode_tables.hpp",
          file=sys.stderr)


if __name__ == "__main__":
    main()
