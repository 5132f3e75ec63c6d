"""Writes a Llama GGUF file with random weights, to measure speed with.

    python3 make_random_model.py --type q4_k_m --out random-1.1b-q4_k_m.gguf

How fast a runtime is hangs on a model's shape and formats, not on what its
weights say, so a benchmark needs no download.  The quantised blocks are drawn
directly, with scales that give the weights a mean of zero and a deviation of
0.02: activations stay finite and every bit of a block is used.  The vocabulary
is made up too, but whole, so any GGUF runtime loads the file.
"""

import argparse
import itertools
import pathlib
import string
import sys
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "samples" / "models"))
import gguf_file as gguf

VOCAB = 32000
DEVIATION = 0.02
PIECE_BYTES = 16 << 20  # how much is drawn and written at a time

SHAPES = {
    "tinyllama-1.1b": SimpleNamespace(dim=2048, layers=22, heads=32, kv_heads=4, ffn=5632),
    "3b": SimpleNamespace(dim=3072, layers=28, heads=24, kv_heads=8, ffn=8192),
    "8b": SimpleNamespace(dim=4096, layers=32, heads=32, kv_heads=8, ffn=14336),  # Llama 3.1 8B's: for GPUs
}

# What general.file_type says of each format.
FILE_TYPES = {"f16": 1, "q4_0": 2, "q8_0": 7, "q4_k_m": 15, "bf16": 32}


def random_bytes(rng, rows, columns):
    return np.frombuffer(rng.bytes(rows * columns), np.uint8).reshape(rows, columns)


def half(values):
    """Numbers as columns of the bytes of their f16 form."""
    return np.asarray(values, "<f2").reshape(-1, 1).view(np.uint8)


def signed(rng, count, value):
    return np.where(rng.integers(0, 2, count), value, -value)


def random_f16(rng, blocks):
    return (rng.standard_normal(blocks, np.float32) * DEVIATION).astype("<f2")


def random_bf16(rng, blocks):
    bits = (rng.standard_normal(blocks, np.float32) * DEVIATION).view("<u4")
    return (bits >> 16).astype("<u2")


def random_q8_0(rng, blocks):
    """f16 d, 32 bytes q: weight = d * q."""
    scale = np.full(blocks, DEVIATION / 73.9)  # the deviation of a random byte
    return np.hstack([half(scale), random_bytes(rng, blocks, 32)])


def random_q4_0(rng, blocks):
    """f16 d, 16 bytes of nibbles q: weight = d * (q - 8), of mean -d / 2."""
    scale = signed(rng, blocks, DEVIATION / 4.64)  # either sign, so the mean is zero
    return np.hstack([half(scale), random_bytes(rng, blocks, 16)])


def random_q4_k(rng, blocks):
    """f16 d, f16 dmin, 12 bytes of 6-bit scales and mins, 128 bytes of nibbles q.

    weight = d * scale * q - dmin * min; min = scale and dmin = 7.5 d centre it.
    """
    scale = rng.integers(32, 64, (blocks, 8), np.uint8)
    low, high = scale[:, :4], scale[:, 4:]
    first = low | (high >> 4 << 6)
    packed = np.hstack([first, first, (high & 15) * 17])
    d = np.full(blocks, DEVIATION / (4.61 * 48.4))
    return np.hstack([half(d), half(7.5 * d), packed, random_bytes(rng, blocks, 128)])


def random_q6_k(rng, blocks):
    """128 bytes of low nibbles, 64 of high bits, 16 signed scales, f16 d.

    weight = d * scale * (q - 32); scales of either sign centre it.
    """
    scale = signed(rng, (blocks, 16), rng.integers(16, 32, (blocks, 16))).astype(np.int8)
    d = np.full(blocks, DEVIATION / (18.5 * 23.9))
    return np.hstack([random_bytes(rng, blocks, 192), scale.view(np.uint8), half(d)])


RANDOM = {"f16": random_f16, "bf16": random_bf16, "q8_0": random_q8_0, "q4_0": random_q4_0,
          "q4_k": random_q4_k, "q6_k": random_q6_k}


def random_tensor(rng, shape, kind):
    """Yields a tensor's data piece by piece."""
    if kind == "f32":  # norms
        yield np.ones(shape, "<f4").tobytes()
        return
    _, per_block, size = gguf.TYPES[kind]
    left = shape[0] * shape[1] // per_block
    while left:
        count = min(left, PIECE_BYTES // size)
        yield RANDOM[kind](rng, count).tobytes()
        left -= count


def matrix_type(recipe, name, layer, layers):
    """A matrix's format in llama.cpp's recipe of that name."""
    if recipe in ("q4_k_m", "q4_0") and name == "output":
        return "q6_k"
    if recipe != "q4_k_m":
        return recipe
    eighth = layers // 8
    more_bits = layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
    return "q6_k" if more_bits and name in ("attn_v", "ffn_down") else "q4_k"


def tensor_list(shape, recipe):
    """Returns (name, shape, format) of every tensor, in the file's order."""
    dim, ffn = shape.dim, shape.ffn
    kv = dim // shape.heads * shape.kv_heads
    matrices = {"attn_q": (dim, dim), "attn_k": (kv, dim), "attn_v": (kv, dim),
                "attn_output": (dim, dim), "ffn_gate": (ffn, dim), "ffn_up": (ffn, dim),
                "ffn_down": (dim, ffn)}
    tensors = [("token_embd.weight", (VOCAB, dim), matrix_type(recipe, "token_embd", 0, 1))]
    for i in range(shape.layers):
        for norm in ("attn_norm", "ffn_norm"):
            tensors.append((f"blk.{i}.{norm}.weight", (dim,), "f32"))
        for name, size in matrices.items():
            kind = matrix_type(recipe, name, i, shape.layers)
            tensors.append((f"blk.{i}.{name}.weight", size, kind))
    tensors.append(("output_norm.weight", (dim,), "f32"))
    tensors.append(("output.weight", (VOCAB, dim), matrix_type(recipe, "output", 0, 1)))
    return tensors


def vocabulary():
    """A SentencePiece-like vocabulary: (tokens, scores, types).

    Single characters, then runs of two and three letters, with and without the
    word mark; every run's beginning is a piece too, so merges can reach it.
    """
    letters = string.ascii_lowercase
    runs = [["".join(run) for run in itertools.product(letters, repeat=n)] for n in (1, 2, 3)]
    pieces = ["\u2581", *map(chr, range(0x21, 0x7F))]
    pieces += ["\u2581" + run for run in runs[0] + runs[1]] + runs[1] + runs[2]
    pieces += ["\u2581" + run for run in runs[2]]
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = pieces[:VOCAB - len(special)]
    scores = [0.0] * len(special) + [-float(i) for i in range(len(pieces))]
    types = [2, 3, 3] + [6] * 256 + [1] * len(pieces)
    return special + pieces, scores, types


def metadata(name, shape, recipe):
    tokens, scores, types = vocabulary()
    return [
        ("general.architecture", gguf.STRING, "llama"),
        ("general.name", gguf.STRING, f"Random weights in the shape {name}"),
        ("general.file_type", gguf.U32, FILE_TYPES[recipe]),
        ("general.quantization_version", gguf.U32, 2),
        ("general.alignment", gguf.U32, gguf.ALIGNMENT),
        ("llama.vocab_size", gguf.U32, VOCAB),
        ("llama.context_length", gguf.U32, 2048),
        ("llama.embedding_length", gguf.U32, shape.dim),
        ("llama.block_count", gguf.U32, shape.layers),
        ("llama.feed_forward_length", gguf.U32, shape.ffn),
        ("llama.attention.head_count", gguf.U32, shape.heads),
        ("llama.attention.head_count_kv", gguf.U32, shape.kv_heads),
        ("llama.attention.layer_norm_rms_epsilon", gguf.F32, 1e-5),
        ("llama.rope.dimension_count", gguf.U32, shape.dim // shape.heads),
        ("llama.rope.freq_base", gguf.F32, 10000.0),
        ("tokenizer.ggml.model", gguf.STRING, "llama"),
        ("tokenizer.ggml.pre", gguf.STRING, "default"),
        ("tokenizer.ggml.tokens", (gguf.ARRAY, gguf.STRING), tokens),
        ("tokenizer.ggml.scores", (gguf.ARRAY, gguf.F32), scores),
        ("tokenizer.ggml.token_type", (gguf.ARRAY, gguf.I32), types),
        ("tokenizer.ggml.bos_token_id", gguf.U32, 1),
        ("tokenizer.ggml.eos_token_id", gguf.U32, 2),
        ("tokenizer.ggml.unknown_token_id", gguf.U32, 0),
        ("tokenizer.ggml.add_bos_token", gguf.BOOL, True),
        ("tokenizer.ggml.add_eos_token", gguf.BOOL, False),
    ]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--type", choices=sorted(FILE_TYPES), default="q4_k_m")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="tinyllama-1.1b")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    shape = SHAPES[args.shape]
    rng = np.random.Generator(np.random.SFC64(args.seed))
    tensors = [(name, size, kind, lambda size=size, kind=kind: random_tensor(rng, size, kind))
               for name, size, kind in tensor_list(shape, args.type)]
    gguf.write(args.out, metadata(args.shape, shape, args.type), tensors)
    weights = sum(int(np.prod(size)) for _, size, _, _ in tensors)
    size = pathlib.Path(args.out).stat().st_size
    print(f"{args.out}: {weights} weights, {size} bytes, {8 * size / weights:.2f} bits each")


if __name__ == "__main__":
    main()
