"""The mutants of a C++ file: one small change each, found by looking at its text.

A file is first masked: comments, strings, character constants, preprocessor lines and static_asserts become blanks of the
same length, so that a place in the mask is a place in the text. An operator is a rule that finds places in a line of the
mask and says what stands there instead. It knows no types; a mutant that does not compile is counted apart and is no one's
fault. The code is formatted by clang-format, which the rules lean on: a comparison has spaces around it, a template's
angle brackets have none.
"""
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    file: str  # from the backend's folder
    line: int  # from 1
    operator: str
    before: str  # the whole line, stripped
    after: str
    begin: int  # in the file's text
    end: int
    text: str  # in place of [begin, end)

    @property
    def name(self):
        return f"{self.file}:{self.line} [{self.operator}] {self.before}  ->  {self.after}"


def blanks(match):
    return re.sub(r"[^\n]", " ", match.group())


def masked(text):
    """Blanks for whatever is no code. Multi-line macros go with their backslashes."""
    tokens = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|(?<![0-9a-zA-Z])\'(?:\\.|[^\'\\\n])+\''
    text = re.sub(tokens, blanks, text, flags=re.S)
    text = re.sub(r"__attribute__\(\(.*?\)\)(?=[;\s])", blanks, text)
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blanks, text, flags=re.M)
    return re.sub(r"\bstatic_assert\b[^;]*;", blanks, text, flags=re.S)


def swap(pattern, table):
    """Each match of the pattern's group 1 becomes what the table says of it."""

    def rule(line):
        for match in re.finditer(pattern, line):
            if match.group(1) in table:
                yield match.start(1), match.end(1), table[match.group(1)]

    return rule


def constants(line):
    # Whole numbers that stand for a count, a shift, an index; not in declarations of arrays or as template arguments.
    for match in re.finditer(r"(?<![\w.'])(\d+)(u|ull|ll)?(?![\w.'])", line):
        number = int(match.group(1))
        yield match.start(1), match.end(1), str(number + 1)
        if number > 1:
            yield match.start(1), match.end(1), str(number - 1)


def real_constants(line):
    for match in re.finditer(r"(?<![\w.])(\d+\.\d+(?:e-?\d+)?)f?(?![\w.])", line):
        value = float(match.group(1))
        yield match.start(1), match.end(1), repr(value * 1.125 if value else 1.0)


# A line that is one whole statement: an assignment to something that exists, a call, an increment.
ASSIGNMENT = re.compile(r"^\s*\*?[\w.\->\[\]():+* ]*?[\w\])]\s(?:[-+*/|&^]|<<|>>)?=\s[^=].*;\s*$")
DECLARATION = re.compile(r"^\s*(?:static |constexpr |const |inline |mutable )*[\w:<>,]+[\s&*]+\w+(?:\[[^\]]*\])?\s*[={(]")
CALL = re.compile(r"^\s*(?!return|if|for|while|switch|else|case|using|throw|do|delete)[\w.\->:\[\]]+\(.*\);\s*$")
STEP = re.compile(r"^\s*(?:\+\+|--)[\w.\->\[\]]+;\s*$")


def is_statement(line):
    if line.count("(") != line.count(")") or line.count("{") != line.count("}"):
        return False
    if STEP.match(line) or CALL.match(line):
        return True
    return bool(ASSIGNMENT.match(line)) and not DECLARATION.match(line)


def dropped_statement(line):
    if is_statement(line):
        begin = len(line) - len(line.lstrip())
        yield begin, line.rindex(";"), ""


def dropped_initialisation(line):
    declared = r"^\s*(?!const|constexpr|static|using|return|auto)[\w:<>]+[\s*]+\w+(?:\[[^\]]*\])?(\s=\s[^,;(){}]+|\{\}|\s=\s\{\})\s*;"
    match = re.match(declared, line)
    if match:
        yield match.start(1), match.end(1), ""


def dropped_barrier(line):
    match = re.match(r"^\s*((?:const )?std::(?:lock_guard|unique_lock|scoped_lock)\b.*|.*(?:barrier|\.wait\(|notify_\w+|drain)\(.*\)?);\s*$", line)
    if match and line.count("(") == line.count(")"):
        yield match.start(1), match.end(1), ""


def dropped_negation(line):
    for match in re.finditer(r"(?<=[\s(])(!)(?=[\w(])", line):
        yield match.start(1), match.end(1), ""


def dropped_sign(line):
    for match in re.finditer(r"(?<=[(,=?:] )(-)(?=[\w(])|(?<=\()(-)(?=[\w(])", line):
        yield match.start(), match.end(), ""


OPERATORS = {
    "bound": swap(r" (<=|>=|<|>) ", {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}),
    "comparison": swap(r" (==|!=) ", {"==": "!=", "!=": "=="}),
    "logic": swap(r" (&&|\|\|) ", {"&&": "||", "||": "&&"}),
    "arithmetic": swap(r"(?<=[\w)\]]) ([-+*/%]) (?=[\w(*&-])", {"+": "-", "-": "+", "*": "+", "/": "*", "%": "/"}),
    "bits": swap(r"(?<=[\w)\]]) (&|\||\^|<<|>>) (?=[\w(~])", {"&": "|", "|": "&", "^": "|", "<<": ">>", ">>": "<<"}),
    "compound": swap(r" ([-+*|&]=) ", {"+=": "-=", "-=": "+=", "*=": "+=", "|=": "&=", "&=": "|="}),
    "extreme": swap(r"\b((?:std::|f|_mm\d*_)?(?:min|max))(?=[_(<])", {"std::min": "std::max", "std::max": "std::min",
                    "fmin": "fmax", "fmax": "fmin", "_mm256_min": "_mm256_max", "_mm256_max": "_mm256_min",
                    "_mm_min": "_mm_max", "_mm_max": "_mm_min"}),
    "rounding": swap(r"\b(_MM_FROUND_TO_NEAREST_INT|_mm256_cvtps_epi32|std::nearbyint|std::lrint|std::rint|std::floor|"
                     r"std::ceil|std::round)\b",
                     {"_MM_FROUND_TO_NEAREST_INT": "_MM_FROUND_TO_ZERO", "_mm256_cvtps_epi32": "_mm256_cvttps_epi32",
                      "std::nearbyint": "std::trunc", "std::lrint": "static_cast<long>", "std::rint": "std::trunc",
                      "std::floor": "std::ceil", "std::ceil": "std::floor", "std::round": "std::floor"}),
    "truth": swap(r"\b(true|false)\b", {"true": "false", "false": "true"}),
    "constant": constants,
    "real": real_constants,
    "statement": dropped_statement,
    "initialisation": dropped_initialisation,
    "barrier": dropped_barrier,
    "negation": dropped_negation,
    "sign": dropped_sign,
}


def mutants_of(file, text, is_live):
    """All of them, in order. is_live(line): whether the preprocessor leaves anything of it in the variant under test."""
    mask, out, at = masked(text), [], 0
    for number, (line, seen) in enumerate(zip(text.split("\n"), mask.split("\n")), 1):
        declares = re.match(r"\s*(template|using|enum|namespace|case|public|private)\b", seen)
        if seen.strip() and not declares and is_live(number):
            for operator, rule in OPERATORS.items():
                for begin, end, replacement in rule(seen):
                    after = line[:begin] + replacement + line[end:]
                    out.append(Mutant(file, number, operator, line.strip(), after.strip(), at + begin, at + end, replacement))
        at += len(line) + 1
    return out
