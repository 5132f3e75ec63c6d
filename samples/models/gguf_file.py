"""Writing and reading GGUF version 3 files, with numpy only."""

import struct

import numpy as np

ALIGNMENT = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
PACK = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}

# Tensor type: (number in the file, weights a block, bytes a block).
TYPES = {
    "f32": (0, 1, 4), "f16": (1, 1, 2), "bf16": (30, 1, 2), "q4_0": (2, 32, 18),
    "q8_0": (8, 32, 34), "q4_k": (12, 256, 144), "q6_k": (14, 256, 210),
}


def tensor_bytes(shape, kind):
    """Size of a tensor's data; its rows must be whole blocks."""
    _, block, size = TYPES[kind]
    if shape[-1] % block:
        raise ValueError(f"a row of {shape[-1]} is not whole {kind} blocks")
    return int(np.prod(shape)) // block * size


def pad(size):
    return -size % ALIGNMENT


def quantize_q8_0(weights):
    """Blocks of 32 weights: an f16 scale, then 32 signed bytes."""
    blocks = np.asarray(weights, np.float32).reshape(-1, 32)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127
    quants = np.rint(blocks / np.where(scale == 0, 1, scale)).astype(np.int8)
    return np.hstack([scale.astype("<f2").view(np.int8), quants]).tobytes()


def dequantize_q8_0(data, shape):
    blocks = np.frombuffer(data, np.int8).reshape(-1, 34)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    return (scale * blocks[:, 2:]).reshape(shape)


def encode_string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def encode_value(kind, value):
    """Encodes one metadata value; an array's kind is (ARRAY, element kind)."""
    if isinstance(kind, tuple):
        items = b"".join(encode_value(kind[1], v)[4:] for v in value)
        return struct.pack("<IIQ", ARRAY, kind[1], len(value)) + items
    data = encode_string(value) if kind == STRING else struct.pack(PACK[kind], value)
    return struct.pack("<I", kind) + data


def write(path, metadata, tensors):
    """Writes a file.

    metadata: a list of (key, kind, value).
    tensors: a list of (name, shape, type name, data), the shape as numpy has it
    (rows first), data a function that yields the tensor's bytes in pieces, so
    that a model larger than memory can be written.
    """
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
        for key, kind, value in metadata:
            file.write(encode_string(key) + encode_value(kind, value))
        offset = 0
        for name, shape, kind, _ in tensors:
            file.write(encode_string(name))
            file.write(struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape)))
            file.write(struct.pack("<IQ", TYPES[kind][0], offset))
            size = tensor_bytes(shape, kind)
            offset += size + pad(size)
        file.write(bytes(pad(file.tell())))
        for name, shape, kind, data in tensors:
            start = file.tell()
            for piece in data():
                file.write(piece)
            if file.tell() - start != tensor_bytes(shape, kind):
                raise ValueError(f"{name}: wrong amount of data")
            file.write(bytes(pad(file.tell())))


def read(path):
    """Reads a file of f32, f16 and q8_0 tensors: (metadata dict, name -> array)."""
    with open(path, "rb") as file:
        raw = file.read()
    pos = 0

    def take(fmt):
        nonlocal pos
        values = struct.unpack_from("<" + fmt, raw, pos)
        pos += struct.calcsize("<" + fmt)
        return values if len(values) > 1 else values[0]

    def take_string():
        nonlocal pos
        size = take("Q")
        pos += size
        return raw[pos - size:pos].decode("utf-8")

    def take_value(kind):
        if kind == ARRAY:
            item, count = take("IQ")
            return [take_value(item) for _ in range(count)]
        return take_string() if kind == STRING else take(PACK[kind][1:])

    if raw[:4] != b"GGUF" or struct.unpack_from("<I", raw, 4)[0] != 3:
        raise ValueError("not a GGUF version 3 file")
    pos = 8
    tensor_count, metadata_count = take("QQ")
    metadata = {}
    for _ in range(metadata_count):
        key = take_string()
        metadata[key] = take_value(take("I"))
    infos = []
    for _ in range(tensor_count):
        name = take_string()
        shape = [take("Q") for _ in range(take("I"))][::-1]
        infos.append((name, shape, *take("IQ")))
    base = pos + pad(pos)
    names = {number: kind for kind, (number, _, _) in TYPES.items()}
    tensors = {}
    for name, shape, number, offset in infos:
        kind = names[number]
        data = raw[base + offset:base + offset + tensor_bytes(shape, kind)]
        if kind == "q8_0":
            tensors[name] = dequantize_q8_0(data, shape)
        else:
            dtype = {"f32": "<f4", "f16": "<f2"}[kind]
            tensors[name] = np.frombuffer(data, dtype).reshape(shape).astype(np.float32)
    return metadata, tensors
