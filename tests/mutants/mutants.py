#!/usr/bin/env python3
"""Mutants of the CPU backend, each held against brim-check: does the checker notice?

A seeded draw picks small changes of backends/cpu (operators.py), spread over its files. For each, the files that see the
change are compiled again, at -O1, and linked with the other objects of the release build into a plugin in a scratch
folder; then brim-check runs its groups, those first that know the changed file best, and stops at the first test that
fails, or that is skipped though the whole backend passes it. That is a kill. What every group lets pass has survived: it changes nothing that the contract speaks of, which
survivors.txt explains mutant by mutant, or it shows a gap in the checker.

  mutants.py BUILD [--count N] [--seed N] [--json FILE] [--again FILE] [--smoke] [--list]

BUILD is the folder of a release build with brim-cpu-avx2 and brim-check. Ends with 0 where every survivor is explained, that
is, equal to the original in all that the contract speaks of; those count neither for nor against the checker.
"""
import argparse
import collections
import json
import math
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import operators

HERE = pathlib.Path(__file__).resolve().parent
BACKEND = HERE.parent.parent / "backends" / "cpu"
TARGET = "brim-cpu-avx2"
LIBRARY = "libbrim-cpu-avx2.so"
SEED = 20
GROUP_SECONDS = 900  # a hang: each test of brim-check has a limit of its own

# Groups and tests of brim-check by what was changed, best first; all others follow.
FIRST = {
    "device": ["buffers", "contract", "load"],
    "formats": ["ops.gather-rows", "ops.copy", "ops.matmul", "ops.kv-write"],
    "matmul": ["ops.matmul", "ops.grouped-matmul"],
    "ops/attention": ["ops.attention"],
    "ops/binary": ["ops.binary"],
    "ops/copy": ["ops.copy", "ops.concat"],
    "ops/moe": ["ops.moe-route", "ops.moe-combine"],
    "ops/norm": ["ops.rms-norm", "ops.layer-norm", "ops.l2-norm", "ops.softmax"],
    "ops/product": ["ops.matmul", "ops.grouped-matmul"],
    "ops/recurrent": ["ops.causal-conv1d", "ops.linear-attention", "states.slots"],
    "ops/rope": ["ops.rope"],
    "ops/rows": ["ops.gather-rows", "ops.scatter-rows"],
    "ops/select": ["ops.argmax", "ops.topk"],
    "ops/unary": ["ops.unary", "ops.affine-clamp", "ops.glu"],
    "plugin": ["contract", "load", "faults"],
    "program": ["contract", "programs"],
    "state": ["states", "ops.kv-write", "ops.attention"],
}
# The mutants of the everyday tests: their kills show that the machinery works. File, what stands there, what then, and the
# test that kills.
SMOKE = [
    ("ops/rows.cpp", "if (piece == nullptr) {", "if (piece != nullptr) {", "ops.gather-rows"),
    ("ops/rope.cpp", "first * s + second * c", "first * s - second * c", "ops.rope"),
    ("state/slots.cpp", "layout.bytes * slot;", "layout.bytes * (slot + 1);", "states.slots"),
    ("device/timeline.cpp", "if (value > fence->value) fence->value = value;", "fence->value = value;", "buffers.fences"),
    ("plugin/settings.cpp", "if (std::find(known.begin(), known.end(), key) != known.end()) return;", "return;", "load.unknown-setting"),
    ("device/device.cpp", "return buffer->data + offset;", "return buffer->data;", "buffers.copy"),
]

# What no mutant is drawn from, and why: lines, and functions by the name before their parenthesis ("": the whole file).
EXCLUDED_LINES = [
    (r"__builtin_prefetch", "a hint to the processor"),
    (r"\bshare\(|\w*Cost\b|\bcost\b", "an estimate of time: it decides how work is cut, never what comes out"),
    (r"\bcheck_count\(", "a guard against hosts that break the contract"),
    (r"\bkSpins\b|\bkYields\b|_mm_pause", "how long a thread looks before it sleeps"),
]
EXCLUDED_FUNCTIONS = [
    ("plugin/settings.cpp", "distance", "which setting a message calls the nearest"),
    ("device/processor_name.cpp", "", "the processor's name, for people"),
    ("ops/unary.cpp", "cost_of", "an estimate of time"),
    ("matmul/flat.cpp", "reference", "the scalar definition, which tests of kernels compare with and no program runs"),
    ("matmul/strict.cpp", "reference", "the same"),
    ("matmul/super.cpp", "reference", "the same"),
    ("formats/half.hpp", "float_to_half_soft", "the drawn variant converts by an instruction; tests of kernels compare the two"),
    ("formats/half.hpp", "half_to_float_soft", "the same"),
    ("program/run.cpp", "check_count", "a guard against hosts that break the contract"),
    ("program/run.cpp", "check_kv", "a guard against hosts that break the contract"),
]
# `if (...) fail(INVALID_ARGUMENT, ...)` guards against hosts that break the contract; brim-check is a host that keeps it.
GUARD = re.compile(r"\bif \([^{};]*?\)\s*\{?\s*fail\(BRIM_INVALID_ARGUMENT\b[^;]*;")
WEIGHTS = {"constant": 14, "arithmetic": 14, "statement": 14, "bound": 12, "comparison": 8, "logic": 7, "bits": 6,
           "initialisation": 6, "compound": 5, "negation": 5, "extreme": 5, "truth": 4, "real": 4, "sign": 3, "barrier": 3,
           "rounding": 2}


class Build:
    """The release build's own commands for the backend's library."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        self.compile, self.link = {}, None
        commands = subprocess.run(["ninja", "-t", "commands", TARGET], cwd=self.folder, check=True, capture_output=True, text=True)
        for line in commands.stdout.splitlines():
            match = re.search(r" -o (\S+\.o) -c (\S+)", line)
            if match and f"/{TARGET}.dir/" in match.group(1):
                words = [w for w in shlex.split(line) if "ccache" not in w]
                words = words[: words.index("-MD")]
                self.compile[pathlib.Path(match.group(2)).relative_to(BACKEND).as_posix()] = (words, match.group(1))
            elif f"-o lib/brim/plugins/{LIBRARY}" in line:
                # `: && LINK && what comes after it`, by the generator's habit: the library alone is made here.
                steps = line.split(" && ")
                self.link = shlex.split(next(s for s in steps if f"-o lib/brim/plugins/{LIBRARY}" in s))
        if not self.compile or self.link is None:
            sys.exit(f"{folder}: no ninja build of {TARGET}; try ./bootstrap build")
        self.live, self.sees = collections.defaultdict(set), collections.defaultdict(set)
        for unit in self.compile:
            self.preprocess(unit)

    def preprocess(self, unit):
        """Which lines of which files are left for the compiler, and which files the unit is made of."""
        words = self.compile[unit][0] + ["-E", str(BACKEND / unit)]
        text = subprocess.run(words, cwd=self.folder, check=True, capture_output=True, text=True).stdout
        file, number = None, 0
        for line in text.splitlines():
            marker = re.match(r'# (\d+) "([^"]*)"', line)
            if marker:
                number, path = int(marker.group(1)), marker.group(2)
                file = os.path.relpath(path, BACKEND) if path.startswith(str(BACKEND) + "/") else None
                if file:
                    self.sees[file].add(unit)
                continue
            if file and line.strip():
                self.live[file].add(number)
            number += 1

    def make(self, mutant, scratch):
        """The mutant's library in `scratch`, or None where it does not compile."""
        sources, plugins = scratch / "cpu", scratch / "plugins"
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(BACKEND, sources)
        plugins.mkdir()
        text = (sources / mutant.file).read_text()
        (sources / mutant.file).write_text(text[: mutant.begin] + mutant.text + text[mutant.end :])
        link = list(self.link)
        for unit in sorted(self.sees[mutant.file]):
            words, made = self.compile[unit]
            mine = str(scratch / (unit.replace("/", "_") + ".o"))
            words = [w.replace(str(BACKEND), str(sources)) for w in words] + ["-O1", "-w", "-c", str(sources / unit), "-o", mine]
            if subprocess.run(words, cwd=self.folder, capture_output=True).returncode != 0:
                return None
            link[link.index(made)] = mine
        library = plugins / LIBRARY
        link[link.index("-o") + 1] = str(library)
        subprocess.run(link, cwd=self.folder, check=True, capture_output=True)
        shutil.copy(self.folder / "lib/brim/plugins" / (TARGET + ".toml"), plugins)
        return library


def lines_of(text, begin, end):
    return range(text.count("\n", 0, begin) + 1, text.count("\n", 0, end) + 2)


def excluded_lines(file, text):
    mask, out = operators.masked(text), set()
    for pattern, _ in EXCLUDED_LINES:
        for match in re.finditer(pattern, mask):
            out.update(lines_of(mask, match.start(), match.end()))
    for match in GUARD.finditer(mask):
        out.update(lines_of(mask, match.start(), match.end()))
    # The arguments of messages: what they say is read by people. The call's first line stays.
    for match in re.finditer(r"\bfail\([^;]*?\);", mask):
        out.update(list(lines_of(mask, match.start(), match.end()))[1:])
    # Scalar definitions, which tests of kernels compare with and no program runs.
    for match in re.finditer(r"^namespace reference \{.*?^\}  // namespace reference", text, re.S | re.M):
        out.update(lines_of(text, match.start(), match.end()))
    for where, name, _ in EXCLUDED_FUNCTIONS:
        if where == file:
            match = re.search(rf"^[^\n]*\b{name}\([^;]*?\{{\n.*?^\}}", mask, re.S | re.M) if name else re.search(r".*", mask, re.S)
            out.update(lines_of(mask, match.start(), match.end()))
    return out


def sites(build):
    """All mutants, by file."""
    out = {}
    for path in sorted(BACKEND.rglob("*.[ch]pp")):
        file = path.relative_to(BACKEND).as_posix()
        live = build.live.get(file, set())
        if not live:
            continue  # of another system or another instruction set
        text = path.read_text()
        quiet = excluded_lines(file, text)
        found = operators.mutants_of(file, text, lambda n: n in live and n not in quiet)
        if found:
            out[file] = found
    return out


def draw(by_file, count, seed, wide=(), weights=WEIGHTS):
    """Of each file a number like the root of its size, at least one; of each operator what its weight says. Of headers that
    many units see, one: they take long to build."""
    roots = {file: math.sqrt(len(found)) for file, found in by_file.items()}
    scale, out = count / sum(roots.values()), []
    for file, found in by_file.items():
        rng = random.Random(f"{seed} {file}")  # a file that changes leaves the draw of the others as it was
        of = collections.defaultdict(list)
        for mutant in found:
            of[mutant.operator].append(mutant)
        for _ in range(1 if file in wide else max(1, round(roots[file] * scale))):
            left = [name for name in of if of[name]]
            if not left:
                break
            name = rng.choices(left, [weights[n] for n in left])[0]
            out.append(of[name].pop(rng.randrange(len(of[name]))))
    # One change a line is enough.
    seen = set()
    return [m for m in out if not ((m.file, m.line) in seen or seen.add((m.file, m.line)))]


def fixed(file, old, new):
    text = (BACKEND / file).read_text()
    if text.count(old) != 1:
        sys.exit(f"{file} has no such line any more; give SMOKE another mutant: {old}")
    begin = text.index(old)
    return operators.Mutant(file, text.count("\n", 0, begin) + 1, "fixed", old, new, begin, begin + len(old), new)


class Checker:
    def __init__(self, folder, options=()):
        self.program = folder / "bin" / "brim-check"
        self.options = list(options)
        listed = subprocess.run([self.program, "--list"], check=True, capture_output=True, text=True).stdout
        self.all = [line.split(" ")[0] for line in listed.splitlines() if "." in line.split(" ")[0]]
        self.groups = list(dict.fromkeys(test.split(".")[0] for test in self.all))

    def tests(self, group):
        return [test for test in self.all if test.startswith(group + ".")]

    def order(self, file):
        first = next((tests for prefix, tests in FIRST.items() if file.startswith(prefix)), [])
        return first + [g for g in self.groups if g not in first]

    def first_failure(self, library, groups):
        """(test, finding) of the first test that fails, or is skipped though the whole backend passes it; None where all
        hold."""
        for group in groups:
            failure = self.run(library, group)
            if failure:
                return failure
        return None

    def run(self, library, group):
        command = [self.program, str(library), "--group", group, "--seed", "7", *self.options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True) as child:
            alarm = signal.signal(signal.SIGALRM, lambda *_: os.killpg(child.pid, signal.SIGKILL))
            signal.alarm(GROUP_SECONDS)
            try:
                failure = self.read(child.stdout)
                if failure:
                    os.killpg(child.pid, signal.SIGKILL)
            finally:
                signal.alarm(0)
                signal.signal(signal.SIGALRM, alarm)
        if not failure and child.returncode not in (0, 3):
            failure = group, f"brim-check ends with code {child.returncode}"
        return failure

    def read(self, lines):
        for line in lines:
            match = re.match(r"(ok|FAIL|skip) +(\S+) +\S+ s ?(.*)", line)
            if match is None:
                continue
            verdict, test, rest = match.groups()
            if verdict == "ok" and self.passed is None:
                self.whole.add(test)
            if verdict == "skip" and self.passed is not None and test in self.passed:
                return test, "skipped: " + rest.strip()
            if verdict == "FAIL":
                return test, next(lines, "").strip()
        return None

    def begin(self, library, groups):
        """Runs the whole backend, which has to pass; what it passes, mutants may not have skipped."""
        self.passed, self.whole = None, set()
        failure = self.first_failure(library, groups)
        self.passed = self.whole
        return failure


def explanations(file):
    """A mutant without its line number, and indented below it why it lives."""
    out, name = {}, None
    path = HERE / file
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith(" "):
            out[name] = (out[name] + " " + line.strip()).strip()
        else:
            name = line.strip()
            out[name] = ""
    return out


def key(name):
    return re.sub(r":\d+ \[", " [", name).strip()


def table(results, known):
    rows = collections.defaultdict(collections.Counter)
    killers = collections.Counter()
    for r in results:
        for row in (r["file"].split("/")[0] + "/", "operator " + r["operator"], "all"):
            rows[row][r["verdict"] if not (r["verdict"] == "survived" and known.get(key(r["name"]))) else "equal"] += 1
        if r["verdict"] == "killed":
            killers[r["by"].split(".")[0]] += 1
    out = ["| mutants of | drawn | not compiled | equal | killed | survived | killed of those that differ |",
           "|---|--:|--:|--:|--:|--:|--:|"]
    for row in sorted(rows, key=lambda n: (n == "all", n.startswith("operator"), n)):
        c = rows[row]
        differ = c["killed"] + c["survived"]
        share = f"{100 * c['killed'] / differ:.1f} %" if differ else "-"
        out.append(f"| {row} | {sum(c.values())} | {c['not compiled']} | {c['equal']} | {c['killed']} | {c['survived']} | {share} |")
    out += ["", "Killed by: " + ", ".join(f"{g} {n}" for g, n in killers.most_common()) + "."]
    return "\n".join(out)


def arguments(description, smoke):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("build")
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--part", default="1/1", metavar="I/N", help="every N-th of the draw from the I-th on: several run side by side")
    parser.add_argument("--json", help="write the results here after each mutant")
    parser.add_argument("--again", help="results of an earlier run: only what survived there is run again")
    parser.add_argument("--smoke", action="store_true", help=smoke)
    parser.add_argument("--list", action="store_true", help="print the draw and end")
    return parser.parse_args()


def say_draw(by_file, drawn, seed):
    print(f"{sum(map(len, by_file.values()))} mutants in {len(by_file)} files; {len(drawn)} drawn with seed {seed}", flush=True)


def hold(drawn, options, judge):
    """The results of all: of those that --again knows as dealt with from there, else what judge(mutant) says: verdict, what
    killed it and with which words, seconds."""
    earlier, results = {}, []
    first, parts = map(int, options.part.split("/"))
    drawn = drawn[first - 1::parts]
    if options.again:
        earlier = {r["name"]: r for r in json.loads(pathlib.Path(options.again).read_text())["mutants"]}
    for number, mutant in enumerate(drawn, 1):
        before = earlier.get(mutant.name)
        if before and before["verdict"] != "survived":
            results.append(before)
            continue
        result = {"name": mutant.name, "file": mutant.file, "operator": mutant.operator, **judge(mutant)}
        results.append(result)
        say = result["verdict"] + (f" by {result['by']}" if "by" in result else "")
        print(f"{number:>3} {say:<44} {mutant.name}", flush=True)
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps({"seed": options.seed, "mutants": results}, indent=1) + "\n")
    return results


def verdict(failure, refused):
    out = {"verdict": "not compiled" if refused else "killed" if failure else "survived"}
    if failure:
        out["by"], out["finding"] = failure
    return out


def conclude(results, file):
    """Prints the table; returns how many were killed and how many live unexplained."""
    known = explanations(file)
    killed = sum(r["verdict"] == "killed" for r in results)
    survived = [r for r in results if r["verdict"] == "survived"]
    unexplained = [r["name"] for r in survived if not known.get(key(r["name"]))]
    print("\n" + table(results, known))
    for name in unexplained:
        print(f"not explained in {file}: {name}")
    print(f"{killed} killed, {len(survived) - len(unexplained)} equal, {len(unexplained)} not explained")
    return killed, len(unexplained)


def main():
    options = arguments("Mutants of the CPU backend against brim-check",
                        "one mutant of each of a few small files, which have to be killed")
    build = Build(options.build)
    by_file = {} if options.smoke else sites(build)
    if options.smoke:
        drawn = [fixed(*of[:3]) for of in SMOKE]
    else:
        drawn = draw(by_file, options.count, options.seed, [f for f, units in build.sees.items() if len(units) > 8])
    if options.list:
        print("\n".join(m.name for m in drawn))
        return 0
    if not options.smoke:
        say_draw(by_file, drawn, options.seed)
    checker = Checker(build.folder)
    groups = {(of[0], of[1]): [of[3]] for of in SMOKE} if options.smoke else {}
    whole = checker.begin(build.folder / "lib/brim/plugins" / LIBRARY, sorted(set(sum(groups.values(), []))) or checker.groups)
    if whole:
        sys.exit(f"the backend itself does not pass: {whole[0]}: {whole[1]}")
    with tempfile.TemporaryDirectory(prefix="brim-mutants-") as folder:

        def judge(mutant):
            start = time.monotonic()
            library = build.make(mutant, pathlib.Path(folder) / "mutant")
            built = time.monotonic()
            tests = groups.get((mutant.file, mutant.before)) or checker.order(mutant.file)
            failure = checker.first_failure(library, tests) if library else None
            seconds = [round(built - start, 1), round(time.monotonic() - built, 1)]
            return {**verdict(failure, library is None), "seconds": seconds}

        results = hold(drawn, options, judge)
    return 1 if conclude(results, "survivors.txt")[1] else 0


if __name__ == "__main__":
    sys.exit(main())
