"""PNG, JPEG and BMP whose pixels are not all in the file, where Pillow fills the rest."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from cellsearch.errors import ReadError

_END_OF_JPEG = b"\xff\xd9"
_OTHER_BITS = bytes(np.random.default_rng(0).integers(1, 255, 64).tolist())
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# First column and row, and the steps, of the passes of an interlaced PNG.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_RLE8, _RLE4 = 1, 2


def refuse_short_png(file: BinaryIO) -> None:
    """Refuse a PNG whose stream of pixels ends early.

    Raises:
        ReadError: rows that are not there.
    """
    file.seek(0)
    content = file.read()
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    bits = content[24] * _SAMPLES.get(content[25], 1)
    steps = _PASSES if content[28] else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // right), -(-(height - y) // down)) for x, y, right, down in steps]
    wanted = sum((1 + (w * bits + 7) // 8) * h for w, h in sizes if w > 0 and h > 0)
    stream = zlib.decompressobj()
    packed = b"".join(_png_data(content))
    try:
        found = len(stream.decompress(packed, wanted))
    except zlib.error as error:
        raise ReadError(f"cannot be decoded ({error})") from None
    if found < wanted:
        raise ReadError(f"truncated: {found:,} of {wanted:,} bytes of pixels")


def bare_png(content: bytes) -> bytes:
    """The same without what pixels do not need: libpng complains of the rest on the terminal."""
    kept = (
        content[a:b] for kind, a, b in _chunks(content) if kind[:1].isupper() or kind == b"tRNS"
    )
    return content[:8] + b"".join(kept)


def _png_data(content: bytes) -> Iterator[bytes]:
    return (content[a + 8 : b - 4] for kind, a, b in _chunks(content) if kind == b"IDAT")


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk."""
    at = 8
    while at + 8 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 8], at, end
        at = end


def refuse_short_jpeg(file: BinaryIO, image: Image.Image) -> None:
    """Refuse a JPEG that was cut and then ended, whose rest the decoder paints grey.

    What follows the last pixel changes no pixel of a whole file: other bits before its end are put
    there, and the pixels compared.

    Args:
        file: open.
        image: what was decoded of it.

    Raises:
        ReadError: the other bits were taken for pixels.
    """
    file.seek(0)
    content = file.read()
    end = content.rfind(_END_OF_JPEG)
    if end < 0:
        raise ReadError("truncated: a JPEG without an end")
    longer = content[:end] + _OTHER_BITS + content[end:]
    with Image.open(io.BytesIO(longer), formats=["JPEG"]) as other:
        if other.tobytes() != image.tobytes():
            raise ReadError("truncated: a JPEG that ends before its last pixel")


def refuse_short_bmp(file: BinaryIO) -> None:
    """Refuse a run-length BMP that does not give each of its pixels; the file is rewound.

    Raises:
        ReadError: runs that skip pixels, or end early.
    """
    head = file.read(54)
    file.seek(0)
    if len(head) < 54 or int.from_bytes(head[14:18], "little") < 40:
        return
    packing = int.from_bytes(head[30:34], "little")
    if packing not in (_RLE8, _RLE4):
        return
    width = int.from_bytes(head[18:22], "little", signed=True)
    height = int.from_bytes(head[22:26], "little", signed=True)
    start = int.from_bytes(head[10:14], "little")
    file.seek(start)
    runs = file.read()
    file.seek(0)
    # Pillow aligns literal runs to the file, and the format to the runs.
    if height < 0 or start % 2 or not _whole(runs, width, height, four_bits=packing == _RLE4):
        raise ReadError("a run-length BMP that leaves pixels out; save it as PNG or TIFF")


def _whole(runs: bytes, width: int, height: int, *, four_bits: bool) -> bool:
    x = y = at = 0
    while at + 1 < len(runs) and x <= width:
        count, value = runs[at], runs[at + 1]
        at += 2
        if count:
            x += count
        elif value == 0:
            if x != width:
                return False
            x, y = 0, y + 1
        elif value <= 2:
            # 1 ends the picture, 2 skips pixels.
            break
        else:
            size = (value + 1) // 2 if four_bits else value
            x, at = x + value, at + size + size % 2
    return (x, y) in ((width, height - 1), (0, height)) and at <= len(runs)
