#!/usr/bin/env python3
"""Mutants of the CUDA kernels, each held against brim-check on the machine that runs PTX: do the two notice?

A mutant is one small change of an instruction of the PTX that nvcc made of backends/cuda/kernels: a barrier dropped, an
address shifted by one element, an initialisation or a store dropped, a comparison, a sum, a constant changed. It is put
into a copy of the plugin in place of the original text, comments giving the room that it needs; the test driver refuses
machine code, so what the copy runs is the mutant. No compiler runs.

First the whole plugin runs brim-check's group `ops` while the driver notes which instructions each test runs. Mutants are
drawn by a seed from the instructions that any of them runs, over all files of kernels, and each is held against the tests
that run its instruction, the quickest first, until one fails: in its results, or by a fault of the machine (a race, an
address, a register that nobody wrote, a launch without an end). The driver takes blocks and warps from the last to the
first, and lets grids be so small that kernels go through them in strides.

  ptx_mutants.py BUILD [--count N] [--seed N] [--json FILE] [--again FILE] [--smoke] [--list]

BUILD is the folder of a release build with brim-cuda, its test driver and brim-check. Ends with 0 where every survivor is
explained in ptx_survivors.txt: it is equal to the original in all that the contract speaks of.
"""
import collections
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

import mutants
from operators import Mutant, swap

DRIVER_OPTIONS = "reversed=1,most=20000000"
FEW_GROUPS = ",groups=8"  # so that kernels go through their grids in strides; attention has none
MOST_TESTS = 4  # that a mutant is held against: those that run its instruction, the quickest ones
# The mutants of the everyday tests: a kernel, an operator whose last place in it is taken, and the test that kills.
SMOKE = [
    ("norm_51", "barrier", "ops.rms-norm"),
    ("select_best", "comparison", "ops.argmax"),
    ("norm_50", "initialisation", "ops.softmax"),
    ("combine", "address", "ops.moe-combine"),
    ("copy_1_2", "store", "ops.copy"),
    ("scatter", "negation", "ops.scatter-rows"),
]
WEIGHTS = {"barrier": 24, "address": 24, "initialisation": 12, "store": 10, "bound": 10, "arithmetic": 10, "constant": 10,
           "comparison": 8, "accumulation": 6, "bits": 6, "extreme": 5, "negation": 5, "choice": 4, "real": 4,
           "sign": 3, "logic": 3}

GUARD = r"\s*(?:@!?%p\d+\s+)?"  # what may stand in front of an instruction
BYTES = {"8": 1, "16": 2, "32": 4, "64": 8}


def dropped(pattern):
    """The whole instruction."""

    def rule(line):
        match = re.match(rf"{GUARD}({pattern})", line)
        if match:
            yield match.start(1), match.end(1), ""

    return rule


def shifted_address(line):
    match = re.match(rf"{GUARD}(?:ld|st)\.[\w.]*?[busf](8|16|32|64)\s[^\[]*\[([\w$%]+)(?:\+(-?\d+))?\]", line)
    if match:
        yield match.start(2), line.index("]"), f"{match.group(2)}+{int(match.group(3) or 0) + BYTES[match.group(1)]}"


def constants(line):
    # The last operand, where it is a whole number.
    match = re.match(rf"{GUARD}(?!shfl|bar)[a-z]+\.[\w.]+\s.*, (-?\d+);", line)
    if match:
        yield match.start(1), match.end(1), str(int(match.group(1)) + 1)


def real_constants(line):
    for match in re.finditer(r"(?<=, )0f([3-4B-C][0-9A-F]{7})(?=[,;])", line):
        if not re.match(rf"{GUARD}mov", line):
            yield match.start(1), match.end(1), f"{int(match.group(1), 16) ^ 0x00100000:08X}"  # by an eighth of its power of two


def accumulation(line):
    match = re.match(rf"{GUARD}(fma\.rn\.f32)(\s.*), [^,]+;", line)
    if match:
        yield match.start(1), line.index(";"), "mul.f32" + match.group(2)
    match = re.match(rf"{GUARD}(mad)(\.lo\.s(?:32|64)\s.*), [^,]+;", line)
    if match:
        yield match.start(1), line.index(";"), "mul" + match.group(2)


def choice(line):
    match = re.match(rf"{GUARD}selp\.\w+\s+%\w+, ([^,]+), ([^,]+), %p\d+;", line)
    if match and match.group(1) != match.group(2):
        yield match.start(1), match.end(2), f"{match.group(2)}, {match.group(1)}"


def negation(line):
    match = re.match(r"\s*@(!?)%p\d+\s", line)
    if match:
        yield match.start(1), match.end(1), "" if match.group(1) else "!"


OPERATORS = {
    "barrier": dropped(r"bar\.(?:warp\.)?sync\s[^;]*;"),
    "address": shifted_address,
    "initialisation": dropped(r"mov\.\w+\s+%\w+, (?:0[fd][0-9A-F]+|-?\d+);"),
    "store": dropped(r"st\.[^;]*;"),
    "bound": swap(r"\bsetp\.(lt|le|gt|ge)(?=\.)", {"lt": "le", "le": "lt", "gt": "ge", "ge": "gt"}),
    "comparison": swap(r"\bsetp\.(eq|ne|equ|neu)(?=\.)", {"eq": "ne", "ne": "eq", "equ": "neu", "neu": "equ"}),
    "logic": swap(r"\b(and|or)(?=\.pred)", {"and": "or", "or": "and"}),
    "arithmetic": swap(rf"^{GUARD}(add|sub|mul(?=\.f32)|mul\.lo|mul(?=\.rn))(?=\.)",
                       {"add": "sub", "sub": "add", "mul": "add", "mul.lo": "add"}),
    "accumulation": accumulation,
    "bits": swap(r"\b((?:and|or|xor)\.b(?:16|32|64)|shl\.b32|shr\.[us]32|shl\.b64|shr\.[us]64)(?=\s)",
                 {"and.b16": "or.b16", "and.b32": "or.b32", "and.b64": "or.b64", "or.b16": "and.b16", "or.b32": "and.b32",
                  "or.b64": "and.b64", "xor.b32": "or.b32", "shl.b32": "shr.u32", "shr.u32": "shl.b32", "shr.s32": "shl.b32",
                  "shl.b64": "shr.u64", "shr.u64": "shl.b64"}),
    "extreme": swap(r"\b(min|max)(?=\.)", {"min": "max", "max": "min"}),
    "sign": swap(r"^\s*(neg)(?=\.f32)", {"neg": "mov"}),
    "negation": negation,
    "choice": choice,
    "constant": constants,
    "real": real_constants,
}


class Texts:
    """The PTX of the build, and the library that holds it."""

    def __init__(self, folder):
        self.library = folder / "lib/brim/plugins/libbrim-cuda.so"
        self.text = {p.stem: p.read_text() for p in sorted((folder / "backends/cuda").glob("*.ptx"))}
        if not self.text or not self.library.exists():
            sys.exit(f"{folder}: no build of brim-cuda there")
        self.kernels, self.code = {}, {}  # kernel -> (part, first line, last line); part -> number of instructions
        for part, text in self.text.items():
            begun, n = None, 0
            for number, line in enumerate(text.split("\n"), 1):
                match = re.match(r"\.visible \.entry (\w+)\(", line)
                begun = (match.group(1), number) if match else begun
                n += 1 if begun and re.match(r"\t(@!?%p\d+ )?[a-z]", line) else 0
                if line == "}" and begun:
                    self.kernels[begun[0]] = (part, begun[1], number)
                    begun = None
            self.code[part] = n

    def mutants(self, kernel, lines):
        """All of a kernel, in those lines."""
        part, first, last = self.kernels[kernel]
        out, at = [], 0
        for number, line in enumerate(self.text[part].split("\n"), 1):
            if first <= number <= last and number in lines:
                for operator, rule in OPERATORS.items():
                    for begin, end, text in rule(line):
                        after = " ".join((line[:begin] + text + line[end:]).split())
                        out.append(Mutant(f"{part}/{kernel}", number, operator, " ".join(line.split()), after,
                                          at + begin, at + end, text))
            at += len(line) + 1
        return out

    def make(self, mutant, scratch):
        """The mutant's library in `scratch`."""
        part = mutant.file.split("/")[0]
        whole = self.text[part].encode()
        text = self.text[part][: mutant.begin] + mutant.text + self.text[part][mutant.end :]
        text = re.sub(r"//[^\n]*", "", text).encode()
        image = self.library.read_bytes()
        if image.count(whole) != 1 or len(text) > len(whole):
            sys.exit(f"{self.library} does not hold {part}.ptx once, or the mutant has no room there")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        library = scratch / self.library.name
        library.write_bytes(image.replace(whole, text.ljust(len(whole), b"\n")))
        shutil.copy(self.library.parent / "brim-cuda.toml", scratch)
        return library


def driver_options(test):
    return DRIVER_OPTIONS + ("" if test == "ops.attention" else FEW_GROUPS)


class Reach:
    """Which tests run which instructions, and how long they take."""

    def __init__(self, checker, library, tests, folder):
        self.seconds, self.tests = {}, collections.defaultdict(list)  # (kernel, line) -> tests
        for test in tests:
            file = pathlib.Path(folder) / test
            os.environ["BRIM_TEST_CUDA"] = f"{driver_options(test)},reached={file}"
            start = time.monotonic()
            failure = checker.begin(library, [test])
            if failure:
                sys.exit(f"the backend itself does not pass: {failure[0]}: {failure[1]}")
            self.seconds[test] = time.monotonic() - start
            for line in set(file.read_text().splitlines()) if file.exists() else ():
                kernel, number = line.split()
                self.tests[kernel, int(number)].append(test)
        for found in self.tests.values():
            found.sort(key=self.seconds.get)

    def lines(self, kernel):
        return {number for name, number in self.tests if name == kernel}


def fixed(texts, kernel, operator):
    part, first, last = texts.kernels[kernel]
    found = [m for m in texts.mutants(kernel, range(first, last)) if m.operator == operator]
    if not found:
        sys.exit(f"{kernel} has no {operator} any more; give SMOKE another mutant")
    return found[-1]


def coverage(texts, reach):
    """Of each file of kernels, how many instructions the tests run."""
    ran = collections.Counter(texts.kernels[kernel][0] for kernel, _ in reach.tests)
    return ", ".join(f"{part} {100 * ran[part] / n:.0f} %" for part, n in texts.code.items())


def main():
    options = mutants.arguments("Mutants of the CUDA kernels against brim-check",
                                "a few fixed mutants of small kernels, which have to be killed")
    folder = pathlib.Path(options.build).resolve()
    texts = Texts(folder)
    checker = mutants.Checker(folder, ["--option", f"cuda.driver={folder}/lib/test/libcuda.so.1"])
    with tempfile.TemporaryDirectory(prefix="brim-ptx-mutants-") as scratch:
        scratch = pathlib.Path(scratch)
        tests = [test for _, _, test in SMOKE] if options.smoke else checker.tests("ops")
        reach = Reach(checker, texts.library, tests, scratch)
        print("instructions that brim-check runs: " + coverage(texts, reach), flush=True)
        if options.smoke:
            drawn = [fixed(texts, kernel, operator) for kernel, operator, _ in SMOKE]
        else:
            by_part = collections.defaultdict(list)
            for kernel, (part, *_) in texts.kernels.items():
                by_part[part] += texts.mutants(kernel, reach.lines(kernel))
            drawn = mutants.draw(by_part, options.count, options.seed, weights=WEIGHTS)
            mutants.say_draw(by_part, drawn, options.seed)
        if options.list:
            print("\n".join(m.name for m in drawn))
            return 0

        def judge(mutant):
            start = time.monotonic()
            library = texts.make(mutant, scratch / "mutant")
            failure = None
            for test in reach.tests[mutant.file.split("/")[1], mutant.line][:MOST_TESTS]:
                os.environ["BRIM_TEST_CUDA"] = driver_options(test)
                failure = failure or checker.first_failure(library, [test])
            refused = failure and "loading kernels" in failure[1]
            return {**mutants.verdict(failure, refused), "seconds": round(time.monotonic() - start, 1)}

        results = mutants.hold(drawn, options, judge)
    killed, unexplained = mutants.conclude(results, "ptx_survivors.txt")
    return 1 if unexplained or (options.smoke and killed < len(SMOKE)) else 0


if __name__ == "__main__":
    sys.exit(main())
