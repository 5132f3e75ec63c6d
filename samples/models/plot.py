"""Draws a training log as an SVG chart: python3 plot.py train-log.jsonl loss.svg"""

import json
import pathlib
import sys

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 320, 56, 44, 20, 20
CURVES = (("loss", "#8a8f98", "training"), ("held_out", "#c2410c", "held-out chapters"))


def chart(entries):
    """Returns the SVG text: loss a token over the tokens seen."""
    last = max(e["tokens"] for e in entries)
    values = [e[key] for e in entries for key, _, _ in CURVES]
    low, high = int(min(values)), int(max(values)) + 1

    def x(tokens):
        return LEFT + (WIDTH - LEFT - RIGHT) * tokens / last

    def y(loss):
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12" fill="#374151">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
    for loss in range(low, high + 1):
        out.append(f'<path d="M{LEFT} {y(loss):.1f}H{WIDTH - RIGHT}" stroke="#e5e7eb"/>'
                   f'<text x="{LEFT - 8}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss}</text>')
    for part in range(5):
        tokens = last * part / 4
        out.append(f'<text x="{x(tokens):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
                   f'{tokens / 1e6:.2f}</text>')
    for i, (key, colour, label) in enumerate(CURVES):
        points = " ".join(f"{x(e['tokens']):.1f},{y(e[key]):.1f}" for e in entries)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" '
                   'stroke-width="2"/>')
        out.append(f'<text x="{WIDTH - RIGHT}" y="{TOP + 16 + 18 * i}" text-anchor="end" '
                   f'fill="{colour}">{label}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
               'million tokens seen</text>')
    out.append(f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" '
               f'transform="rotate(-90 14 {HEIGHT / 2})">loss (nats a token)</text></svg>')
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    log, image = sys.argv[1:]
    lines = pathlib.Path(log).read_text().splitlines()
    pathlib.Path(image).write_text(chart([json.loads(line) for line in lines]))
