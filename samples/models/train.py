"""Trains brim-austen, a Llama of a few million parameters, on a CPU.

    apt-get install --no-install-recommends python3-torch
    apt-get download r-cran-janeaustenr && dpkg -x r-cran-janeaustenr_*.deb janeaustenr
    /usr/bin/python3 train.py --corpus janeaustenr --minutes 50

One run learns the vocabulary, trains for the wall-clock time given and writes
the GGUF file whenever the held-out chapters are predicted better than before,
so that a usable file exists at any time.  The learning rate follows the clock,
not a step count: the run ends on time on a busy machine too.
"""

import argparse
import json
import math
import os
import pathlib
import time

# Each process computes on one core; big blocks stay in the heap between steps.
# Both are read when a process starts, hence here, before torch loads.
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                   "MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)})

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn

import bpe
import corpus
import gguf_file as gguf

HERE = pathlib.Path(__file__).resolve().parent
CONTEXT = 512
EPS = 1e-5
ROPE_BASE = 10000.0


class Attention(nn.Module):
    """Causal self-attention; groups of query heads share a key/value head."""

    def __init__(self, dim, heads, kv_heads):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, dim // heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.v = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(self, x, rotation, mask):
        batch, length, dim = x.shape
        group = self.heads // self.kv_heads

        def split(y, heads):
            return y.view(batch, length, heads, self.head_dim).transpose(1, 2)

        def rotate(y):  # adjacent pairs, as llama.cpp's "llama" expects
            pairs = torch.view_as_complex(y.reshape(*y.shape[:-1], -1, 2))
            return torch.view_as_real(pairs * rotation[:length]).flatten(-2)

        q = rotate(split(self.q(x), self.heads) / math.sqrt(self.head_dim))
        k = rotate(split(self.k(x), self.kv_heads))
        v = split(self.v(x), self.kv_heads)
        # Query heads of a group are stacked along the length: one product each.
        q = q.reshape(batch, self.kv_heads, group * length, self.head_dim)
        scores = (q @ k.transpose(2, 3)).view(batch, self.kv_heads, group, length, length)
        weights = F.softmax(scores + mask[:length, :length], dim=-1)
        y = weights.view(batch, self.kv_heads, group * length, length) @ v
        y = y.view(batch, self.heads, length, self.head_dim).transpose(1, 2)
        return self.output(y.reshape(batch, length, dim))


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * self.weight


class Block(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.dropout = nn.Dropout(args.dropout)
        self.attn_norm = RMSNorm(args.dim)
        self.attn = Attention(args.dim, args.heads, args.kv_heads)
        self.ffn_norm = RMSNorm(args.dim)
        self.gate = nn.Linear(args.dim, args.ffn, bias=False)
        self.up = nn.Linear(args.dim, args.ffn, bias=False)
        self.down = nn.Linear(args.ffn, args.dim, bias=False)

    def forward(self, x, rotation, mask):
        x = x + self.dropout(self.attn(self.attn_norm(x), rotation, mask))
        y = self.ffn_norm(x)
        return x + self.dropout(self.down(F.silu(self.gate(y)) * self.up(y)))


class Llama(nn.Module):
    """The llama architecture with the output tied to the embedding."""

    def __init__(self, args):
        super().__init__()
        self.embedding = nn.Embedding(args.vocab, args.dim)
        self.blocks = nn.ModuleList(Block(args) for _ in range(args.layers))
        self.norm = RMSNorm(args.dim)
        head_dim = args.dim // args.heads
        frequency = ROPE_BASE ** (-torch.arange(0, head_dim, 2) / head_dim)
        angle = torch.outer(torch.arange(CONTEXT), frequency)
        self.rotation = torch.polar(torch.ones_like(angle), angle)
        self.mask = torch.full((CONTEXT, CONTEXT), -math.inf).triu(1)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)
            if name.endswith(("output.weight", "down.weight")):
                nn.init.zeros_(weight)

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.rotation, self.mask)
        return self.norm(x) @ self.embedding.weight.T


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal: fewer steps than AdamW needs.

    For matrices inside the network (K. Jordan, 2024); five Newton-Schulz steps
    bring the singular values of the momentum near one.
    """

    def __init__(self, params, lr, weight_decay, momentum=0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                average = state.setdefault("momentum", torch.zeros_like(p))
                average.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(average, group["momentum"])
                scale = max(1, p.shape[0] / p.shape[1]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(self.orthogonal(update), alpha=-group["lr"] * scale)

    @staticmethod
    def orthogonal(x):
        tall = x.shape[0] > x.shape[1]
        x = (x.T if tall else x) / (x.norm() + 1e-7)
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x + (2.0315 * gram @ gram - 4.7750 * gram) @ x
        return x.T if tall else x


def named_weights(model):
    """The model's weights under their names in a GGUF file."""
    weights = {"token_embd": model.embedding.weight, "output_norm": model.norm.weight}
    for i, block in enumerate(model.blocks):
        parts = {
            "attn_norm": block.attn_norm, "attn_q": block.attn.q, "attn_k": block.attn.k,
            "attn_v": block.attn.v, "attn_output": block.attn.output,
            "ffn_norm": block.ffn_norm, "ffn_gate": block.gate, "ffn_up": block.up,
            "ffn_down": block.down,
        }
        weights.update({f"blk.{i}.{part}": layer.weight for part, layer in parts.items()})
    return {name + ".weight": weight for name, weight in weights.items()}


def export(model, args, tokens, merges, path):
    """Writes the weights: matrices in Q8_0, norms in F32."""
    head_dim = args.dim // args.heads
    metadata = [
        ("general.architecture", gguf.STRING, "llama"),
        ("general.name", gguf.STRING, "Brim Austen"),
        ("general.description", gguf.STRING, "A small base model of Jane Austen's six novels"),
        ("general.license", gguf.STRING, "apache-2.0"),
        ("general.file_type", gguf.U32, 7),
        ("general.quantization_version", gguf.U32, 2),
        ("general.alignment", gguf.U32, gguf.ALIGNMENT),
        ("llama.vocab_size", gguf.U32, args.vocab),
        ("llama.context_length", gguf.U32, CONTEXT),
        ("llama.embedding_length", gguf.U32, args.dim),
        ("llama.block_count", gguf.U32, args.layers),
        ("llama.feed_forward_length", gguf.U32, args.ffn),
        ("llama.attention.head_count", gguf.U32, args.heads),
        ("llama.attention.head_count_kv", gguf.U32, args.kv_heads),
        ("llama.attention.layer_norm_rms_epsilon", gguf.F32, EPS),
        ("llama.rope.dimension_count", gguf.U32, head_dim),
        ("llama.rope.freq_base", gguf.F32, ROPE_BASE),
        ("tokenizer.ggml.model", gguf.STRING, "gpt2"),
        ("tokenizer.ggml.pre", gguf.STRING, "gpt-2"),
        ("tokenizer.ggml.tokens", (gguf.ARRAY, gguf.STRING), tokens),
        ("tokenizer.ggml.token_type", (gguf.ARRAY, gguf.I32),
         [3 if t == bpe.END_OF_TEXT else 1 for t in tokens]),
        ("tokenizer.ggml.merges", (gguf.ARRAY, gguf.STRING), [" ".join(m) for m in merges]),
        ("tokenizer.ggml.bos_token_id", gguf.U32, 0),
        ("tokenizer.ggml.eos_token_id", gguf.U32, 0),
        ("tokenizer.ggml.add_bos_token", gguf.BOOL, True),
    ]
    tensors = []
    for name, weight in named_weights(model).items():
        array = weight.detach().numpy().astype("<f4")
        data = array.tobytes() if array.ndim == 1 else gguf.quantize_q8_0(array)
        kind = "f32" if array.ndim == 1 else "q8_0"
        tensors.append((name, array.shape, kind, lambda data=data: [data]))
    gguf.write(path, metadata, tensors)


def windows(ids, length):
    """Cuts a token stream into inputs and targets of a length."""
    count = (len(ids) - 1) // length
    x = ids[:count * length].view(count, length)
    y = ids[1:count * length + 1].view(count, length)
    return x, y


def batches(ids, length, size):
    """Endless shuffled passes over the text, cut at a new offset each time."""
    while True:
        x, y = windows(ids[np.random.randint(length):], length)
        for rows in torch.randperm(len(x)).split(size):
            yield x[rows], y[rows]


def loss_of(model, x, y):
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


@torch.no_grad()
def validate(model, ids):
    model.eval()
    x, y = windows(ids, CONTEXT)
    losses = [loss_of(model, a, b) for a, b in zip(x.split(8), y.split(8))]
    sizes = torch.tensor([float(len(a)) for a in x.split(8)])
    model.train()
    return float((torch.stack(losses) * sizes).sum() / sizes.sum())


@torch.no_grad()
def generate(model, tokenizer, prompt, count, temperature=0.0):
    """Continues a prompt, greedily when the temperature is zero."""
    model.eval()
    ids = [0, *tokenizer.encode(prompt)]
    for _ in range(count):
        logits = model(torch.tensor([ids[-CONTEXT:]]))[0, -1]
        if temperature:
            ids.append(int(torch.multinomial(F.softmax(logits / temperature, -1), 1)))
        else:
            ids.append(int(logits.argmax()))
    model.train()
    return tokenizer.decode(ids)


def rate(progress):
    """Learning-rate factor: a short warm-up, then a cosine down to zero."""
    return min(1.0, progress / 0.02) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def optimizers_for(params, args):
    """Muon for the matrices of the blocks, AdamW for the embedding and norms."""
    def pick(test):
        return [p for name, p in params if test(name, p)]

    embedding = pick(lambda name, p: name.startswith("embedding"))
    vectors = pick(lambda name, p: p.dim() == 1)
    matrices = pick(lambda name, p: p.dim() == 2 and not name.startswith("embedding"))
    return [
        Muon(matrices, args.muon_lr, args.weight_decay),
        torch.optim.AdamW([{"params": embedding, "weight_decay": args.weight_decay},
                           {"params": vectors, "weight_decay": 0.0}],
                          args.adam_lr, betas=(0.9, 0.95)),
    ]


def work(rank, args, model, tokenizer, merges, train_ids, held_ids, gradients, progress, barrier):
    """One of the processes that share the model: data-parallel training.

    Each computes the gradient of its share of a step's tokens and then updates
    its share of the weights.  Process 0 keeps the clock, validates and exports.
    """
    torch.manual_seed(args.seed + rank)
    np.random.seed(args.seed + rank)
    params = list(model.parameters())
    optimizers = optimizers_for(list(model.named_parameters())[rank::args.processes], args)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    peaks = [group["lr"] for group in groups]
    sources = {length: batches(train_ids, length, args.batch // args.processes // length)
               for length in (256, 512)}
    log = args.log.open("w") if rank == 0 else None
    start = checked = time.monotonic()
    interval = 60 * args.minutes / 40
    seen, step, best, losses = 0, 0, math.inf, []
    while progress < 1.0:
        # Most of the time goes into short windows, which are cheaper.
        x, y = next(sources[256 if progress < 0.75 else 512])
        loss = loss_of(model, x, y)
        loss.backward()
        torch.cat([p.grad.flatten() for p in params], out=gradients[rank])
        barrier.wait()
        mean = gradients.mean(0)
        for p, grad in zip(params, mean.split([p.numel() for p in params])):
            p.grad = grad.view_as(p)
        nn.utils.clip_grad_norm_(params, 1.0)
        for group, peak in zip(groups, peaks):
            group["lr"] = peak * rate(float(progress))
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        barrier.wait()
        if rank == 0:
            losses.append(loss.item())
            seen, step = seen + x.numel() * args.processes, step + 1
            now = time.monotonic()
            progress.fill_((now - start) / (60 * args.minutes))
            if now - checked > interval or progress >= 1.0:
                held = validate(model, held_ids)
                entry = {"step": step, "tokens": seen, "minutes": round((now - start) / 60, 2),
                         "loss": round(float(np.mean(losses)), 4), "held_out": round(held, 4)}
                print(json.dumps(entry), flush=True)
                print(json.dumps(entry), file=log, flush=True)
                checked, losses = time.monotonic(), []
                interval = max(interval, 10 * (checked - now))  # at most a tenth goes here
                if held < best:
                    best = held
                    partial = args.out.with_suffix(".part")
                    export(model, args, tokenizer.tokens, merges, partial)
                    partial.replace(args.out)
                    print(generate(model, tokenizer, "It is a truth universally acknowledged", 40),
                          flush=True)
        barrier.wait()
    if rank == 0:
        print(generate(model, tokenizer, "She had never", 120, temperature=0.8))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, help="the unpacked r-cran-janeaustenr")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "brim-austen.gguf")
    parser.add_argument("--log", type=pathlib.Path, default=HERE / "train-log.jsonl")
    parser.add_argument("--minutes", type=float, default=50, help="wall-clock time to train")
    parser.add_argument("--init", help="a file of the same shape to go on from")
    parser.add_argument("--processes", type=int, default=2, help="one for each core")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--ffn", type=int, default=704)
    parser.add_argument("--dropout", type=float, default=0.15)
    parser.add_argument("--batch", type=int, default=4096, help="tokens a step")
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--adam-lr", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    chapters = corpus.read_chapters(args.corpus)
    held_out = set(range(25, len(chapters), 50))
    if args.init:
        metadata, weights = gguf.read(args.init)
        tokens = metadata["tokenizer.ggml.tokens"]
        merges = [tuple(m.split(" ")) for m in metadata["tokenizer.ggml.merges"]]
    else:
        tokens, merges = bpe.train(
            [c for i, c in enumerate(chapters) if i not in held_out], args.vocab)
    tokenizer = bpe.Tokenizer(tokens, merges)
    streams = {True: [], False: []}
    for i, chapter in enumerate(chapters):
        streams[i in held_out] += [0, *tokenizer.encode(chapter)]
    train_ids, held_ids = (torch.tensor(streams[key]) for key in (False, True))

    model = Llama(args)
    if args.init:
        for name, weight in named_weights(model).items():
            weight.data.copy_(torch.tensor(weights[name]))
    model.share_memory()
    size = sum(p.numel() for p in model.parameters())
    print(f"{size} parameters, {len(train_ids)} tokens to train on, {len(held_ids)} held out",
          flush=True)
    gradients = torch.zeros(args.processes, size).share_memory_()
    progress = torch.zeros(1).share_memory_()
    barrier = mp.get_context("spawn").Barrier(args.processes)
    mp.spawn(work, (args, model, tokenizer, merges, train_ids, held_ids, gradients, progress,
                    barrier), args.processes)


if __name__ == "__main__":
    main()
