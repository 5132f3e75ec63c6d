"""Holds `brim bench` against other engines on the same files, in turns.

    python3 tests/bench/compare.py --brim build/release/bin/brim \\
        --peer llama.cpp=/opt/llama.cpp/bin/llama-bench --model a.gguf --model b.gguf --threads 1,2 --out compare.json

Every engine runs one prefill and one decode a round, in an order that turns
round by round, so that a machine that drifts drifts for all of them.  A round
is thrown out where processes besides the engine's took more than --foreign of
its processor time (/proc/stat against the engine's own account), and made
again.  Reported are medians of the rounds that count, their ratios, and, as
shares of the limits that `brim bench` measures in each round, how near to the
machine they are.  What `brim bench` knows no limit of (null: a GPU's peaks, all
of a model on several devices) has no share and no line in the diagram.

--peer NAME=PATH is any program that takes llama-bench's options.  --node FOLDER
is a folder in which `npm install node-llama-cpp` was run: llama.cpp as that
package ships it, driven by compare_node.mjs.  --out writes every round as JSON,
--plot the medians in a roofline diagram (SVG).
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
METRICS = ("prefill_tps", "decode_tps")


def busy_seconds():
    """Processor time of all processes since the start; the idle and what virtual machines stole left out."""
    user, nice, system, _, _, irq, softirq = map(int, pathlib.Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / TICK


def children_seconds():
    t = os.times()
    return t.children_user + t.children_system


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nended with {done.returncode}: {done.stderr.strip()[-800:]}")
    return json.loads(done.stdout)


def brim(path, extra):
    def measure(model, threads, args):
        return run([path, "bench", model, "-p", str(args.prompt), "-n", str(args.gen), "-d", str(args.depth),
                    "-s", str(args.seqs), "-t", str(threads), "-r", "1", "-o", "json", "--quiet", *extra])
    return measure


def llama_bench(path):
    def measure(model, threads, args):
        if args.seqs > 1:
            sys.exit("llama-bench decodes one sequence; leave --peer out with --seqs")
        rows = run([path, "-m", model, "-p", str(args.prompt), "-n", str(args.gen), "-d", str(args.depth), "-fa", "1",
                    "-t", str(threads), "-r", "1", "-o", "json"])
        out = {"prefill_tps": None, "decode_tps": None}
        for row in rows:
            out["prefill_tps" if row["n_prompt"] else "decode_tps"] = row["avg_ts"]
        return out
    return measure


def node(folder, gpu):
    def measure(model, threads, args):
        return run(["node", HERE / "compare_node.mjs", folder, os.path.abspath(model),
                    *map(str, (threads, args.prompt, args.gen, args.depth, args.seqs)), gpu])
    return measure


def measure_round(engines, turn, args, model, threads):
    """One result per engine, or None where somebody else was busy."""
    names = list(engines)
    names = names[turn % len(names):] + names[:turn % len(names)]
    results = {}
    for name in names:
        before, own, start = busy_seconds(), children_seconds(), time.monotonic()
        results[name] = engines[name](model, threads, args)
        elapsed = time.monotonic() - start
        own = children_seconds() - own
        foreign = max(0.0, busy_seconds() - before - own) / (elapsed * os.cpu_count())
        results[name]["foreign"] = round(foreign, 4)
        if foreign > args.foreign:
            print(f"  thrown out: {name} had {foreign:.1%} of the processors taken by others", flush=True)
            return None
    return results


def median(rounds, engine, metric):
    values = [r[engine][metric] for r in rounds if r[engine].get(metric)]
    return statistics.median(values) if values else None


def summarise(rounds, engines):
    """Medians, and shares of the round's limits."""
    out = {}
    for name in engines:
        out[name] = {m: median(rounds, name, m) for m in METRICS}
    first = rounds[0]["brim"]
    macs, read = first["macs_per_token"], first["bytes_per_token"]
    out["limits"] = {key: median(rounds, "brim", key)
                     for key in ("bandwidth_gbs", "peak_integer_gmacs", "peak_bfloat_gmacs", "peak_float_gmacs")}
    out["macs_per_token"], out["bytes_per_token"] = macs, read
    for name in engines:
        if out[name]["prefill_tps"] and macs:
            out[name]["prefill_gmacs"] = macs * out[name]["prefill_tps"] / 1e9
        if out[name]["decode_tps"]:
            out[name]["decode_gbs"] = read * out[name]["decode_tps"] / first["sequences"] / 1e9
    return out


def table(results, engines):
    lines = ["| model | threads | engine | rounds | prefill t/s | GMAC/s (of int8, BF16, F32 peak) | decode t/s | "
             "GB/s (of bandwidth) | brim / it: prefill, decode |", "|---|--:|---|--:|--:|--:|--:|--:|--:|"]
    for r in results:
        s, limits = r["summary"], r["summary"]["limits"]
        for name in engines:
            e = s[name]

            def share(value, limit):
                return f"{100 * value / limit:.0f} %" if value and limit else "-"

            def number(value, digits):
                return f"{value:.{digits}f}" if value else "-"

            gmacs = e.get("prefill_gmacs")
            ratio = ", ".join(number(s["brim"][m] / e[m], 2) if s["brim"][m] and e[m] else "-" for m in METRICS)
            lines.append(
                f"| {pathlib.Path(r['model']).stem} | {r['threads']} | {name} | {len(r['rounds'])} | "
                f"{number(e['prefill_tps'], 1)} | {number(gmacs, 0)} ({share(gmacs, limits['peak_integer_gmacs'])}, "
                f"{share(gmacs, limits['peak_bfloat_gmacs'])}, {share(gmacs, limits['peak_float_gmacs'])}) | {number(e['decode_tps'], 1)} | "
                f"{number(e.get('decode_gbs'), 1)} ({share(e.get('decode_gbs'), limits['bandwidth_gbs'])}) | "
                f"{'' if name == 'brim' else ratio} |")
    return "\n".join(lines)


def roofline(results, engines, prompt):
    """Multiply-adds a second over multiply-adds a byte of weights, both axes logarithmic."""
    width, height, margin = 760, 480, 60
    colours = ("#1b6ca8", "#c0392b", "#27864a", "#8e44ad", "#b7791f")
    x_low, x_high, y_low, y_high = 0.2, 4096.0, 1.0, 2000.0

    def x_of(v):
        return margin + (width - 2 * margin) * math.log(v / x_low) / math.log(x_high / x_low)

    def y_of(v):
        return height - margin - (height - 2 * margin) * math.log(v / y_low) / math.log(y_high / y_low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
           f'font-size="11"><rect width="100%" height="100%" fill="white"/>']

    def line(x0, y0, x1, y1, style):
        out.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" {style}/>')

    def text(x, y, words, anchor="start", fill="#333"):
        out.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{words}</text>')

    for e in range(0, 4):
        line(margin, y_of(10 ** e), width - margin, y_of(10 ** e), 'stroke="#ddd"')
        text(margin - 6, y_of(10 ** e) + 4, f"{10 ** e}", "end")
    for e in range(0, 13, 2):
        line(x_of(2 ** e), margin, x_of(2 ** e), height - margin, 'stroke="#ddd"')
        text(x_of(2 ** e), height - margin + 16, f"{2 ** e}", "middle")
    text(width / 2, height - 18, "multiply-adds per byte of weights read", "middle")
    text(margin, margin - 26, "GMAC/s")
    for threads in sorted({r["threads"] for r in results}):
        limits = [r["summary"]["limits"] for r in results if r["threads"] == threads]
        known = [l for l in limits if l["bandwidth_gbs"]]
        for key, words in (("peak_integer_gmacs", "8-bit"), ("peak_bfloat_gmacs", "BF16"), ("peak_float_gmacs", "F32")):
            peaks = [l[key] for l in known if l[key]]
            if not peaks:
                continue
            band = statistics.median(l["bandwidth_gbs"] for l in known)
            peak = statistics.median(peaks)
            knee = peak / band
            line(x_of(knee), y_of(peak), width - margin, y_of(peak), 'stroke="#888" stroke-dasharray="4 3"')
            text(width - margin, y_of(peak) - 4, f"{words} peak, {threads} threads: {peak:.0f}", "end", "#666")
            if key == "peak_integer_gmacs":
                line(x_of(x_low), y_of(max(y_low, x_low * band)), x_of(knee), y_of(peak), 'stroke="#888"')
                text(x_of(1.1), y_of(1.1 * band) - 6, f"{band:.1f} GB/s", "end", "#666")
    for i, name in enumerate(engines):
        colour = colours[i % len(colours)]
        out.append(f'<circle cx="{margin + 8}" cy="{margin - 8 + 14 * i}" r="4" fill="{colour}"/>')
        text(margin + 18, margin - 4 + 14 * i, name)
        for r in results:
            s = r["summary"]
            if not s["macs_per_token"]:
                continue
            intensity = s["macs_per_token"] / s["bytes_per_token"]
            sequences = r["rounds"][0]["brim"]["sequences"]
            points = ((s[name]["decode_tps"], intensity * sequences, "decode"),
                      (s[name]["prefill_tps"], intensity * prompt, "prefill"))
            for tps, x, what in points:
                if not tps:
                    continue
                gmacs = s["macs_per_token"] * tps / 1e9
                title = f"{name}, {pathlib.Path(r['model']).stem}, {r['threads']} threads, {what}: {gmacs:.0f} GMAC/s"
                out.append(f'<circle cx="{x_of(x):.1f}" cy="{y_of(gmacs):.1f}" r="{2 + 2 * r["threads"]}" '
                           f'fill="{colour}" fill-opacity="0.7"><title>{title}</title></circle>')
    return "\n".join(out) + "\n</svg>\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brim", default="build/release/bin/brim")
    parser.add_argument("--brim-option", action="append", default=[], help="passed to `brim bench`; may be repeated")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--node", metavar="FOLDER")
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--node-gpu", default="none", metavar="NAME",
                        help="vulkan or cuda: the package on that interface, none: on the processor")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5, help="that count")
    parser.add_argument("--most-rounds", type=int, default=15, help="thrown out ones included")
    parser.add_argument("--foreign", type=float, default=0.03, help="share of all processors that others may take")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--gen", type=int, default=64)
    parser.add_argument("--depth", type=int, default=0, help="tokens of context in front of what is measured")
    parser.add_argument("--seqs", type=int, default=1, help="sequences that decode side by side")
    parser.add_argument("--out", help="JSON of every round")
    parser.add_argument("--plot", help="SVG")
    args = parser.parse_args()

    engines = {"brim": brim(args.brim, args.brim_option)}
    for peer in args.peer:
        name, _, path = peer.partition("=")
        if not path:
            parser.error(f"--peer {peer}: expected NAME=PATH")
        engines[name] = llama_bench(path)
    if args.node:
        engines["llama.cpp (node-llama-cpp)"] = node(args.node, args.node_gpu)

    results = []
    for model in args.model:
        for threads in map(int, args.threads.split(",")):
            rounds = []
            for turn in range(args.most_rounds):
                if len(rounds) == args.rounds:
                    break
                measured = measure_round(engines, turn, args, model, threads)
                if measured is None:
                    continue
                rounds.append(measured)
                print(f"{pathlib.Path(model).stem}, {threads} threads, round {len(rounds)}: " + "; ".join(
                    f"{n} {r['prefill_tps'] or 0:.1f} / {r['decode_tps'] or 0:.2f}" for n, r in measured.items()),
                    flush=True)
            if not rounds:
                print(f"{model}, {threads} threads: no clean round in {args.most_rounds}; the machine is busy")
                continue
            results.append({"model": model, "threads": threads, "rounds": rounds,
                            "summary": summarise(rounds, engines)})
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(
            {"prompt": args.prompt, "gen": args.gen, "foreign": args.foreign, "results": results}, indent=1) + "\n")
    if args.plot and results:
        pathlib.Path(args.plot).write_text(roofline(results, engines, args.prompt))
    print(table(results, engines))


if __name__ == "__main__":
    main()
