"""Writes a reference case for brim-check: a tiny random GPT-J and the logits it should give.

    tiny_gptj.py FOLDER    makes FOLDER/model.gguf, FOLDER/case.json, FOLDER/logits.bin

The logits are computed from the family's published formulas with Python's floats (F64), one token after the other, with no
cache, no batch and no graph: as different from the plugin as can be. Only the standard library is needed.
"""

import array
import json
import math
import os
import random
import struct
import sys

WIDTH, LAYERS, HEADS, ROTATED, HIDDEN, CONTEXT = 32, 2, 4, 4, 80, 256
HEAD = WIDTH // HEADS
EPS = 1e-5
END = "<|endoftext|>"


# ---- the model -------------------------------------------------------------------------------------------------------

def byte_letters():
    """GPT-2's letter for each byte: itself where it can be printed, else one from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def vocabulary():
    letters = byte_letters()
    merges = [("h", "e"), ("t", "he"), (letters[32], "the")]
    return [letters[b] for b in range(256)] + [a + b for a, b in merges] + [END], [f"{a} {b}" for a, b in merges]


def random_tensors(n_vocab):
    """name -> (shape, values); values are what F32 holds of them, so that file and reference agree to the bit."""
    rng = random.Random(6)
    tensors = {}

    def add(name, shape, scale, around=0.0):
        values = (rng.gauss(around, scale) for _ in range(math.prod(shape)))
        tensors[name] = (shape, array.array("f", values))

    def norm(name):
        add(name + ".weight", (WIDTH,), 0.2, 1.0)
        add(name + ".bias", (WIDTH,), 0.2)

    add("token_embd.weight", (n_vocab, WIDTH), 1.0)
    for i in range(LAYERS):
        b = f"blk.{i}."
        norm(b + "attn_norm")
        for part in "qkv":
            add(b + f"attn_{part}.weight", (WIDTH, WIDTH), WIDTH ** -0.5)
        add(b + "attn_output.weight", (WIDTH, WIDTH), WIDTH ** -0.5)
        add(b + "ffn_up.weight", (HIDDEN, WIDTH), WIDTH ** -0.5)
        add(b + "ffn_up.bias", (HIDDEN,), 0.3)
        add(b + "ffn_down.weight", (WIDTH, HIDDEN), HIDDEN ** -0.5)
        add(b + "ffn_down.bias", (WIDTH,), 0.3)
    norm("output_norm")
    add("output.weight", (n_vocab, WIDTH), WIDTH ** -0.5)
    add("output.bias", (n_vocab,), 0.3)
    return tensors


# ---- the reference ---------------------------------------------------------------------------------------------------

def product(weight, x, bias=None):
    (n, k), values = weight
    return [sum(values[i * k + j] * x[j] for j in range(k)) + (bias[1][i] if bias else 0.0) for i in range(n)]


def layer_norm(x, weight, bias):
    mean = sum(x) / len(x)
    variance = sum((v - mean) ** 2 for v in x) / len(x)
    return [(v - mean) / math.sqrt(variance + EPS) * w + b for v, w, b in zip(x, weight[1], bias[1])]


def rotate(x, position):
    """Pairs (0, 1), (2, 3), .. of the first ROTATED values of each head."""
    out = list(x)
    for head in range(0, WIDTH, HEAD):
        for i in range(ROTATED // 2):
            angle = position * 10000.0 ** (-2.0 * i / ROTATED)
            u, v = x[head + 2 * i], x[head + 2 * i + 1]
            out[head + 2 * i] = u * math.cos(angle) - v * math.sin(angle)
            out[head + 2 * i + 1] = u * math.sin(angle) + v * math.cos(angle)
    return out


def attend(q, keys, values):
    out = []
    for head in range(0, WIDTH, HEAD):
        part = slice(head, head + HEAD)
        scores = [sum(a * b for a, b in zip(q[part], k[part])) / math.sqrt(HEAD) for k in keys]
        top = max(scores)
        weights = [math.exp(s - top) for s in scores]
        total = sum(weights)
        out += [sum(w * v[head + j] for w, v in zip(weights, values)) / total for j in range(HEAD)]
    return out


def gelu(x):
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x ** 3)))


def logits(tensors, tokens):
    """For each token the logits of what follows."""
    rows = [list(tensors["token_embd.weight"][1][t * WIDTH:(t + 1) * WIDTH]) for t in tokens]
    for i in range(LAYERS):
        def of(name):
            return tensors[f"blk.{i}.{name}"]

        normed = [layer_norm(x, of("attn_norm.weight"), of("attn_norm.bias")) for x in rows]
        keys = [rotate(product(of("attn_k.weight"), a), p) for p, a in enumerate(normed)]
        values = [product(of("attn_v.weight"), a) for a in normed]
        after = []
        for p, (x, a) in enumerate(zip(rows, normed)):
            query = rotate(product(of("attn_q.weight"), a), p)
            mixed = product(of("attn_output.weight"), attend(query, keys[:p + 1], values[:p + 1]))
            hidden = [gelu(h) for h in product(of("ffn_up.weight"), a, of("ffn_up.bias"))]
            fed = product(of("ffn_down.weight"), hidden, of("ffn_down.bias"))
            after.append([u + v + w for u, v, w in zip(x, mixed, fed)])
        rows = after
    rows = [layer_norm(x, tensors["output_norm.weight"], tensors["output_norm.bias"]) for x in rows]
    return [product(tensors["output.weight"], x, tensors["output.bias"]) for x in rows]


# ---- files -----------------------------------------------------------------------------------------------------------

U32, I32, F32, TEXT, LIST = 4, 5, 6, 8, 9  # GGUF's numbers for types of metadata


def encoded(kind, value):
    if kind == TEXT:
        data = value.encode()
        return struct.pack("<Q", len(data)) + data
    return struct.pack({U32: "<I", I32: "<i", F32: "<f"}[kind], value)


def write_gguf(path, metadata, tensors):
    """metadata: (key, kind, value); a list's elements are of that kind."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    for key, kind, value in metadata:
        head += encoded(TEXT, key)
        if isinstance(value, list):
            head += struct.pack("<IIQ", LIST, kind, len(value)) + b"".join(encoded(kind, v) for v in value)
        else:
            head += struct.pack("<I", kind) + encoded(kind, value)
    data = b""
    for name, (shape, values) in tensors.items():
        head += encoded(TEXT, name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", size) for size in reversed(shape))  # GGUF writes the innermost first
        head += struct.pack("<IQ", 0, len(data))  # 0: F32
        data += little_endian(values)
        data += bytes(-len(data) % 32)
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32) + data)


def little_endian(values):
    values = array.array("f", values)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def model_metadata(tokens, merges):
    end = tokens.index(END)
    return [
        ("general.architecture", TEXT, "gptj"), ("general.name", TEXT, "tiny random GPT-J"),
        ("gptj.context_length", U32, CONTEXT), ("gptj.embedding_length", U32, WIDTH), ("gptj.block_count", U32, LAYERS),
        ("gptj.feed_forward_length", U32, HIDDEN), ("gptj.attention.head_count", U32, HEADS),
        ("gptj.rope.dimension_count", U32, ROTATED), ("gptj.attention.layer_norm_epsilon", F32, EPS),
        ("tokenizer.ggml.model", TEXT, "gpt2"), ("tokenizer.ggml.pre", TEXT, "gpt-2"),
        ("tokenizer.ggml.tokens", TEXT, tokens), ("tokenizer.ggml.merges", TEXT, merges),
        ("tokenizer.ggml.token_type", I32, [3 if t == END else 1 for t in tokens]),
        ("tokenizer.ggml.bos_token_id", U32, end), ("tokenizer.ggml.eos_token_id", U32, end),
    ]


def batch(*parts):
    """One step: for each part (sequence, tokens, first position, whether every row or none gives logits)."""
    step = {"op": "decode", "tokens": [], "pos": [], "seq": [], "out": []}
    for sequence, tokens, first, wanted in parts:
        step["tokens"] += tokens
        step["pos"] += range(first, first + len(tokens))
        step["seq"] += [sequence] * len(tokens)
        step["out"] += [int(wanted)] * len(tokens)
    return step


def main(folder):
    tokens, merges = vocabulary()
    tensors = random_tensors(len(tokens))
    rng = random.Random(7)
    one = [rng.randrange(len(tokens)) for _ in range(21)]
    two = [rng.randrange(len(tokens)) for _ in range(9)]
    first, second = logits(tensors, one), logits(tensors, two)

    runs, outputs = [], []

    def add(name, batches, rows):
        runs.append({"name": name, "kind": "logits", "batches": batches, "first_row": len(outputs), "rows": len(rows)})
        outputs.extend(rows)

    add("at once", [batch((0, one, 0, True))], first)
    add("token by token", [batch((0, one[:12], 0, False))] + [batch((0, [t], 12 + i, True)) for i, t in
                                                               enumerate(one[12:])], first[12:])
    add("side by side", [batch((0, one[:5], 0, True), (1, two[:8], 0, False)),
                         batch((0, one[5:6], 5, True), (1, two[8:], 8, True))], first[:6] + second[8:])
    os.makedirs(folder, exist_ok=True)
    write_gguf(os.path.join(folder, "model.gguf"), model_metadata(tokens, merges), tensors)
    with open(os.path.join(folder, "logits.bin"), "wb") as file:
        for row in outputs:
            file.write(little_endian(row))
    # F32 arithmetic through two layers: a few units of 2^-24 of the largest values.
    case = {"case": "tiny-gptj", "kind": "logits", "model": "model.gguf", "rows": len(outputs), "width": len(tokens),
            "runs": runs, "limits": {"exact": {"max_abs": 4e-6, "rel_rms": 1e-6, "kl_max": 1e-12},
                                     "quantised_activations": {"rel_rms": 2e-2, "kl_max": 2e-3}}}
    with open(os.path.join(folder, "case.json"), "w") as file:
        json.dump(case, file, indent=1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
