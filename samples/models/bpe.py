"""Byte-level BPE as GPT-2 has it: training, encoding and decoding.

Text is cut into words by GPT-2's pattern, a word's UTF-8 bytes are spelled in
GPT-2's printable alphabet, and the most frequent neighbouring pair of symbols
is merged until the vocabulary is full.
"""

import collections
import re

END_OF_TEXT = "<|endoftext|>"

# GPT-2's pattern; [^\W\d_] and \d stand for \p{L} and \p{N}, which `re` lacks.
WORDS = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def byte_alphabet():
    """Maps each byte to GPT-2's printable stand-in for it."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(others)}}


ALPHABET = byte_alphabet()
BYTES = {char: byte for byte, char in ALPHABET.items()}


def spell(word):
    return [ALPHABET[b] for b in word.encode("utf-8")]


def merge(symbols, pair):
    """Joins every occurrence of pair in a list of symbols."""
    out, i = [], 0
    while i < len(symbols):
        if i + 1 < len(symbols) and (symbols[i], symbols[i + 1]) == pair:
            out.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out


def train(texts, vocab_size):
    """Learns a vocabulary; returns (tokens, merges), special token first.

    Only the words that hold the merged pair are recounted at each step, so a
    few thousand merges over a few megabytes take seconds.
    """
    counts = collections.Counter(w for text in texts for w in WORDS.findall(text))
    words = [(spell(word), n) for word, n in counts.items()]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (symbols, n) in enumerate(words):
        for pair in zip(symbols, symbols[1:]):
            pairs[pair] += n
            where[pair].add(i)

    tokens, merges = [END_OF_TEXT, *ALPHABET.values()], []
    while len(tokens) < vocab_size:
        best = max(pairs, key=pairs.get)
        merges.append(best)
        tokens.append("".join(best))
        for i in where.pop(best):
            symbols, n = words[i]
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] -= n
            symbols = merge(symbols, best)
            words[i] = (symbols, n)
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += n
                where[pair].add(i)
        del pairs[best]
    return tokens, merges


class Tokenizer:
    """Encodes and decodes text with a trained vocabulary."""

    def __init__(self, tokens, merges):
        self.tokens = tokens
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.cache = {}

    def encode_word(self, word):
        if word not in self.cache:
            symbols = spell(word)
            while len(symbols) > 1:
                best = min(zip(symbols, symbols[1:]),
                           key=lambda p: self.ranks.get(p, len(self.ranks)))
                if best not in self.ranks:
                    break
                symbols = merge(symbols, best)
            self.cache[word] = [self.ids[s] for s in symbols]
        return self.cache[word]

    def encode(self, text):
        return [i for word in WORDS.findall(text) for i in self.encode_word(word)]

    def decode(self, ids):
        text = "".join(self.tokens[i] for i in ids if self.tokens[i] != END_OF_TEXT)
        return bytes(BYTES[c] for c in text).decode("utf-8", "replace")
