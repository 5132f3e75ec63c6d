"""Runs a llama GGUF file of small size with numpy: a reference to test against.

    python3 check.py brim-austen.gguf --prompt "It is a truth universally acknowledged"

Prints the greedy continuation.  It shares no code with the training script's
PyTorch model, so that equal text means that the file says what was trained.
With --logits it writes the logits of every position of the prompt as a .npy
file, for comparisons number by number.
"""

import argparse

import numpy as np

import bpe
import gguf_file as gguf


class Reference:
    """The llama forward pass in float32, the whole sequence at once."""

    def __init__(self, path):
        self.meta, self.weights = gguf.read(path)
        merges = [tuple(m.split(" ")) for m in self.meta["tokenizer.ggml.merges"]]
        self.tokenizer = bpe.Tokenizer(self.meta["tokenizer.ggml.tokens"], merges)
        self.heads = self.meta["llama.attention.head_count"]
        self.kv_heads = self.meta["llama.attention.head_count_kv"]

    def norm(self, x, name):
        eps = self.meta["llama.attention.layer_norm_rms_epsilon"]
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * self.weights[name]

    def rotate(self, x):
        """Turns each adjacent pair of x[position, head, :] by its angle."""
        size = x.shape[-1]
        frequency = self.meta["llama.rope.freq_base"] ** (-np.arange(0, size, 2) / size)
        angle = np.outer(np.arange(len(x)), frequency)[:, None, :]
        even, odd = x[..., 0::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., 0::2] = even * np.cos(angle) - odd * np.sin(angle)
        out[..., 1::2] = even * np.sin(angle) + odd * np.cos(angle)
        return out

    def attention(self, x, layer):
        length = len(x)

        def project(part, heads):
            return (x @ self.weights[f"{layer}.attn_{part}.weight"].T).reshape(length, heads, -1)

        q, k = self.rotate(project("q", self.heads)), self.rotate(project("k", self.kv_heads))
        v = project("v", self.kv_heads)
        out = np.empty_like(q)
        for head in range(self.heads):
            shared = head * self.kv_heads // self.heads
            scores = q[:, head] @ k[:, shared].T / np.sqrt(q.shape[-1])
            scores[np.triu_indices(length, 1)] = -np.inf
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            out[:, head] = scores / scores.sum(-1, keepdims=True) @ v[:, shared]
        return out.reshape(length, -1) @ self.weights[f"{layer}.attn_output.weight"].T

    def feed_forward(self, x, layer):
        gate = x @ self.weights[f"{layer}.ffn_gate.weight"].T
        up = x @ self.weights[f"{layer}.ffn_up.weight"].T
        return (gate / (1 + np.exp(-gate)) * up) @ self.weights[f"{layer}.ffn_down.weight"].T

    def logits(self, ids):
        embedding = self.weights["token_embd.weight"]
        x = embedding[ids]
        for i in range(self.meta["llama.block_count"]):
            layer = f"blk.{i}"
            x = x + self.attention(self.norm(x, layer + ".attn_norm.weight"), layer)
            x = x + self.feed_forward(self.norm(x, layer + ".ffn_norm.weight"), layer)
        output = self.weights.get("output.weight", embedding)
        return self.norm(x, "output_norm.weight") @ output.T

    def encode(self, text):
        return [self.meta["tokenizer.ggml.bos_token_id"], *self.tokenizer.encode(text)]

    def generate(self, prompt, count, temperature=0.0, seed=0):
        """Continues a prompt, greedily when the temperature is zero."""
        random = np.random.default_rng(seed)
        ids = self.encode(prompt)
        for _ in range(count):
            logits = self.logits(ids)[-1]
            if temperature:
                noise = random.gumbel(size=logits.shape)
                logits = logits / temperature + noise  # Gumbel-max samples the softmax
            ids.append(int(logits.argmax()))
            if ids[-1] == self.meta["tokenizer.ggml.eos_token_id"]:
                break
        return self.tokenizer.decode(ids)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--prompt", default="It is a truth universally acknowledged")
    parser.add_argument("--tokens", type=int, default=60, help="how many to generate")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--logits", help="write the prompt's logits to this .npy file")
    args = parser.parse_args()

    model = Reference(args.model)
    if args.logits:
        np.save(args.logits, model.logits(model.encode(args.prompt)).astype(np.float32))
    print(model.generate(args.prompt, args.tokens, args.temperature, args.seed))


if __name__ == "__main__":
    main()
