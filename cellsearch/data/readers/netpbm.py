"""PGM and PPM (netpbm): the numbers that a file holds; Pillow stretches them to 255 or 65535."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.errors import ReadError

MAGIC = re.compile(rb"P[1-6]\s")
_SKIPPED = rb"(?:\s|#[^\n]*\n)+"
_LARGEST = 65535


def decode(content: bytes) -> NDArray[Any]:
    """Decode one file of one image.

    Args:
        content: of a PBM, PGM or PPM, plain or binary.

    Returns:
        (C, H, W); uint8 where the largest value that the file declares is below 256, else uint16.
        Values are those of the file, whatever the largest is; a bitmap (PBM) is 0 and 255.

    Raises:
        ReadError: damaged, cut, values above the largest, or several images.
    """
    kind = int(content[1:2])
    bitmap = kind in (1, 4)
    (width, height, *rest), start = _header(content, 2 if bitmap else 3)
    largest = 1 if bitmap else rest[0]
    if not width or not height or not 0 < largest <= _LARGEST:
        raise ReadError(f"a damaged netpbm header: {width} x {height} px, largest value {largest}")
    depth = 3 if kind in (3, 6) else 1
    values: NDArray[Any]
    if kind <= 3:
        values = _plain(content[start:], width * height * depth, bitmap=bitmap)
    elif bitmap:
        values = _bits(content[start:], width, height)
    else:
        values = _binary(content[start:], width * height * depth, largest)
    if values.max() > largest:
        raise ReadError(f"values up to {values.max()}, above the largest it declares, {largest}")
    if bitmap:
        return np.where(values.reshape(1, height, width), 0, 255).astype(np.uint8)
    image = values.astype(np.uint8 if largest < 256 else np.uint16)
    return np.ascontiguousarray(np.moveaxis(image.reshape(height, width, depth), 2, 0))


def _header(content: bytes, numbers: int) -> tuple[list[int], int]:
    """Width, height and largest value, and where the pixels start: one blank after them."""
    match = re.match(rb"P[1-6]" + (_SKIPPED + rb"(\d{1,9})") * numbers + rb"\s", content)
    if match is None:
        raise ReadError("a damaged netpbm header, or truncated")
    return [int(number) for number in match.groups()], match.end()


def _plain(text: bytes, count: int, *, bitmap: bool) -> NDArray[np.int64]:
    text = re.sub(rb"#[^\n]*", b"", text)
    # Bits need no blanks between them.
    words = [bytes([byte]) for byte in b"".join(text.split())] if bitmap else text.split()
    if len(words) < count:
        raise ReadError(f"truncated: {len(words)} of {count} values")
    if len(words) > count:
        raise ReadError("more values than it declares, or several images in one file")
    if not all(word.isdigit() and len(word) < 10 for word in words):
        raise ReadError("values that are no whole numbers")
    return np.array([int(word) for word in words], np.int64)


def _binary(data: bytes, count: int, largest: int) -> NDArray[Any]:
    dtype = np.dtype(np.uint8 if largest < 256 else ">u2")
    size = count * dtype.itemsize
    _require_length(data, size)
    return np.frombuffer(data[:size], dtype)


def _bits(data: bytes, width: int, height: int) -> NDArray[np.uint8]:
    row = (width + 7) // 8
    _require_length(data, row * height)
    packed = np.frombuffer(data[: row * height], np.uint8).reshape(height, row)
    return np.unpackbits(packed, axis=1)[:, :width]


def _require_length(data: bytes, size: int) -> None:
    if len(data) < size:
        raise ReadError(f"truncated: {len(data):,} of {size:,} bytes of pixels")
    more = data[size:].strip()
    if MAGIC.match(more):
        raise ReadError("several images in one file; only one image per file is read")
    if more:
        raise ReadError(f"{len(more):,} bytes more than its header declares")
