"""The training text: Jane Austen's six novels out of a Debian package.

Debian's r-cran-janeaustenr ships the novels (public domain, from Project
Gutenberg) as R character vectors, one element a printed line.  Getting them
from a distribution's package rather than from a web page keeps the corpus
pinned, signed and reachable from any mirror:

    apt-get download r-cran-janeaustenr
    dpkg -x r-cran-janeaustenr_*.deb janeaustenr
    python3 corpus.py janeaustenr > austen.txt

No R is needed: an R lazy-load file (.rdb) is a row of objects, each a 4-byte
big-endian size and a zlib stream that holds R's XDR serialisation.
"""

import pathlib
import re
import struct
import sys
import zlib

RDB = "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
STRSXP, CHARSXP = 16, 9

CHAPTER = re.compile(r"(?i)chapter [ivxl\d]+\.?$")
# Lines that end a novel, or that part its volumes and scenes.
END = re.compile(r"(?i)(the end|finis|a note on the text)$")
MATTER = re.compile(r"(VOLUME [IVX]+|\*[ *]*|\[.*\])$")


def rdb_objects(data):
    """Yields the unpacked bytes of every object in an .rdb file."""
    pos = 0
    while pos < len(data):
        stream = zlib.decompressobj()
        yield stream.decompress(data[pos + 4:])
        pos = len(data) - len(stream.unused_data)


def character_vector(data):
    """Parses one serialised R character vector into a list of str."""
    if data[:2] != b"X\n":
        raise ValueError("not an XDR serialisation")
    version, = struct.unpack_from(">i", data, 2)
    pos = 14
    if version == 3:  # version 3 adds the native encoding's name
        pos += 4 + struct.unpack_from(">i", data, pos)[0]
    flags, count = struct.unpack_from(">Ii", data, pos)
    if flags & 0xFF != STRSXP:
        raise ValueError("not a character vector")
    pos += 8
    lines = []
    for _ in range(count):
        flags, size = struct.unpack_from(">Ii", data, pos)
        if flags & 0xFF != CHARSXP:
            raise ValueError("not a character string")
        pos += 8
        size = max(size, 0)  # -1 is NA
        lines.append(data[pos:pos + size].decode("utf-8"))
        pos += size
    return lines


def chapters(lines):
    """Splits a novel into chapters of one paragraph a line, blank between.

    The printed lines are joined; the title page and what follows the end are
    dropped; underscores, which stand for italics, are stripped.
    """
    texts, block = [], []

    def flush():
        text = re.sub(r"\s+", " ", " ".join(block)).replace("_", "")
        if text and texts:
            texts[-1].append(re.sub(r"-- (?=\w)", "--", text))
        block.clear()

    for line in map(str.strip, lines):
        if line and not CHAPTER.match(line) and not END.match(line) and not MATTER.match(line):
            block.append(line)
            continue
        flush()
        if CHAPTER.match(line):
            texts.append([])
        elif END.match(line):
            break
    flush()
    return ["\n\n".join(text) for text in texts]


def read_chapters(root):
    """Returns the chapters of all novels in the unpacked package at root."""
    data = (pathlib.Path(root) / RDB).read_bytes()
    return [chapter for blob in rdb_objects(data)
            for chapter in chapters(character_vector(blob))]


if __name__ == "__main__":
    print("\n\n\n".join(read_chapters(sys.argv[1])))
