"""A small .cif as ImageStream writes it and Bio-Formats' FlowSightReader reads it.

A little-endian TIFF. The first directory describes the file (33000 number of channels, 33007 their
names and 33008 their descriptions, parted by |, 33027 XML of the instrument); two follow for each
object, image and mask, whose channels stand side by side. Images (16 bits, compression 30817) hold
second differences, each as nibbles of three bits with a continuation bit; masks (8 bits,
compression 30818) are pairs of a value and a length less one. 33002 says image (2) or mask (3),
33003 the object's number.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHORT, LONG, ASCII = 3, 4, 2
GREY, BITMASK = 30817, 30818


def write_cif(
    path: Path,
    objects: Sequence[tuple[int | None, NDArray[np.uint16], NDArray[np.uint8]]],
    channels: Sequence[str],
) -> None:
    """Write (number, image (C, h, w), mask (C, h, w)) of each object; None writes no number."""
    names = "|".join(f"Ch{k + 1}" for k in range(len(channels)))
    head = [
        (256, LONG, 1),
        (257, LONG, 1),
        (33000, SHORT, len(channels)),
        (33007, ASCII, names),
        (33008, ASCII, "|".join(channels)),
        (33018, LONG, len(objects)),
        (33027, ASCII, "<Image/>"),
    ]
    blocks: list[tuple[list[tuple[int, int, int | str]], bytes]] = [(head, b"")]
    for number, image, mask in objects:
        wide, shape = _side_by_side(image), image.shape
        size = [(256, LONG, wide.shape[1]), (257, LONG, shape[1])]
        named = [] if number is None else [(33003, LONG, number)]
        for bits, how, kind, data in (
            (16, GREY, 2, grey_bytes(wide)),
            (8, BITMASK, 3, mask_bytes(_side_by_side(mask))),
        ):
            tags = [*size, (258, SHORT, bits), (259, SHORT, how), (33002, SHORT, kind), *named]
            blocks.append((tags, data))
    path.write_bytes(_tiff(blocks))


def _side_by_side(planes: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.concatenate(list(planes), axis=1)


def grey_bytes(image: NDArray[np.generic]) -> bytes:
    """Second differences, in 16 bits that wrap, as groups of three bits, low ones first."""
    values = image.astype(np.int64)
    left = np.pad(values, ((0, 0), (1, 0)))[:, :-1]
    above = np.pad(values, ((1, 0), (0, 0)))[:-1]
    corner = np.pad(values, ((1, 0), (1, 0)))[:-1, :-1]
    first = np.arange(image.shape[1]) == 0
    differences = np.where(first, values - above, values - above - left + corner)
    wrapped = (differences + 2**15) % 2**16 - 2**15
    nibbles: list[int] = []
    for value in wrapped.ravel().tolist():
        while not -4 <= value <= 3:
            nibbles.append(8 | (value & 7))
            value >>= 3
        nibbles.append(value & 7)
    if len(nibbles) % 2:
        nibbles.append(0)
    return bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def mask_bytes(mask: NDArray[np.generic]) -> bytes:
    """Runs over the whole plane, of at most 256."""
    flat = mask.ravel()
    cuts = [0, *(np.flatnonzero(np.diff(flat.astype(int))) + 1).tolist(), len(flat)]
    pairs = bytearray()
    for start, stop in pairwise(cuts):
        while start < stop:
            length = min(256, stop - start)
            pairs += bytes([int(flat[start]), length - 1])
            start += length
    return bytes(pairs)


def _tiff(blocks: Sequence[tuple[list[tuple[int, int, int | str]], bytes]]) -> bytes:
    out = bytearray(struct.pack("<2sHI", b"II", 42, 0))
    link = 4
    for tags, data in blocks:
        entries = list(tags)
        if data:
            entries += [(273, LONG, len(out)), (279, LONG, len(data))]
            out += data + bytes(len(data) % 2)
        packed = bytearray()
        for tag, kind, value in sorted(entries):
            if isinstance(value, str):
                text = value.encode() + b"\0"
                if len(text) <= 4:
                    packed += struct.pack("<HHI4s", tag, kind, len(text), text)
                    continue
                packed += struct.pack("<HHII", tag, kind, len(text), len(out))
                out += text + bytes(len(text) % 2)
            else:
                packed += struct.pack("<HHII", tag, kind, 1, value)
        struct.pack_into("<I", out, link, len(out))
        out += struct.pack("<H", len(entries)) + packed
        link = len(out)
        out += bytes(4)
    return bytes(out)
